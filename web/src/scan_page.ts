/** A case on the screen: the scan with its masks, beside their list; cases one after the other; a reference beside it. */

import { Refused, type Case, type Session, type Structure, type Verdict } from "./api";
import { Correcting } from "./correct";
import { button, element, redraw, tell } from "./dom";
import { FlatViewer } from "./flat";
import { hasWebGL2, NiivueViewer } from "./niivue";
import type { Place } from "./place";
import { StructureList } from "./structures";
import type { Colour, Layout, ScanData, Triple, Viewer } from "./viewer";
import { later, number, say, sided, speak, spoken } from "./words";

const WINDOWS: readonly (readonly [string, number, number])[] = [
  [later("Soft tissue"), -160, 240],
  [later("Lung"), -1350, 150],
  [later("Bone"), -450, 1050],
  [later("Brain"), 0, 80],
];
const LAYOUTS: readonly (readonly [string, Layout])[] = [
  [later("Planes and 3D"), "all"],
  [later("Axial"), "axial"],
  [later("Coronal"), "coronal"],
  [later("Sagittal"), "sagittal"],
  [later("3D"), "render"],
];
const MEASURES: Record<string, string> = { "self-rating": later("self-rating") };
const VERDICTS: Record<Verdict, string> = { right: later("right"), "needs work": later("needs work") };
const HELP = later(
  "1 soft tissue, 2 lung, 3 bone, 4 brain · O outline · A all, N none, S alone · +/− opacity · " +
    "← → previous, next case · R accept, W needs work · E correct, Ctrl+Z undo, [ ] brush size · D difference · " +
    "wheel: slices",
);
/** In both, only in the mask, only in the reference. */
const DIFFERENCE: readonly Colour[] = [
  [0, 0, 0, false],
  [150, 150, 150, true],
  [66, 133, 244, true],
  [219, 68, 55, true],
];

export class ScanPage {
  private readonly list = new StructureList(
    () => this.paint(),
    (structure) => this.goTo(structure),
  );
  private readonly bar = element("header", { class: "bar" });
  private readonly side = element("aside");
  private readonly views = element("div", { class: "views" });
  private readonly foot = element("footer", { class: "foot" });
  private readonly notes = element("div", { class: "notes" });
  private viewers: Viewer[] = [];
  private at = 0;
  private isOpening = false;
  private shown: Case | null = null;
  private scan: ScanData | null = null;
  private reference: Uint8Array | Uint16Array | null = null;
  private window = 0;
  private layout: Layout = "all";
  private opacity = 0.5;
  private outline = false;
  private difference = false;
  private readonly correcting: Correcting;

  constructor(
    private readonly session: Session,
    private readonly place: Place,
  ) {
    this.correcting = new Correcting(
      session.reviewer,
      place,
      () => this.viewers[0]?.pen ?? null,
      () => this.reopen(),
      () => this.paint(),
    );
  }

  async begin(page: HTMLElement): Promise<void> {
    this.side.append(this.notes, this.list.element);
    page.replaceChildren(this.bar, this.side, this.views, this.foot);
    window.addEventListener("keydown", (event) => this.key(event), { capture: true });
    await this.show(0);
  }

  /** Show a case. While one is being opened it is what comes after that, in the place of any that was asked for before. */
  async show(at: number): Promise<void> {
    const row = this.session.cases[at];
    if (row === undefined || !this.correcting.mayLeave()) return;
    this.at = at;
    this.drawBar();
    tell(`${say("Loading")}: ${row.name}`, true);
    if (!this.isOpening) await this.openWanted();
  }

  /** One case after the other, so that what is on the screen is never of another case than its name. */
  private async openWanted(): Promise<void> {
    this.isOpening = true;
    try {
      for (let at = -1; at !== this.at; ) {
        at = this.at;
        await this.openOrTell(at);
      }
    } finally {
      this.isOpening = false;
    }
    document.querySelector(".told")?.remove();
    this.drawBar();
    document.body.dataset.ready = this.session.cases[this.at]?.name ?? "";
  }

