import { createContext, type ReactNode, use, useContext, useEffect, useMemo, useState } from "react";
import type { Area, Key } from "./areas";
import { fill, languages, speak, speaks, spoken, type Words, wordsFor } from "./words";

export type { Key } from "./areas";
export { fill, languages, names, type Words } from "./words";

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
const wanted = new Set<Area>(["core"]);

function chosen(): string | null {
  const code = localStorage.getItem(remembered);
  return code && languages.includes(code) ? code : null;
}

/** The language to begin with: chosen on this device, else the first that the browser asks for. */
export function firstLanguage(): string {
  return chosen() ?? spoken(navigator.languages);
}

/** The way a language is written, where the browser knows it. */
function directionOf(code: string): string {
  const locale = new Intl.Locale(code) as Intl.Locale & {
    getTextInfo?: () => { direction: string };
    textInfo?: { direction: string };
  };
  return (locale.getTextInfo?.() ?? locale.textInfo)?.direction ?? "ltr";
}

/** Needs the words of core to be here: see main.tsx. */
export function LanguageProvider({ first, children }: { first: string; children: ReactNode }) {
  const [code, setCode] = useState(first);

  useEffect(() => {
    document.documentElement.lang = code;
    document.documentElement.dir = directionOf(code);
    // Installed from here, the app is called as the page is.
    document
      .querySelector<HTMLLinkElement>("link[rel=manifest]")
      ?.setAttribute("href", `/my/manifest.${code}.webmanifest`);
  }, [code]);

  const language = useMemo<Language>(() => {
    const locale = navigator.languages.find((l) => l.toLowerCase().startsWith(`${code}-`)) ?? code;
    // The page stays as it is until the other language is here, or for good if it cannot be had.
    const change = (next: string) =>
      speak(next, [...wanted]).then(
        () => {
          // At once: what the page asks the server next, it asks in this language.
          document.documentElement.lang = next;
          setCode(next);
        },
        () => {},
      );
    return {
      code,
      locale,
      t: (key, words) => fill(wordsFor(code, key), locale, words),
      choose: (next) => {
        localStorage.setItem(remembered, next);
        change(next);
      },
      suggest: (next) => {
        if (!chosen() && next && spoken([next]) !== code) change(spoken([next]));
      },
    };
  }, [code]);

  return <Context value={language}>{children}</Context>;
}

export function useLanguage(): Language {
  const language = useContext(Context);
  if (!language) throw new Error("no LanguageProvider above");
  return language;
}

/** Suspends until the words of these areas are here in the language that is spoken. */
export function useAreas(areas: readonly Area[]): void {
  const { code } = useLanguage();
  for (const a of areas) wanted.add(a);
  if (!speaks(code, areas)) use(speak(code, areas));
}
