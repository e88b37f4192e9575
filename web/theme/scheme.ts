import { useState } from "react";

/** Light, dark, or as the device is set. */
export type Scheme = "light" | "dark" | "auto";

const remembered = "fettle.scheme";

export function applyScheme(scheme: Scheme): void {
  document.documentElement.style.colorScheme = scheme === "auto" ? "" : scheme;
}

export function rememberedScheme(): Scheme {
  const s = localStorage.getItem(remembered);
  return s === "light" || s === "dark" ? s : "auto";
}

export function useScheme(): [Scheme, (next: Scheme) => void] {
  const [scheme, set] = useState(rememberedScheme);
  return [
    scheme,
    (next) => {
      if (next === "auto") localStorage.removeItem(remembered);
      else localStorage.setItem(remembered, next);
      applyScheme(next);
      set(next);
    },
  ];
}