  private async openOrTell(at: number): Promise<void> {
    try {
      await this.open(at);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      for (const viewer of this.viewers) viewer.close();
      this.views.replaceChildren(element("p", { class: "refused", role: "alert" }, error.message));
      this.viewers = [];
      this.shown = null;
      this.list.open([], false);
      this.drawNotes();
    }
  }

  private async open(at: number): Promise<void> {
    const loading = this.place.load(at);
    const first = this.viewers.length === 0 ? this.makeViewers(1) : null; // while the scan comes
    const [{ found, hu, cells, reference }] = await Promise.all([loading, first]);
    if (at !== this.at) return; // another one is wanted meanwhile
    const keeps = this.shown !== null;
    this.shown = found;
    this.reference = reference;
    this.scan = { shape: found.shape, spacing: found.spacing_mm, hu, cells };
    await this.makeViewers(reference === null ? 1 : 2);
    for (const viewer of this.viewers) viewer.hold(); // in software each time that it draws takes as long as all the rest
    this.setWindow(this.window);
    this.list.open(found.structures, keeps);
    this.drawNotes();
    await this.viewers[0]?.open(this.scan, this.coloursOf(found.cells));
    if (reference !== null && found.reference !== null) {
      await this.viewers[1]?.open({ ...this.scan, cells: reference }, this.coloursOf(found.reference.cells));
    }
    for (const viewer of this.viewers) viewer.setLayout(this.layout);
    this.paint();
    this.viewers[0]?.goTo(found.shape.map((n) => n >> 1) as Triple);
    for (const viewer of this.viewers) viewer.release();
  }

  /** Have so many viewers beside one another; those that there are stay. */
  private async makeViewers(count: number): Promise<void> {
    if (this.viewers.length === count) return;
    if (this.viewers.length === 0) this.views.replaceChildren();
    for (const viewer of this.viewers.splice(count)) viewer.close();
    while (this.views.children.length > count) this.views.lastElementChild?.remove();
    while (this.viewers.length < count) {
      const canvas = element("canvas", { tabindex: "0", role: "img" });
      this.views.append(element("div", { class: "view" }, canvas, element("span", { class: "title" })));
      this.viewers.push(hasWebGL2(canvas) ? await NiivueViewer.in(canvas) : new FlatViewer(canvas));
    }
    this.drawTitles();
    const [one, other] = this.viewers;
    const both = [[one, other], [other, one]] as const;
    for (const [viewer, follower] of both) {
      if (viewer === undefined) continue;
      viewer.onMove = (voxel) => {
        follower?.follow(voxel);
        this.drawFoot(voxel);
      };
      if (follower !== undefined) viewer.link(follower);
    }
  }

  /** What each view is of, where there are two. */
  private drawTitles(): void {
    const titles = this.viewers.length < 2 ? [] : [say("Mask"), say("Reference")];
    [...this.views.querySelectorAll(".view")].forEach((view, n) => {
      view.querySelector("canvas")?.setAttribute("aria-label", titles[n] ?? say("Scan and masks"));
      view.querySelector(".title")?.replaceChildren(titles[n] ?? "");
    });
  }

  /** Of every cell the colour of the uppermost of its structures that is shown. */
  private coloursOf(cells: number[][], isShown = (n: number): boolean => this.isShown(n)): Colour[] {
    return cells.map((inside) => {
      const top = inside.find(isShown);
      const colour = top === undefined ? undefined : this.shown?.structures[top]?.colour;
      return colour === undefined ? [0, 0, 0, false] : [...colour, true];
    });
  }

  private isShown(n: number): boolean {
    return this.list.shown.has(n) && this.shown?.structures[n]?.name !== this.correcting.structure;
  }

