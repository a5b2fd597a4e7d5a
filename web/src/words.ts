/** What the page says. The English text is its own key; the French is in the catalogue of the package. */

import french from "./french.json";

export type Language = "en" | "fr";

const TEXTS: Record<string, string> = french.texts;
const NAMES: Record<string, string> = french.names;

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
export function later(text: string): string {
  return text;
}

/** What a structure is called, as far as it has a French name. */
export function titled(name: string): string {
  return (language === "fr" ? NAMES[name] : undefined) ?? name.replaceAll("_", " ");
}

/** A number as it is written in the language. */
export function number(value: number, digits: number): string {
  return value.toLocaleString(language === "fr" ? "fr-FR" : "en-GB", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}
