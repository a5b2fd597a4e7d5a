/** The page of `tomoseg serve`: drop a scan, choose, watch, look, download; all jobs below one another. */

import { Upload, type DetailedError } from "tus-js-client";
import { ask, authorisation, authorise, json, refusal, Refused, send } from "./api";
import { button, element, redraw, tell } from "./dom";
import { downloads, JobPlace } from "./job_place";
import { ScanPage } from "./scan_page";
import { later, number, say, speak, spoken, titled, type Language } from "./words";

const API = "api/v1";
const POLL_MS = 1000;
const TOKEN = "tomoseg-token";
const LANGUAGE = "tomoseg-language";
const CHUNK_BYTES = 16 * 1024 * 1024;
/** Where a job is, and what is done to one that is running. */
const STATES: Record<string, string> = {
  received: later("received"),
  checking: later("checking"),
  queued: later("queued"),
  running: later("running"),
  done: later("done"),
  failed: later("failed"),
  cancelled: later("cancelled"),
  expired: later("expired"),
};
const STAGES: Record<string, string> = {
  load: later("the model is loaded"),
  read: later("the scan is read"),
  segment: later("it is segmented"),
  write: later("the masks are written"),
};
const ENDED = new Set(["done", "failed", "cancelled", "expired"]);

interface Job {
  id: string;
  number: number;
  state: string;
  position: number | null;
  stage: string | null;
  share: number | null;
  seconds_left: number | null;
  model: string;
  uploads: string[];
  options: Record<string, unknown>;
  reason: string | null;
  reason_fr: string | null;
  choices: { series: number; text: string; text_fr: string }[] | null;
  created: number;
  corrections: number;
}

interface Info {
  default_model: string;
  models: string[];
  suffixes: string[];
  limits: { upload_bytes: number; keep_hours: number };
}

interface Model {
  name: string;
  structures: { name: string; group: string }[];
}

export class JobsPage {
  private readonly rows = element("tbody");
  private readonly table = element("table", { hidden: "" });
  private readonly none = element("p", { class: "none", hidden: "" });
  private readonly drop = element("div", { class: "drop" });
  private info: Info | null = null;
  private models: Model[] = [];
  private model = "";
  private readonly chosen = new Set<string>();
  private drawn = "";

