/** What the server of `tomoseg view` says, and how it is asked. Every address is relative to the page's own, whose path is
 * its secret. */

import { spoken, type Language } from "./words";
import type { Triple } from "./viewer";

export type Verdict = "right" | "needs work";

export interface CaseRow {
  name: string;
  /** What it is sorted by, such as its Dice; null where nothing is known. */
  score: number | null;
  verdict: Verdict | null;
}

export interface Session {
  kind: "cases";
  title: string;
  language: Language;
  /** What the score of a case is, such as "Dice"; empty where cases have none. */
  measure: string;
  cases: CaseRow[];
  /** Who corrections are said to be by, unless the page is told otherwise; null where nothing may be written. */
  reviewer: string | null;
}

/** What is shown of a run: its networks by name, one without a name where there is no other. */
export interface RunSession {
  kind: "run";
  title: string;
  language: Language;
  parts: string[];
}

export interface RunStructure {
  name: string;
  title: Record<Language, string>;
  group: Record<Language, string>;
  colour: Triple;
}

/** An epoch, as far as it was measured. */
export interface RunEpoch {
  epoch: number;
  minutes?: number | null;
  minutes_left?: number | null;
  train_loss?: number | null;
  validation_loss?: number | null;
  validation_dice?: number | null;
  learning_rate?: number | null;
  gradient_norm?: number | null;
  slices_per_second?: number | null;
  dice: Record<string, number | null>;
}

/** What is new of a part of a run. */
export interface RunNews {
  part: number;
  state: "waiting" | "running" | "quiet" | "finished";
  /** When the last epoch was written, in seconds since 1970. */
  written: number | null;
  odd_lines: number[];
  /** Of each structure that has pictures, the epochs of them. */
  pictures: Record<string, number[]>;
  /** How many of the epochs that were told before stay. */
  first: number;
  epochs: RunEpoch[];
  /** Null where they are as they were told. */
  structures: RunStructure[] | null;
}

export interface Structure {
  name: string;
  title: Record<Language, string>;
  group: Record<Language, string>;
  colour: Triple;
  volume_ml: number | null;
  mean_hu: number | null;
  /** A voxel of it, the one nearest to its centre. */
  middle: Triple | null;
  warnings: ("border" | "few voxels" | "unlike counterpart")[];
  dice: number | null;
  /** The version that it was corrected in. */
  version: number | null;
}

export interface Case {
  name: string;
  shape: Triple;
  spacing_mm: Triple;
  /** Voxel to patient, RAS+ mm, by rows. */
  affine: number[][];
  structures: Structure[];
  /** Of each cell the structures in it, uppermost first. */
  cells: number[][];
  reference: { cells: number[][] } | null;
  notices: { text: { en: string; fr: string }; level: string }[];
  /** Why nothing can be corrected here; null where it can. */
  not_correctable: Record<Language, string> | null;
}

/** An answer that says what is wrong. */
export class Refused extends Error {}

let token = "";

/** What a server that asks for a token is told with every request. */
export function authorise(given: string): void {
  token = given;
}

export function authorisation(): Record<string, string> {
  return token === "" ? {} : { authorization: `Bearer ${token}` };
}

export async function ask(path: string, options: RequestInit = {}): Promise<Response> {
  const headers = { ...authorisation(), ...(options.headers as Record<string, string> | undefined) };
  const answer = await fetch(path, { cache: "no-store", ...options, headers });
  if (answer.ok) return answer;
  const text = await answer.text();
  let told = text || answer.statusText;
  try {
    told = refusal(JSON.parse(text)) ?? told;
  } catch {
    // it is no JSON, so it is told as it is
  }
  throw new Refused(told);
}

/** What the server refuses, in the language of the page; null where the answer does not say it. */
export function refusal(answer: unknown): string | null {
  const { detail, detail_fr: french } = (answer ?? {}) as { detail?: unknown; detail_fr?: unknown };
  const told = spoken() === "fr" ? (french ?? detail) : detail;
  return typeof told === "string" ? told : null;
}

export async function json<T>(path: string, options: RequestInit = {}): Promise<T> {
  return (await (await ask(path, options)).json()) as T;
}

export function send<T>(path: string, body: unknown, method = "POST"): Promise<T> {
  return json<T>(path, { method, body: JSON.stringify(body), headers: { "content-type": "application/json" } });
}

/** Send a corrected mask, a byte a voxel, compressed; says which version it became. */
export async function sendMask(
  path: string,
  structure: string,
  who: string,
  mask: Uint8Array<ArrayBuffer>,
): Promise<number> {
  const packed = new Blob([mask]).stream().pipeThrough(new CompressionStream("gzip"));
  const body = await new Response(packed).blob();
  const query = new URLSearchParams({ structure, who });
  const headers = { "content-type": "application/octet-stream" };
  return (await json<{ version: number }>(`${path}?${query}`, { method: "POST", body, headers })).version;
}
