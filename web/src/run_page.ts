/** A training run while it goes and afterwards: its curves, how fast it is, and how long it still takes. */

import type { RunEpoch, RunNews, RunSession, RunStructure, Structure } from "./api";
import { Chart, short, type Line } from "./chart";
import { button, element, redraw, tell } from "./dom";
import { RunPictures } from "./run_pictures";
import { StructureList } from "./structures";
import { later, number, say, speak, spoken, type Language } from "./words";

const STATES: Record<RunNews["state"], string> = {
  waiting: later("before its first epoch"),
  running: later("running"),
  quiet: later("no news"),
  finished: later("finished"),
};
const COLOURS = { train: "#5aa2e6", validation: "#f08a4b", dice: "#58c27d", rate: "#b295ec", norm: "#e6c34a", speed: "#6fd0d0" };
const RETRY_MS = 2000;

/** What a part of the run has told so far. */
interface Part {
  name: string;
  state: RunNews["state"];
  written: number | null;
  odd: number[];
  pictures: RunNews["pictures"];
  epochs: RunEpoch[];
  structures: RunStructure[];
}

type Value = "train_loss" | "validation_loss" | "validation_dice" | "learning_rate" | "gradient_norm" | "slices_per_second";

export class RunPage {
  private readonly list = new StructureList(
    () => this.drawCharts(),
    (structure) => this.choose(structure.name),
    (structure) => (structure.dice === null ? "–" : number(structure.dice, 3)),
  );
  private readonly bar = element("header", { class: "bar" });
  private readonly side = element("aside");
  private readonly views = element("div", { class: "run" });
  private readonly facts = element("dl", { class: "facts" });
  private readonly foot = element("footer", { class: "foot" });
  private readonly charts = {
    loss: new Chart("loss"),
    dice: new Chart("dice", { span: [0, 1] }),
    rate: new Chart("rate", { logarithmic: true }),
    norm: new Chart("norm", { logarithmic: true }),
    speed: new Chart("speed"),
  };
  private readonly pictures = new RunPictures();
  private readonly parts: Part[];
  private at = 0;
  /** Whether the part that is shown was chosen, and not only the one that is trained. */
  private isChosen = false;

  constructor(private readonly session: RunSession) {
    this.parts = session.parts.map((name) => ({ name, state: "waiting", written: null, odd: [], pictures: {}, epochs: [], structures: [] }));
  }

  begin(page: HTMLElement): void {
    this.side.append(this.list.element);
    this.views.append(this.facts, ...Object.values(this.charts).map((chart) => chart.element), this.pictures.element);
    page.replaceChildren(this.bar, this.side, this.views, this.foot);
    this.draw();
    this.listen();
  }

  private listen(): void {
    const events = new EventSource("run/events"); // it comes back by itself, and is told all again
    events.addEventListener("message", (event) => {
      for (const news of JSON.parse(String(event.data)) as RunNews[]) this.take(news);
      document.querySelector(".told")?.remove();
      this.draw();
      document.body.dataset.ready = this.session.title;
    });
    events.addEventListener("error", () => {
      if (events.readyState !== EventSource.CLOSED) return;
      tell(say("The server does not answer."), true);
      setTimeout(() => this.listen(), RETRY_MS);
    });
  }

  private take(news: RunNews): void {
    const part = this.parts[news.part];
    if (part === undefined) return;
    part.state = news.state;
    part.written = news.written;
    part.odd = news.odd_lines;
    part.pictures = news.pictures;
    part.epochs = [...part.epochs.slice(0, news.first), ...news.epochs];
    part.structures = news.structures ?? part.structures;
    if (!this.isChosen && part.epochs.length > 0 && news.part > this.at) this.at = news.part;
  }

  private get part(): Part {
    return this.parts[this.at]!;
  }

  private draw(): void {
    this.drawBar();
    this.drawFacts();
    this.drawList();
    this.drawCharts();
    this.drawFoot();
    this.pictures.draw(this.at, this.part.pictures, (name) => this.titled(name));
  }

  private titled(name: string): string {
    return this.part.structures.find((one) => one.name === name)?.title[spoken()] ?? name;
  }

  private drawBar(): void {
    const parts = [element("h1", {}, this.session.title)];
    if (this.parts.length > 1) {
      const box = element("div", { class: "group" });
      this.parts.forEach((part, n) => {
        const show = (): void => {
          this.at = n;
          this.isChosen = true;
          this.draw();
        };
        box.append(button(this.called(part), show, { "aria-pressed": String(n === this.at), "data-part": part.name }));
      });
      parts.push(box);
    }
    const other: Language = spoken() === "en" ? "fr" : "en";
    const name = other === "fr" ? "Français" : "English";
    const translate = (): void => {
      speak(other);
      this.list.draw();
      this.draw();
    };
    parts.push(element("div", { class: "group" }, button(name, translate, { lang: other, "data-do": "language" })));
    redraw(this.bar, ...parts);
    document.title = `${this.session.title} – tomoseg`;
  }

  private called(part: Part): string {
    const fold = /^fold-(\d+)$/.exec(part.name);
    return fold === null ? say(part.name.replace(/^./, (first) => first.toUpperCase())) : say("Fold {number}", { number: fold[1]! });
  }

