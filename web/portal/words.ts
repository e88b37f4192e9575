import { languages } from "./tongues";

// The catalogue: i18n/<language>/<area>.json, fetched when it is spoken.

export { languages, names } from "./tongues";

export type Words = Record<string, string | number>;

/**
 * Fills {name} with words, and {n, plural, one: …; other: …} with the form that
 * the language's own rule asks for (CLDR, by Intl.PluralRules); # is the number.
 */
export function fill(text: string, locale: string, words: Words = {}): string {
  return text
    .replace(/\{(\w+), plural, ([^}]*)\}/g, (_, name, all) => {
      const n = Number(words[name]);
      const forms = formsOf(all);
      const form = forms[new Intl.PluralRules(locale).select(n)] ?? forms.other ?? "";
      return form.replace("#", n.toLocaleString(locale));
    })
    .replace(/\{(\w+)\}/g, (whole, name) => {
      const word = words[name];
      if (word === undefined) return whole;
      return typeof word === "number" ? word.toLocaleString(locale) : word;
    });
}

/** The forms of a plural: "one: # day; other: # days". */
export function formsOf(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split(";").map((form) => {
      const colon = form.indexOf(":");
      return [form.slice(0, colon).trim(), form.slice(colon + 1).trim()];
    }),
  );
}

/** The first of the candidates, in order of liking, that the portal speaks; else English. */
export function spoken(candidates: readonly string[]): string {
  for (const c of candidates) {
    const code = c.toLowerCase().split("-")[0] ?? "";
    if (languages.includes(code)) return code;
  }
  return "en";
}

const files = import.meta.glob<Record<string, string>>("./i18n/*/*.json", { import: "default" });
const said: Record<string, Record<string, string>> = {};
const fetched = new Map<string, Promise<void>>();
const here = new Set<string>();

/** Whether the words of these areas are here. */
export function speaks(code: string, areas: readonly string[]): boolean {
  return areas.every((a) => here.has(`${code}/${a}`));
}

/** Fetches areas of a language: once, and again after a failure. */
export function speak(code: string, areas: readonly string[]): Promise<void> {
  const key = `${code}/${areas.join()}`;
  const known = fetched.get(key);
  if (known) return known;
  const all = Promise.all(
    areas.map(async (area) => {
      const words = await files[`./i18n/${code}/${area}.json`]?.();
      if (!words) throw new Error(`no words for ${code}/${area}`);
      said[code] = { ...said[code], ...words };
      here.add(`${code}/${area}`);
    }),
  ).then(() => {});
  fetched.set(key, all);
  all.catch(() => fetched.delete(key));
  return all;
}

/** What is said for a key. A key without words is an area that its page forgot to name in routes.ts. */
export function wordsFor(code: string, key: string): string {
  return said[code]?.[key] ?? key;
}
