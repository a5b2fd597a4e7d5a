/** The list of structures: by group, with search, ticks, what was measured, and what is odd. */

import type { Structure } from "./api";
import { button, element } from "./dom";
import { later, number, say, spoken, volume } from "./words";

const WARNINGS: Record<Structure["warnings"][number], string> = {
  border: later("reaches the border of the scan"),
  "few voxels": later("very few voxels"),
  "unlike counterpart": later("far from the size of its counterpart"),
};

export class StructureList {
  readonly element = element("section", { class: "structures" });
  /** Numbers of those that are shown. */
  readonly shown = new Set<number>();
  chosen: number | null = null;
  private structures: readonly Structure[] = [];
  private search = "";
  private groups: { tick: HTMLInputElement; numbers: number[] }[] = [];
  private readonly rows = new Map<number, { row: HTMLElement; tick: HTMLInputElement }>();

  constructor(
    private readonly onShown: () => void,
    private readonly onChosen: (structure: Structure) => void,
    private readonly measured: (structure: Structure) => string = ofScan,
  ) {}

  /** Tell what is measured now, of the same structures; others are opened. Returns whether they are others. */
  update(structures: readonly Structure[]): boolean {
    const isSame = structures.map((one) => one.name).join() === this.structures.map((one) => one.name).join();
    if (!isSame) {
      this.open(structures, false);
      return true;
    }
    this.structures = structures;
    structures.forEach((one, n) => {
      const told = this.rows.get(n)?.row.querySelector(".measured");
      if (told != null) told.textContent = this.measured(one);
    });
    return false;
  }

  open(structures: readonly Structure[], keeps: boolean): void {
    const hidden = new Set(keeps ? this.structures.filter((_, n) => !this.shown.has(n)).map((one) => one.name) : []);
    const name = this.chosen === null ? null : this.structures[this.chosen]?.name;
    this.structures = structures;
    this.shown.clear();
    structures.forEach((one, n) => hidden.has(one.name) || this.shown.add(n));
    const chosen = structures.findIndex((one) => one.name === name);
    this.chosen = chosen < 0 ? null : chosen;
    this.draw();
  }

  draw(): void {
    this.rows.clear();
    this.groups = [];
    const search = element("input", { type: "search", placeholder: say("Search"), "aria-label": say("Search") });
    search.value = this.search;
    search.addEventListener("input", () => {
      this.search = search.value;
      this.filter();
    });
    const buttons = element(
      "div",
      { class: "buttons" },
      button(say("All"), () => this.all(), { "data-do": "all" }),
      button(say("None"), () => this.none(), { "data-do": "none" }),
      button(say("Alone"), () => this.alone(), { "data-do": "alone" }),
    );
    const unmatched = element("p", { class: "unmatched", role: "status", hidden: "" }, say("No structure matches the search."));
    const groups = new Map<string, HTMLElement[]>();
    this.structures.forEach((structure, n) => {
      const group = structure.group[spoken()];
      groups.set(group, [...(groups.get(group) ?? []), this.row(structure, n)]);
    });
    const lists = [...groups].map(([group, rows]) => this.group(group, rows));
    const parts = [search, buttons, unmatched, element("div", { class: "groups" }, ...lists)];
    this.element.replaceChildren(...(this.structures.length > 0 ? parts : []));
    this.filter();
    this.mark();
  }

  show(n: number): void {
    this.shown.add(n);
    this.changed();
  }

  all(): void {
    this.structures.forEach((_, n) => this.shown.add(n));
    this.changed();
  }

  none(): void {
    this.shown.clear();
    this.changed();
  }

  /** The chosen structure alone, or all again. */
  alone(): void {
    const chosen = this.chosen;
    if (chosen === null) return;
    const was = this.shown.size === 1 && this.shown.has(chosen);
    this.shown.clear();
    this.structures.forEach((_, n) => (was || n === chosen) && this.shown.add(n));
    this.changed();
  }