  async begin(page: HTMLElement): Promise<void> {
    const language = sessionStorage.getItem(LANGUAGE) ?? navigator.language;
    speak(language.startsWith("fr") ? "fr" : "en");
    window.addEventListener("hashchange", () => location.reload());
    if (!(await this.enter(page))) return;
    const job = location.hash.match(/^#job=([\w-]+)$/)?.[1];
    if (job !== undefined) return this.look(page, job);
    [this.info, this.models] = await Promise.all([json<Info>(`${API}/info`), json<Model[]>(`${API}/models`)]);
    this.model = this.info.default_model;
    this.draw(page);
    this.acceptDrops();
    void this.watch();
  }

  /** Whether the server lets this page in; if not, the page asks for its token. */
  private async enter(page: HTMLElement): Promise<boolean> {
    const { token } = await json<{ token: boolean }>("health");
    if (!token) return true;
    const given = sessionStorage.getItem(TOKEN) ?? "";
    authorise(given);
    let refused = "";
    try {
      await json(`${API}/info`);
      return true;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (given !== "") refused = error.message;
    }
    const field = element("input", { type: "password", autocomplete: "off", "aria-label": say("Token") });
    const enter = (): void => {
      sessionStorage.setItem(TOKEN, field.value.trim());
      location.reload();
    };
    field.addEventListener("keydown", (event) => event.key === "Enter" && enter());
    page.replaceChildren(
      element(
        "section",
        { class: "jobs" },
        element("h1", {}, "tomoseg"),
        element("p", {}, say("The server showed a token when it was first started. Enter it here.")),
        ...(refused === "" ? [] : [element("p", { class: "refused", role: "alert" }, refused)]),
        element("div", { class: "group" }, field, button(say("Enter"), enter)),
      ),
    );
    return false;
  }

  private async look(page: HTMLElement, id: string): Promise<void> {
    const job = await json<Job>(`${API}/jobs/${id}`);
    const name = `${say("Job")} ${job.number}`;
    const session = {
      kind: "cases" as const,
      title: name,
      language: spoken(),
      measure: "",
      cases: [{ name, score: null, verdict: null }],
      reviewer: JobPlace.reviewer,
    };
    await new ScanPage(session, new JobPlace(`${API}/jobs/${id}`, name, job.number)).begin(page);
  }

  private draw(page: HTMLElement): void {
    const info = this.info;
    if (info === null) return;
    const choose = (title: string, more: Record<string, string>): HTMLElement => {
      const input = element("input", { type: "file", multiple: "", hidden: "", "aria-label": title, ...more });
      input.addEventListener("change", () => {
        void this.upload([...(input.files ?? [])]);
        input.value = ""; // so that the same can be chosen again
      });
      return element("span", {}, input, button(title, () => input.click()));
    };
    this.drop.replaceChildren(
      element("strong", {}, say("Drop a scan here, or choose files")),
      element("span", {}, say("a DICOM folder or its zip, NIfTI, NRRD or MetaImage; up to {size} GB", {
        size: number(info.limits.upload_bytes / 1e9, 1),
      })),
      element("span", {}, keptFor(info.limits.keep_hours)),
      element("div", { class: "group" }, choose(say("Choose files"), {}), choose(say("Choose a folder"), { webkitdirectory: "" })),
    );
    const models = element("select", { "aria-label": say("Model") });
    for (const name of info.models) models.append(element("option", { value: name }, name));
    models.value = this.model;
    models.addEventListener("change", () => {
      this.model = models.value;
      this.chosen.clear();
      this.draw(page);
    });
    const other: Language = spoken() === "en" ? "fr" : "en";
    const language = button(other === "fr" ? "Français" : "English", () => {
      speak(other);
      sessionStorage.setItem(LANGUAGE, other);
      this.draw(page);
    }, { lang: other, "data-do": "language" });
    this.none.replaceChildren(say("No scan has been sent yet."));
    const heads = [say("Job"), say("Sent"), say("Model"), say("State"), ""].map((text) => element("th", {}, text));
    this.table.replaceChildren(element("thead", {}, element("tr", {}, ...heads)), this.rows);
    page.replaceChildren(
      element(
        "section",
        { class: "jobs" },
        element("header", { class: "group" }, element("h1", {}, "tomoseg"), language),
        element("label", {}, say("Model"), models),
        this.structures(),
        this.drop,
        this.table,
        this.none,
      ),
    );
    this.drawn = "";
    this.refresh().catch(() => {}); // the next look tells
    document.body.dataset.ready = "jobs";
  }

  private structures(): HTMLElement {
    const found = this.models.find((one) => one.name === this.model)?.structures ?? [];
    const box = element("details", {}, element("summary", {}, ""));
    const title = (): void => {
      const text = this.chosen.size === 0 ? say("All {count} structures", { count: found.length })
        : say("{some} of {count} structures", { some: this.chosen.size, count: found.length });
      box.firstElementChild?.replaceChildren(text);
    };
    const list = element("div", { class: "choices" });
    for (const one of found) {
      const tick = element("input", { type: "checkbox", name: one.name });
      tick.checked = this.chosen.has(one.name);
      tick.addEventListener("change", () => {
        tick.checked ? this.chosen.add(one.name) : this.chosen.delete(one.name);
        title();
      });
      list.append(element("label", {}, tick, titled(one.name)));
    }
    box.append(list);
    title();
    return box;
  }

  private acceptDrops(): void {
    for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
    document.addEventListener("dragover", () => this.drop.classList.add("over"));
    document.addEventListener("dragleave", () => this.drop.classList.remove("over"));
    document.addEventListener("drop", (event) => {
      this.drop.classList.remove("over");
      const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry());
      void filesIn(entries.filter((entry) => entry !== null)).then((files) => this.upload(files));
    });
  }

