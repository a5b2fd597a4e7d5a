/** A job of `tomoseg serve` that is done, to be looked at, corrected and downloaded. */

import { ask, sendMask, type Case } from "./api";
import { button, tell } from "./dom";
import { load, type Loaded } from "./loading";
import type { Place } from "./place";
import { say } from "./words";

const WHO = "tomoseg-who";

export class JobPlace implements Place {
  readonly judge = null;

  constructor(
    private readonly at: string,
    private readonly name: string,
    private readonly number: number,
  ) {}

  /** Who corrected last in this window. */
  static get reviewer(): string {
    return sessionStorage.getItem(WHO) ?? "";
  }

  async load(): Promise<Loaded> {
    const loaded = await load(`${this.at}/view/case.json`, `${this.at}/view`);
    return { ...loaded, found: { ...loaded.found, name: this.name } };
  }

  save(_: number, structure: string, who: string, mask: Uint8Array<ArrayBuffer>): Promise<number> {
    sessionStorage.setItem(WHO, who);
    return sendMask(`${this.at}/corrections`, structure, who, mask);
  }

  actions(shown: Case | null): HTMLElement[] {
    const isCorrected = shown?.structures.some((one) => one.version !== null) ?? false;
    return [...downloads(this.at, this.number, isCorrected), button(say("All jobs"), () => (location.hash = ""), { "data-do": "jobs" })];
  }
}

/** Buttons to download a result: as it was made, and as it was corrected. */
export function downloads(at: string, number: number, isCorrected: boolean): HTMLElement[] {
  const one = (title: string, path: string, name: string, what: string): HTMLElement =>
    button(title, () => void keep(`${at}/${path}`, name), { "data-do": what });
  const made = one(say("Download"), "download", `tomoseg_${number}.zip`, "download");
  if (!isCorrected) return [made];
  return [
    made,
    one(say("Download corrected"), "corrections/download", `tomoseg_${number}_corrected.zip`, "download-corrected"),
  ];
}

/** Download through this page, since a link could not send the token. */
async function keep(path: string, name: string): Promise<void> {
  try {
    tell(say("Preparing the download"), true);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await (await ask(path)).blob());
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    document.querySelector(".told")?.remove();
  } catch (error) {
    tell(error instanceof Error ? error.message : String(error), true);
  }
}
