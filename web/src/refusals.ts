/** What the server refuses, in the language of the page: the sentences that its users meet, and the others as they are. */

import known from "./refusals.json";
import { say, spoken } from "./words";

const FRENCH = (known as [string, string][]).map(([said, french]) => [new RegExp(said), french] as const);

export function inWords(text: string): string {
  if (spoken() === "en") return text;
  for (const [said, french] of FRENCH) {
    const found = said.exec(text);
    if (found !== null) return french.replace(/\{(\d)\}/g, (_, n: string) => figures(found[Number(n)] ?? ""));
  }
  return say("The server says, in English: {text}", { text });
}

const OF_SERIES: readonly (readonly [RegExp, string])[] = [
  [/^axial,/, "axiale,"],
  [/^coronal,/, "coronale,"],
  [/^sagittal,/, "sagittale,"],
  [/ images of /, " images de "],
  [/ at ([\d.]+) mm/, " à $1 mm"],
  [/series number /, "série numéro "],
];

/** One of several series, as the server describes it. */
export function seriesInWords(text: string): string {
  return spoken() === "en" ? text : figures(OF_SERIES.reduce((told, [said, french]) => told.replace(said, french), text));
}

/** A quantity as French has it. */
function figures(said: string): string {
  return said.replace(/(\d)\.(\d)/g, "$1,$2").replace(/\b([GM])B\b/g, "$1o");
}