  private changed(): void {
    this.mark();
    this.onShown();
  }

  private mark(): void {
    const alone = this.element.querySelector<HTMLButtonElement>("[data-do=alone]");
    if (alone !== null) alone.disabled = this.chosen === null;
    for (const [n, { row, tick }] of this.rows) {
      tick.checked = this.shown.has(n);
      row.classList.toggle("chosen", n === this.chosen);
    }
    for (const { tick, numbers } of this.groups) {
      const shown = numbers.filter((n) => this.shown.has(n)).length;
      tick.checked = shown === numbers.length;
      tick.indeterminate = shown > 0 && shown < numbers.length;
    }
  }

  private filter(): void {
    const wanted = plain(this.search);
    this.structures.forEach((structure, n) => {
      const row = this.rows.get(n)?.row;
      const texts = [structure.name, structure.title.en, structure.title.fr, structure.group[spoken()]];
      if (row !== undefined) row.hidden = !texts.some((text) => plain(text).includes(wanted));
    });
    for (const group of this.element.querySelectorAll<HTMLElement>("details")) {
      group.hidden = group.querySelector(".row:not([hidden])") === null;
    }
    const unmatched = this.element.querySelector<HTMLElement>(".unmatched");
    if (unmatched !== null) unmatched.hidden = this.element.querySelector(".row:not([hidden])") !== null;
  }

  private group(name: string, rows: HTMLElement[]): HTMLElement {
    const tick = element("input", { type: "checkbox", "aria-label": name });
    const numbers = rows.map((row) => Number(row.dataset.number));
    this.groups.push({ tick, numbers });
    tick.addEventListener("change", () => {
      for (const n of numbers) tick.checked ? this.shown.add(n) : this.shown.delete(n);
      this.changed();
    });
    const title = element("summary", {}, tick, element("span", {}, name), element("small", {}, String(rows.length)));
    return element("details", { open: "" }, title, ...rows);
  }

  private row(structure: Structure, n: number): HTMLElement {
    const title = structure.title[spoken()];
    const tick = element("input", { type: "checkbox", "aria-label": title });
    tick.addEventListener("change", () => {
      tick.checked ? this.shown.add(n) : this.shown.delete(n);
      this.changed();
    });
    const patch = element("i", { class: "patch" });
    patch.style.backgroundColor = `rgb(${structure.colour.join(" ")})`;
    const name = element("button", { type: "button", class: "name" }, title);
    name.addEventListener("click", () => {
      this.chosen = n;
      this.mark();
      this.onChosen(structure);
    });
    const row = element("div", { class: "row", "data-number": String(n), "data-name": structure.name }, tick, patch, name);
    row.append(element("span", { class: "measured" }, this.measured(structure)));
    if (structure.warnings.length > 0 || structure.version !== null) {
      row.append(element("small", {}, remarks(structure).join(" · ")));
    }
    row.classList.toggle("absent", structure.middle === null);
    this.rows.set(n, { row, tick });
    return row;
  }
}

/** Of a structure in a scan. */
function ofScan(structure: Structure): string {
  const parts: string[] = [];
  if (structure.dice !== null) parts.push(`${say("Dice")} ${number(structure.dice, 3)}`);
  if (structure.volume_ml === null) return [...parts, say("not found")].join(" · ");
  parts.push(`${volume(structure.volume_ml)} ${say("ml")}`);
  if (structure.mean_hu !== null) parts.push(`${number(structure.mean_hu, 0)} ${say("HU")}`);
  return parts.join(" · ");
}

function remarks(structure: Structure): string[] {
  const said = structure.warnings.map((warning) => `⚠ ${say(WARNINGS[warning])}`);
  return structure.version === null ? said : [...said, say("corrected, version {version}", { version: structure.version })];
}

/** Without marks and capitals, so that "cote" finds "côte". */
function plain(text: string): string {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}