  /** Files that are a scan each become a job each; all others are taken for the slices of one. */
  private async upload(chosen: File[]): Promise<void> {
    const files = chosen.filter((file) => !file.name.startsWith("."));
    const alone = files.filter((file) => files.length === 1 || this.ending(file) !== "");
    const slices = files.filter((file) => !alone.includes(file));
    try {
      for (const [n, file] of alone.entries()) {
        const which = alone.length > 1 ? ` ${n + 1}/${alone.length}` : "";
        const told = (share: number): void => tell(`${say("Uploading")}${which} ${number(100 * share, 0)} %`, true);
        told(0);
        await this.start(await this.resumable(file, told));
      }
      if (slices.length > 0) {
        tell(say("Uploading {count} files", { count: slices.length }), true);
        await this.start(await several(slices));
      }
      document.querySelector(".told")?.remove();
    } catch (error) {
      tell(error instanceof Error ? error.message : String(error), true);
    }
  }

  /** What a file's name ends in, if that makes it a scan of its own. */
  private ending(file: File): string {
    const lower = file.name.toLowerCase();
    return this.info?.suffixes.find((suffix) => lower.endsWith(suffix)) ?? "";
  }

  /** One file, which goes on where it was when the connection is cut; of its name the ending alone is sent. */
  private resumable(file: File, told: (share: number) => void): Promise<string> {
    const ending = this.ending(file);
    return new Promise((done, failed) => {
      const upload: Upload = new Upload(file, {
        endpoint: new URL(`${API}/tus/`, location.href).href,
        headers: authorisation(),
        metadata: { filename: `scan${ending}` },
        chunkSize: CHUNK_BYTES,
        retryDelays: [0, 1000, 3000, 10000, 30000],
        storeFingerprintForResuming: false, // it would keep the file's name in the browser
        onProgress: (sent, all) => told(all === 0 ? 1 : sent / all),
        onShouldRetry: (error) => mayPass(error.originalResponse?.getStatus() ?? 0),
        onError: (error) => failed(new Error(refusalIn(error))),
        onSuccess: () => done(upload.url?.split("/").filter(Boolean).pop() ?? ""),
      });
      upload.start();
    });
  }

  private async start(upload: string): Promise<void> {
    const options = this.chosen.size === 0 ? {} : { roi_subset: [...this.chosen] };
    await send(`${API}/jobs`, { uploads: [upload], model: this.model, options });
    await this.refresh();
  }

  /** The same job again, with one of several series. */
  private choose(job: Job, series: number): Promise<unknown> {
    return send(`${API}/jobs`, { uploads: job.uploads, model: job.model, options: { ...job.options, series } });
  }

  private async watch(): Promise<void> {
    for (;;) {
      try {
        await this.refresh();
      } catch {
        tell(say("The server does not answer."));
      }
      await new Promise((wake) => setTimeout(wake, POLL_MS));
    }
  }

  private async refresh(): Promise<void> {
    const { jobs } = await json<{ jobs: Job[] }>(`${API}/jobs?limit=100`);
    const now = spoken() + JSON.stringify(jobs);
    if (now === this.drawn) return; // what did not change keeps its focus
    this.drawn = now;
    redraw(this.rows, ...jobs.map((job) => this.row(job)));
    this.table.hidden = jobs.length === 0;
    this.none.hidden = !this.table.hidden;
  }

  private row(job: Job): HTMLElement {
    const cell = (...children: (Node | string)[]): HTMLElement => element("td", {}, ...children);
    const line = element("tr", { "data-state": job.state, "data-job": job.id });
    const number = element("td", { "data-title": say("Job") }, String(job.number));
    line.append(number, cell(when(job.created)), cell(job.model), element("td", { class: "state" }, ...this.state(job)), cell(...this.actions(job)));
    return line;
  }

