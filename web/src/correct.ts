/** Correcting one structure with a brush, and saving it as a new version. */

import type { Structure } from "./api";
import { button, element, redraw, tell } from "./dom";
import type { Place } from "./place";
import type { Pen } from "./viewer";
import { say, spoken } from "./words";

const SIZES: readonly number[] = [1, 3, 5, 9, 15, 25];

export class Correcting {
  private readonly box = element("section", { class: "correcting" });
  private open: { at: number; structure: Structure } | null = null;
  private size = 3;
  private adds = true;
  private fills = false;
  private changed = false;
  private who: string;

  constructor(
    reviewer: string | null,
    private readonly place: Place,
    private readonly pen: () => Pen | null,
    private readonly onSaved: () => Promise<void>,
    private readonly onEnd: () => void,
  ) {
    this.who = reviewer ?? "";
    window.addEventListener("beforeunload", (event) => {
      if (this.open !== null && this.changed) event.preventDefault(); // the browser asks
    });
  }

  /** The name of the structure that is being corrected. */
  get structure(): string | null {
    return this.open?.structure.name ?? null;
  }

  begin(at: number, structure: Structure, mask: Uint8Array): void {
    const pen = this.pen();
    if (pen === null || !this.mayLeave()) return;
    this.open = { at, structure };
    this.changed = false;
    pen.begin(mask, structure.colour);
    pen.onChange = () => {
      this.changed = true;
    };
    this.changed = false;
    document.querySelector("aside")?.prepend(this.box);
    this.draw();
  }

  /** End what is being corrected, asking first where something would be lost. */
  mayLeave(): boolean {
    if (this.open === null) return true;
    if (this.changed && !confirm(say("What was drawn is not saved yet. Leave it?"))) return false;
    this.end();
    return true;
  }

  draw(): void {
    const open = this.open;
    if (open === null) return;
    this.pen()?.use(this.size, this.adds, this.fills);
    const pressed = (on: boolean): Record<string, string> => ({ "aria-pressed": String(on) });
    const set = (change: () => void) => () => {
      change();
      this.draw();
    };
    const who = element("input", { type: "text", maxlength: "100", "aria-label": say("Who") });
    who.value = this.who;
    who.addEventListener("input", () => {
      this.who = who.value;
    });
    redraw(
      this.box,
      element("h2", {}, say("Correcting {structure}", { structure: open.structure.title[spoken()] })),
      element(
        "div",
        { class: "group" },
        button(say("Brush"), set(() => (this.adds = true)), { ...pressed(this.adds), "data-do": "brush" }),
        button(say("Erase"), set(() => (this.adds = false)), { ...pressed(!this.adds), "data-do": "erase" }),
        button(say("Fill outlines"), set(() => (this.fills = !this.fills)), { ...pressed(this.fills), "data-do": "fill" }),
      ),
      element(
        "div",
        { class: "group" },
        say("size"),
        ...SIZES.map((size) => button(String(size), set(() => (this.size = size)), pressed(size === this.size))),
      ),
      element(
        "div",
        { class: "group" },
        button(say("Undo"), () => this.pen()?.undo(), { "data-do": "undo" }),
        button(say("Fill between slices"), () => this.interpolate(), { "data-do": "interpolate" }),
      ),
      element("label", {}, say("Who"), who),
      element(
        "div",
        { class: "group" },
        button(say("Save as a new version"), () => void this.save(), { "data-do": "save" }),
        button(say("Stop correcting"), () => this.mayLeave(), { "data-do": "stop" }),
      ),
    );
  }

  /** Whether a key was meant for this. */
  key(event: KeyboardEvent): boolean {
    if (this.open === null) return false;
    if ((event.ctrlKey || event.metaKey) && event.key === "z") this.pen()?.undo();
    else if (event.key === "[") this.resize(-1);
    else if (event.key === "]") this.resize(1);
    else return false;
    return true;
  }

  private resize(step: number): void {
    this.size = SIZES[SIZES.indexOf(this.size) + step] ?? this.size;
    this.draw();
  }

  private interpolate(): void {
    tell(say("Slices filled: {count}.", { count: this.pen()?.interpolate() ?? 0 }));
  }

  private async save(): Promise<void> {
    const { open } = this;
    const pen = this.pen();
    if (open === null || pen === null) return;
    try {
      tell(say("Saving"), true);
      const mask = pen.mask() as Uint8Array<ArrayBuffer>;
      const version = await this.place.save(open.at, open.structure.name, this.who, mask);
      this.changed = false;
      this.end();
      await this.onSaved();
      tell(say("Saved as version {version}.", { version }));
    } catch (error) {
      tell(error instanceof Error ? error.message : String(error), true);
    }
  }

  private end(): void {
    this.pen()?.end();
    this.open = null;
    this.box.remove();
    this.onEnd();
  }
}
