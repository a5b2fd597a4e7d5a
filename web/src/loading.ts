/** A case with its volumes, from wherever a server has them: its description at one address, the others below another. */

import { ask, type Case } from "./api";

const WAIT_MS = 500;

/** A case as it is shown: its description and its volumes. */
export interface Loaded {
  found: Case;
  hu: Int16Array;
  cells: Uint8Array | Uint16Array;
  reference: Uint8Array | Uint16Array | null;
}

export async function load(description: string, place: string): Promise<Loaded> {
  const found = (await (await ready(description)).json()) as Case;
  const buffer = async (name: string): Promise<ArrayBuffer> => (await ready(`${place}/${name}`)).arrayBuffer();
  const cells = async (table: number[][], name: string): Promise<Uint8Array | Uint16Array> =>
    table.length > 256 ? new Uint16Array(await buffer(name)) : new Uint8Array(await buffer(name));
  const [hu, ours, theirs] = await Promise.all([
    buffer("hu"),
    cells(found.cells, "cells"),
    found.reference === null ? null : cells(found.reference.cells, "reference"),
  ]);
  return { found, hu: new Int16Array(hu), cells: ours, reference: theirs };
}

/** An answer, once the server has made what is asked for. */
async function ready(path: string): Promise<Response> {
  for (;;) {
    const answer = await ask(path);
    if (answer.status !== 202) return answer;
    await new Promise((wake) => setTimeout(wake, WAIT_MS));
  }
}
