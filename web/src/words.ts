/** What the page says. The English text is its own key; the French is in the catalogue of the package. */

import french from "./french.json";

export type Language = "en" | "fr";

const TEXTS: Record<string, string> = french.texts;
const NAMES: Record<string, string> = french.names;

/** Letters of the patient's sides; in French those of droite, gauche, antérieur, postérieur, supérieur, inférieur. */
export const SIDES = [later("R"), later("L"), later("A"), later("P"), later("S"), later("I")] as const;
export type Side = (typeof SIDES)[number];

let language: Language = "en";

export function speak(chosen: Language): void {
  language = chosen;
  document.documentElement.lang = chosen;
}

export function spoken(): Language {
  return language;
}

export function say(text: string, values: Record<string, string | number> = {}): string {
  const said = language === "fr" ? (TEXTS[text] ?? text) : text;
  return said.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

/** The text itself, which is handed to `say` elsewhere: the mark by which the catalogue finds it. */
export function later<T extends string>(text: T): T {
  return text;
}

/** What a structure is called, as far as it has a French name. */
export function titled(name: string): string {
  return (language === "fr" ? NAMES[name] : undefined) ?? name.replaceAll("_", " ");
}

/** A number as it is written in the language. */
export function number(value: number, digits: number): string {
  return value.toLocaleString(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A volume in ml: to three significant digits, and from 100 ml whole, as the terminal writes it. */
export function volume(ml: number): string {
  const digits = ml < 100 ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: 0 };
  return ml.toLocaleString(locale(), { ...digits, roundingMode: "halfEven" });
}

/** A position on an axis of the patient, by the letter of the side on which it lies. */
export function sided(mm: number, positive: Side, negative: Side): string {
  return `${say(mm < 0 ? negative : positive)} ${number(Math.abs(mm), 1)}`;
}

function locale(): string {
  return language === "fr" ? "fr-FR" : "en-GB";
}
