import { type AnchorHTMLAttributes, type MouseEvent, useSyncExternalStore } from "react";

// The portal has few pages. A router would be a quarter of its weight, so the
// address bar is read directly.

export type Page =
  | { name: "home" }
  | { name: "sign-in" }
  | { name: "unit"; id: string }
  | { name: "settings" }
  | { name: "missing" };

const base = "/my/";
const changed = new Set<() => void>();

export function pageAt(path: string): Page {
  const rest = path.startsWith(base) ? path.slice(base.length).replace(/\/$/, "") : "";
  if (rest === "") return { name: "home" };
  if (rest === "sign-in") return { name: "sign-in" };
  if (rest === "settings") return { name: "settings" };
  const unit = /^units\/([^/]+)$/.exec(rest);
  if (unit?.[1]) return { name: "unit", id: decodeURIComponent(unit[1]) };
  return { name: "missing" };
}

export function pathOf(page: Page): string {
  switch (page.name) {
    case "unit":
      return `${base}units/${encodeURIComponent(page.id)}`;
    case "sign-in":
    case "settings":
      return base + page.name;
    default:
      return base;
  }
}

export function go(page: Page, replace = false): void {
  history[replace ? "replaceState" : "pushState"](null, "", pathOf(page));
  for (const tell of changed) tell();
  window.scrollTo(0, 0);
}

function listen(tell: () => void): () => void {
  changed.add(tell);
  window.addEventListener("popstate", tell);
  return () => {
    changed.delete(tell);
    window.removeEventListener("popstate", tell);
  };
}

export function usePage(): Page {
  return pageAt(useSyncExternalStore(listen, () => location.pathname));
}

type LinkProps = AnchorHTMLAttributes<HTMLAnchorElement> & { to: Page };

export function Link({ to, ...rest }: LinkProps) {
  function follow(e: MouseEvent) {
    if (e.metaKey || e.ctrlKey || e.shiftKey || e.button !== 0) return;
    e.preventDefault();
    go(to);
  }
  return <a {...rest} href={pathOf(to)} onClick={follow} />;
}