  private paint(): void {
    const found = this.shown;
    const [one, other] = this.viewers;
    if (found === null || one === undefined) return;
    if (this.difference && this.scan !== null && this.reference !== null && found.reference !== null) {
      const isShown = (n: number): boolean => this.isShown(n);
      one.setCells(differing(this.scan.cells, found.cells, this.reference, found.reference.cells, isShown));
      one.setColours(DIFFERENCE);
    } else {
      if (this.reference !== null && this.scan !== null) one.setCells(this.scan.cells);
      one.setColours(this.coloursOf(found.cells));
    }
    if (other === undefined || found.reference === null) return;
    other.setColours(this.coloursOf(found.reference.cells, (n) => this.list.shown.has(n))); // also what is being corrected
  }

  private goTo(structure: Structure): void {
    if (structure.middle !== null) this.viewers[0]?.goTo(structure.middle);
  }

  private setWindow(n: number): void {
    const [, low, high] = WINDOWS[n] ?? WINDOWS[0]!;
    this.window = n;
    for (const viewer of this.viewers) viewer.setWindow(low, high);
    this.drawBar();
  }

  private setOpacity(opacity: number): void {
    this.opacity = Math.min(1, Math.max(0, opacity));
    for (const viewer of this.viewers) viewer.setOpacity(this.opacity);
    const slider = this.bar.querySelector<HTMLInputElement>("input[type=range]");
    if (slider !== null) slider.value = String(this.opacity);
  }

  private setOutline(on: boolean): void {
    this.outline = on;
    for (const viewer of this.viewers) viewer.setOutline(on);
    this.drawBar();
  }

  private setLayout(layout: Layout): void {
    this.layout = layout;
    for (const viewer of this.viewers) viewer.setLayout(layout);
    this.drawBar();
  }

  private setDifference(on: boolean): void {
    this.difference = on && this.reference !== null;
    this.paint();
    this.drawBar();
    const where = this.viewers[0]?.where();
    if (where !== undefined) this.drawFoot(where);
  }

  private async judge(verdict: Verdict): Promise<void> {
    const row = this.session.cases[this.at];
    const { judge } = this.place;
    if (row === undefined || judge === null || this.session.reviewer === null || this.isOpening || !this.hasMasks) return;
    const wanted = row.verdict === verdict ? null : verdict;
    try {
      await judge(this.at, wanted);
      row.verdict = wanted;
    } catch (error) {
      tell(error instanceof Error ? error.message : String(error));
    }
    this.drawBar();
  }

  private async reopen(): Promise<void> {
    if (this.isOpening) return; // another case is on its way
    const where = this.viewers[0]?.where();
    await this.openWanted();
    if (where !== undefined) this.viewers[0]?.goTo(where);
  }

  private correct(): void {
    const found = this.shown;
    const structure = this.list.chosen === null ? undefined : found?.structures[this.list.chosen];
    if (found === null || this.scan === null || this.isOpening || !this.hasMasks) return;
    if (found.not_correctable !== null) tell(found.not_correctable[spoken()]);
    else if (structure === undefined) tell(say("Choose a structure first."));
    else {
      const number = found.structures.indexOf(structure);
      const inside = found.cells.map((cell) => (cell.includes(number) ? 1 : 0));
      const mask = Uint8Array.from(this.scan.cells, (cell) => inside[cell] ?? 0);
      this.correcting.begin(this.at, structure, mask);
      this.paint();
    }
  }

