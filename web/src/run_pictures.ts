/** Pictures of chosen structures, as validations drew them: the newest, until an earlier one is asked for. */

import type { RunNews } from "./api";
import { element } from "./dom";
import { say } from "./words";

export class RunPictures {
  readonly element = element("figure", { class: "pictures" });
  private readonly title = element("span");
  private readonly names = element("select");
  private readonly epochs = element("input", { type: "range", step: "1" });
  private readonly told = element("output");
  private readonly image = element("img");
  private found: RunNews["pictures"] = {};
  private part = 0;
  /** Whether the newest is shown when it comes. */
  private follows = true;

  constructor() {
    const bar = element("figcaption", { class: "group" }, this.title, this.names, this.epochs, this.told);
    this.element.append(bar, this.image);
    this.names.addEventListener("change", () => this.choose(this.names.value));
    this.epochs.addEventListener("input", () => {
      this.follows = this.epochs.value === this.epochs.max;
      this.show();
    });
  }

  draw(part: number, found: RunNews["pictures"], titled: (name: string) => string): void {
    const chosen = this.names.value;
    if (part !== this.part) this.follows = true;
    [this.part, this.found] = [part, found];
    const names = Object.keys(found);
    this.element.hidden = names.length === 0;
    this.title.textContent = say("Pictures");
    this.names.setAttribute("aria-label", say("Picture of"));
    this.epochs.setAttribute("aria-label", say("Epoch"));
    this.names.replaceChildren(...names.map((name) => element("option", { value: name }, titled(name))));
    this.names.value = names.includes(chosen) ? chosen : (names[0] ?? "");
    this.show();
  }

  /** Show a structure's, if it has any. */
  choose(name: string): void {
    if (this.found[name] === undefined) return;
    this.names.value = name;
    this.follows = true;
    this.show();
  }

  private show(): void {
    const name = this.names.value;
    const epochs = this.found[name] ?? [];
    const last = epochs.length - 1;
    const at = this.follows ? last : Math.min(Number(this.epochs.value), last);
    this.epochs.max = String(Math.max(last, 0));
    this.epochs.value = String(at);
    const epoch = epochs[at];
    if (epoch === undefined) return;
    this.told.textContent = `${say("Epoch")} ${epoch}`;
    const place = `run/${this.part}/pictures/${encodeURIComponent(name)}/${epoch}`;
    if (this.image.getAttribute("src") !== place) this.image.setAttribute("src", place);
    this.image.alt = `${name}, ${say("Epoch")} ${epoch}`;
  }
}