  private state(job: Job): (Node | string)[] {
    const said = say(STATES[job.state] ?? job.state);
    if (job.state === "queued") return [`${said}, ${say("{count} before it", { count: job.position ?? 0 })}`];
    if (job.state === "running") {
      const bar = element("progress", { max: "1", value: String(job.share ?? 0) });
      const left = job.seconds_left === null ? "" : `, ${say("{seconds} s left", { seconds: Math.ceil(job.seconds_left) })}`;
      return [say("{state}: {what}", { state: said, what: `${say(STAGES[job.stage ?? ""] ?? "")}${left}` }), bar];
    }
    if (job.corrections > 0) return [`${said}, ${say("corrected ({count})", { count: job.corrections })}`];
    if (job.state !== "failed") return [said];
    const choices = (job.choices ?? []).map((one) =>
      button((spoken() === "fr" && one.text_fr) || one.text, () => void this.act(this.choose(job, one.series)), { "data-do": "series" }),
    );
    if (choices.length > 0) return [say("There are several series. Choose one:"), element("div", { class: "series" }, ...choices)];
    return [say("{state}: {what}", { state: said, what: (spoken() === "fr" ? job.reason_fr : job.reason) ?? "" })];
  }

  private actions(job: Job): Node[] {
    const place = `${API}/jobs/${job.id}`;
    if (!ENDED.has(job.state)) {
      return [button(say("Cancel"), () => void this.act(send(`${place}/cancel`, {})), { "data-do": "cancel" })];
    }
    const remove = button(say("Remove"), () => void this.act(ask(place, { method: "DELETE" })), { "data-do": "remove" });
    if (job.state !== "done") return [remove];
    return [
      button(say("Look"), () => (location.hash = `job=${job.id}`), { "data-do": "look" }),
      ...downloads(place, job.number, job.corrections > 0),
      remove,
    ];
  }

  private async act(doing: Promise<unknown>): Promise<void> {
    try {
      await doing;
      await this.refresh();
    } catch (error) {
      tell(error instanceof Error ? error.message : String(error));
    }
  }
}

/** How long a scan and its results are kept, in days where these are many hours. */
function keptFor(hours: number): string {
  return hours < 72 ? say("It is removed after {hours} h.", { hours: number(hours, 0) })
    : say("It is removed after {days} days.", { days: number(hours / 24, 0) });
}

/** When something was, in seconds since 1970, as it is said here. */
function when(seconds: number): string {
  return new Date(1000 * seconds).toLocaleString(spoken() === "fr" ? "fr-FR" : "en-GB", {
    day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit",
  });
}

/** Whether the same request may be taken later: nothing was answered, it was too slow, or another one was on its way; a full disk stays so. */
function mayPass(status: number): boolean {
  return status === 0 || [408, 409, 423].includes(status) || (status >= 500 && status !== 507);
}

/** What the server says of an upload that it does not take. */
function refusalIn(error: Error): string {
  const body = "originalResponse" in error ? (error as DetailedError).originalResponse?.getBody() : undefined;
  try {
    const told = refusal(JSON.parse(body ?? ""));
    if (told !== null) return told;
  } catch {
    // it says nothing that could be read
  }
  return say("The server does not answer.");
}

/** The files of a DICOM series at once. */
async function several(files: File[]): Promise<string> {
  const form = new FormData();
  files.forEach((file, n) => form.append("file", file, `slice${n}.dcm`));
  return (await json<{ id: string }>(`${API}/uploads`, { method: "POST", body: form })).id;
}

/** All files of what was dropped, those in folders too. */
async function filesIn(entries: readonly FileSystemEntry[]): Promise<File[]> {
  const found: File[] = [];
  for (const entry of entries) {
    if (entry.isFile) {
      found.push(await new Promise((done, failed) => (entry as FileSystemFileEntry).file(done, failed)));
      continue;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) { // a hundred are given at a time
      const some = await new Promise<FileSystemEntry[]>((done, failed) => reader.readEntries(done, failed));
      if (some.length === 0) break;
      found.push(...(await filesIn(some)));
    }
  }
  return found;
}