  private drawBar(): void {
    const group = (...children: Node[]): HTMLElement => element("div", { class: "group" }, ...children);
    const pressed = (on: boolean): Record<string, string> => ({ "aria-pressed": String(on) });
    const slider = element("input", { type: "range", min: "0", max: "1", step: "0.05", "aria-label": say("Opacity") });
    slider.value = String(this.opacity);
    slider.addEventListener("input", () => this.setOpacity(Number(slider.value)));
    const whole = this.viewers[0]?.isWhole ?? true;
    const outline = button(say("Outline"), () => this.setOutline(!this.outline), pressed(this.outline));
    const parts = [
      group(...WINDOWS.map(([name], n) => button(say(name), () => this.setWindow(n), pressed(n === this.window)))),
      group(
        ...LAYOUTS.filter(([, layout]) => whole || layout !== "render").map(([name, layout]) =>
          button(say(name), () => this.setLayout(layout), pressed(layout === this.layout)),
        ),
      ),
      group(element("label", {}, say("Opacity"), slider), ...(whole ? [outline] : [])),
    ];
    if (this.reference !== null) {
      parts.push(group(button(say("Difference"), () => this.setDifference(!this.difference), pressed(this.difference))));
    }
    if (this.session.reviewer !== null && this.viewers[0]?.pen != null && this.hasMasks) {
      parts.push(group(button(say("Correct"), () => this.correct(), { "data-do": "correct" })));
    }
    parts.push(this.drawCases(), group(...this.place.actions(this.shown)));
    const other = spoken() === "en" ? "fr" : "en";
    parts.push(
      group(
        button(other === "fr" ? "Français" : "English", () => this.translate(other), { lang: other, "data-do": "language" }),
        button("?", () => tell(say(HELP)), { title: say("Help") }),
      ),
    );
    redraw(this.bar, element("h1", {}, this.session.cases[this.at]?.name ?? this.session.title), ...parts);
    document.title = `${this.session.cases[this.at]?.name ?? ""} – tomoseg`;
  }

  /** Whether there are masks to judge and to correct: a scan may be looked at alone. */
  private get hasMasks(): boolean {
    return (this.shown?.structures.length ?? 1) > 0;
  }

  private drawCases(): HTMLElement {
    const { cases, measure, reviewer } = this.session;
    const box = element("div", { class: "group" });
    if (cases.length > 1) {
      const choice = element("select", { "aria-label": say("Cases") });
      cases.forEach((row, n) => {
        const score = row.score === null ? "" : ` · ${say(MEASURES[measure] ?? measure)} ${number(row.score, 3)}`;
        const verdict = row.verdict === null ? "" : ` · ${say(VERDICTS[row.verdict])}`;
        choice.append(element("option", { value: String(n) }, `${n + 1}/${cases.length} ${row.name}${score}${verdict}`));
      });
      choice.value = String(this.at);
      choice.addEventListener("change", () => void this.show(Number(choice.value)));
      box.append(
        button("←", () => void this.show(this.at - 1), { title: say("Previous") }),
        choice,
        button("→", () => void this.show(this.at + 1), { title: say("Next") }),
      );
    }
    if (reviewer !== null && this.place.judge !== null && this.hasMasks) {
      const verdict = cases[this.at]?.verdict ?? null;
      const mark = (name: string, value: Verdict): HTMLElement =>
        button(name, () => void this.judge(value), { "aria-pressed": String(verdict === value), "data-do": value });
      box.append(mark(say("Accept"), "right"), mark(say("Needs work"), "needs work"));
    }
    return box;
  }

  private drawNotes(): void {
    const poor = say("This browser has no WebGL2: slices are shown, without 3D, outlines and corrections.");
    const own = this.viewers[0]?.isWhole === false ? [{ level: "warning", text: poor }] : [];
    const noticed = (this.shown?.notices ?? []).map((notice) => ({ ...notice, text: notice.text[spoken()] }));
    const notices = [...own, ...noticed];
    const lines = notices.map((notice) => element("li", { class: notice.level }, notice.text));
    const box = element("details", {}, element("summary", {}, `${say("Warnings")} (${notices.length})`));
    box.append(element("ul", {}, ...lines));
    box.open = own.length > 0;
    const alone = element("p", {}, say("There are no masks: the scan is shown alone."));
    this.notes.replaceChildren(...(notices.length > 0 ? [box] : []), ...(this.hasMasks ? [] : [alone]));
  }

