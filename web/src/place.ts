/** Where cases come from, and where what is said of them goes: `tomoseg view`, or a job of `tomoseg serve`. */

import { send, sendMask, type Case, type Verdict } from "./api";
import { load, type Loaded } from "./loading";

export interface Place {
  load(at: number): Promise<Loaded>;
  /** Save a corrected mask; says which version it became. */
  save(at: number, structure: string, who: string, mask: Uint8Array<ArrayBuffer>): Promise<number>;
  /** Keep a verdict, or take it back; null where there are none. */
  readonly judge: ((at: number, verdict: Verdict | null) => Promise<void>) | null;
  /** What else can be done with what is shown. */
  actions(shown: Case | null): HTMLElement[];
}

/** The cases of `tomoseg view`. */
export const CASES: Place = {
  load: (at) => load(`cases/${at}`, `cases/${at}`),
  save: (at, structure, who, mask) => sendMask(`cases/${at}/corrections`, structure, who, mask),
  judge: async (at, verdict) => {
    await send(`cases/${at}/verdict`, { verdict });
  },
  actions: () => [],
};