  /** What is known now, each with its name. */
  private drawFacts(): void {
    const { epochs, state } = this.part;
    const last = epochs.at(-1);
    const best = bestOf(epochs);
    const latest = (name: Value): string => {
      const value = this.points(name).at(-1)?.[1];
      return value === undefined ? "–" : short(value);
    };
    const rows: [string, string, string][] = [
      ["state", say("State"), say(STATES[state])],
      ["epoch", say("Epoch"), last === undefined ? "–" : number(last.epoch, 0)],
      ["left", say("Time left"), time(last?.minutes_left)],
      ["spent", say("Time spent"), time(last?.minutes)],
      ["dice", say("Validation Dice"), latest("validation_dice")],
      ["best", say("Best"), best === null ? "–" : say("{dice}, epoch {epoch}", { dice: number(best[1], 4), epoch: best[0] })],
      ["rate", say("Learning rate"), latest("learning_rate")],
      ["norm", say("Gradient norm"), latest("gradient_norm")],
      ["speed", say("Slices per second"), latest("slices_per_second")],
    ];
    this.facts.replaceChildren(
      ...rows.map(([name, title, value]) =>
        element("div", { "data-fact": name }, element("dt", {}, title), element("dd", {}, value)),
      ),
    );
  }

  private drawList(): void {
    const { epochs, structures } = this.part;
    const dice = epochs.filter((epoch) => Object.keys(epoch.dice).length > 0).at(-1)?.dice ?? {};
    const told = structures.map((one): Structure => ({ ...NOTHING_MEASURED, ...one, dice: dice[one.name] ?? null }));
    if (this.list.update(told)) this.list.none(); // curves of structures are drawn on demand
    this.side.hidden = told.length === 0;
  }

  /** Draw a structure's curve, whose name was clicked. */
  private choose(name: string): void {
    const at = this.part.structures.findIndex((one) => one.name === name);
    if (at >= 0) this.list.show(at);
    this.pictures.choose(name);
  }

  private drawCharts(): void {
    const { epochs, structures } = this.part;
    const span = [epochs[0]?.epoch ?? 1, epochs.at(-1)?.epoch ?? 1] as const;
    const line = (name: Value, title: string, colour: string): Line => ({ name, title, colour, points: this.points(name) });
    const shown = structures.filter((_, n) => this.list.shown.has(n));
    this.charts.loss.draw(
      say("Loss"),
      [line("train_loss", say("training"), COLOURS.train), line("validation_loss", say("validation"), COLOURS.validation)],
      span,
    );
    this.charts.dice.draw(
      say("Validation Dice"),
      [
        line("validation_dice", say("mean"), COLOURS.dice),
        ...shown.map((one) => ({
          name: one.name,
          title: one.title[spoken()],
          colour: `rgb(${one.colour.join(" ")})`,
          points: pointsOf(epochs, (epoch) => epoch.dice[one.name]),
        })),
      ],
      span,
    );
    this.charts.rate.draw(say("Learning rate"), [line("learning_rate", say("learning rate"), COLOURS.rate)], span);
    this.charts.norm.draw(say("Gradient norm"), [line("gradient_norm", say("gradient norm"), COLOURS.norm)], span);
    this.charts.speed.draw(say("Slices per second"), [line("slices_per_second", say("training"), COLOURS.speed)], span);
    for (const [name, key] of [["norm", "gradient_norm"], ["speed", "slices_per_second"]] as const) {
      this.charts[name].element.hidden = epochs.length > 0 && this.points(key).length === 0; // a run of before
    }
  }

  private points(name: Value): [number, number][] {
    return pointsOf(this.part.epochs, (epoch) => epoch[name]);
  }

  private drawFoot(): void {
    const { written, odd, state } = this.part;
    const parts: string[] = [];
    if (state === "waiting") parts.push(say("No epoch is done yet: its curves come with the first."));
    if (written !== null) {
      const when = new Date(written * 1000).toLocaleString(spoken() === "fr" ? "fr-FR" : "en-GB");
      parts.push(say("Last epoch: {when}", { when }));
    }
    if (state === "quiet") parts.push(say("Nothing has come for long: training may have been stopped. tomoseg train goes on with it."));
    if (odd.length > 0) parts.push(say("Lines of metrics.jsonl that are no epoch: {lines}", { lines: odd.join(", ") }));
    this.foot.replaceChildren(...parts.map((text) => element("span", {}, text)));
  }
}

const NOTHING_MEASURED = { volume_ml: null, mean_hu: null, middle: [0, 0, 0] as [number, number, number], warnings: [], version: null };

function pointsOf(epochs: readonly RunEpoch[], value: (epoch: RunEpoch) => number | null | undefined): [number, number][] {
  return epochs.flatMap((epoch) => {
    const found = value(epoch);
    return found == null ? [] : [[epoch.epoch, found] as [number, number]];
  });
}

/** The first epoch of the highest Dice, and that Dice. */
function bestOf(epochs: readonly RunEpoch[]): [number, number] | null {
  const points = pointsOf(epochs, (epoch) => epoch.validation_dice);
  return points.reduce<[number, number] | null>((best, one) => (best === null || one[1] > best[1] ? one : best), null);
}

/** Minutes as people say them. */
function time(minutes: number | null | undefined): string {
  if (minutes == null) return "–";
  if (minutes < 1) return `${number(minutes * 60, 0)} s`;
  if (minutes < 60) return `${number(minutes, 0)} min`;
  return `${number(Math.floor(minutes / 60), 0)} h ${String(Math.floor(minutes % 60)).padStart(2, "0")} min`;
}