  private drawFoot(voxel: Triple): void {
    const { shown, scan } = this;
    if (shown === null || scan === null) return;
    const [nx, ny] = scan.shape;
    const at = voxel[0] + nx * (voxel[1] + ny * voxel[2]);
    const [x = 0, y = 0, z = 0] = shown.affine.map((row) => {
      const [a = 0, b = 0, c = 0, d = 0] = row;
      return a * voxel[0] + b * voxel[1] + c * voxel[2] + d;
    });
    const position = `${sided(x, "R", "L")}  ${sided(y, "A", "P")}  ${sided(z, "S", "I")} mm`;
    const inside = shown.cells[scan.cells[at] ?? 0] ?? [];
    const names = inside.map((n) => shown.structures[n]?.title[spoken()] ?? "");
    const parts = [position, `${number(scan.hu[at] ?? 0, 0)} ${say("HU")}`, ...names];
    this.foot.replaceChildren(...parts.map((text) => element("span", {}, text)));
    if (this.difference) {
      const texts = [say("both"), say("only in the mask"), say("only in the reference")];
      texts.forEach((text, n) => {
        const patch = element("i", { class: "patch" });
        patch.style.backgroundColor = `rgb(${DIFFERENCE[n + 1]!.slice(0, 3).join(" ")})`;
        this.foot.append(element("span", {}, patch, text));
      });
    }
  }

  private translate(language: "en" | "fr"): void {
    speak(language);
    this.list.draw();
    this.drawNotes();
    this.drawBar();
    this.drawTitles();
    this.correcting.draw();
    const where = this.viewers[0]?.where();
    if (where !== undefined) this.drawFoot(where);
    for (const viewer of this.viewers) viewer.release(); // with the letters of the other language
  }

  private key(event: KeyboardEvent): void {
    const target = event.target;
    if (target instanceof HTMLInputElement && target.type !== "checkbox" && target.type !== "range") return;
    if (target instanceof HTMLSelectElement || event.altKey) return;
    if (target instanceof HTMLInputElement && target.type === "range" && event.key.startsWith("Arrow")) return;
    const digit = /^Digit([1-4])$/.exec(event.code)?.[1]; // where digits need the shift key, as in French
    const done = this.correcting.key(event) || (!event.ctrlKey && !event.metaKey && this.do(digit ?? event.key));
    if (!done) return;
    event.preventDefault();
    event.stopPropagation(); // NiiVue listens on its canvas for keys of its own
  }

  private do(key: string): boolean {
    const actions: Record<string, () => void> = {
      "1": () => this.setWindow(0),
      "2": () => this.setWindow(1),
      "3": () => this.setWindow(2),
      "4": () => this.setWindow(3),
      o: () => this.setOutline(!this.outline),
      a: () => this.list.all(),
      n: () => this.list.none(),
      s: () => this.list.alone(),
      d: () => this.setDifference(!this.difference),
      e: () => this.correct(),
      "+": () => this.setOpacity(this.opacity + 0.1),
      "-": () => this.setOpacity(this.opacity - 0.1),
      ArrowRight: () => void this.show(this.at + 1),
      ArrowLeft: () => void this.show(this.at - 1),
      r: () => void this.judge("right"),
      w: () => void this.judge("needs work"),
      "?": () => tell(say(HELP)),
    };
    const action = actions[key.length === 1 ? key.toLowerCase() : key];
    action?.();
    return action !== undefined;
  }
}

/** Of each voxel whether it is in both, 1, only in the mask, 2, or only in the reference, 3, of the structures shown. */
function differing(
  cells: Uint8Array | Uint16Array,
  table: number[][],
  others: Uint8Array | Uint16Array,
  otherTable: number[][],
  isShown: (n: number) => boolean,
): Uint8Array {
  // A voxel in which both have structures, but not the same, is wrong in both; it is told as the mask's.
  const keys = (of: number[][]): string[] => of.map((inside) => inside.filter(isShown).sort((a, b) => a - b).join());
  const [ours, theirs] = [keys(table), keys(otherTable)];
  const codes = ours.map((one) =>
    Uint8Array.from(theirs, (other) => (one === other ? (one === "" ? 0 : 1) : one === "" ? 3 : 2)),
  );
  return Uint8Array.from(cells, (cell, at) => codes[cell]?.[others[at] ?? 0] ?? 0);
}
