import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import en from "./i18n/en.json";

export type Key = keyof typeof en;
export type Catalogue = Record<Key, string>;
export type Words = Record<string, string | number>;

// English is part of the first page; the others are fetched when they are spoken.
const others: Record<string, () => Promise<{ default: Catalogue }>> = {
  de: () => import("./i18n/de.json"),
};

export const languages = ["en", ...Object.keys(others)] as const;

/**
 * Fills {name} with words, and {n, plural, one: …; other: …} by the language's
 * own plural rule.
 */
export function fill(text: string, locale: string, words: Words = {}): string {
  return text
    .replace(/\{(\w+), plural, one: ([^;}]*); other: ([^}]*)\}/g, (_, name, one, other) => {
      const n = Number(words[name]);
      const form = new Intl.PluralRules(locale).select(n) === "one" ? one : other;
      return form.replace("#", n.toLocaleString(locale));
    })
    .replace(/\{(\w+)\}/g, (whole, name) => {
      const word = words[name];
      if (word === undefined) return whole;
      return typeof word === "number" ? word.toLocaleString(locale) : word;
    });
}

export type Language = {
  code: string;
  /** The locale for numbers and dates: the language, with the browser's region if it is of that language. */
  locale: string;
  t: (key: Key, words?: Words) => string;
  choose: (code: string) => void;
  /** The owner's own language, once it is known; a choice made on this device goes before it. */
  suggest: (locale: string) => void;
};

const Context = createContext<Language | null>(null);
const remembered = "fettle.language";

function spoken(candidates: readonly string[]): string {
  for (const c of candidates) {
    const code = c.toLowerCase().split("-")[0] ?? "";
    if (languages.includes(code)) return code;
  }
  return "en";
}

export function LanguageProvider({ children }: { children: ReactNode }) {
  const [code, setCode] = useState(() => localStorage.getItem(remembered) ?? spoken(navigator.languages));
  const [catalogue, setCatalogue] = useState<Catalogue | null>(code === "en" ? en : null);

  useEffect(() => {
    let stale = false;
    const load = others[code];
    if (load)
      load().then(
        (m) => stale || setCatalogue(m.default),
        () => stale || setCatalogue(en),
      );
    else setCatalogue(en);
    document.documentElement.lang = code;
    return () => {
      stale = true;
    };
  }, [code]);

  const language = useMemo<Language | null>(() => {
    if (!catalogue) return null;
    const locale = navigator.languages.find((l) => l.toLowerCase().startsWith(`${code}-`)) ?? code;
    return {
      code,
      locale,
      t: (key, words) => fill(catalogue[key], locale, words),
      choose: (next) => {
        localStorage.setItem(remembered, next);
        setCode(next);
      },
      suggest: (next) => {
        if (!localStorage.getItem(remembered) && next) setCode(spoken([next]));
      },
    };
  }, [catalogue, code]);

  if (!language) return null;
  return <Context value={language}>{children}</Context>;
}

export function useLanguage(): Language {
  const language = useContext(Context);
  if (!language) throw new Error("no LanguageProvider above");
  return language;
}
