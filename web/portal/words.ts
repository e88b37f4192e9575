import { languages } from "./tongues";

// The catalogue: i18n/<language>/<area>.json, fetched when it is spoken.

export { fill, formsOf, type Words } from "./fill";
export { languages, names } from "./tongues";

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
