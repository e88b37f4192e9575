import { type AnchorHTMLAttributes, type MouseEvent, useSyncExternalStore } from "react";
import { type PageName, type Route, routes } from "./routes";

// A router would be a quarter of the portal's weight, so the address bar is
// read directly, by the table in routes.ts.

export type Page = { name: PageName; id?: string; part?: string };
export type At = Page | { name: "missing" };

const base = "/my/";
const table = Object.entries(routes) as [PageName, Route][];
const changed = new Set<() => void>();

export function pageAt(path: string): At {
  const asked = path.startsWith(base) ? path.slice(base.length).replace(/\/$/, "").split("/") : [""];
  for (const [name, route] of table) {
    const parts = route.path.split("/");
    if (parts.length !== asked.length) continue;
    const page: Page = { name };
    const fits = parts.every((part, i) => {
      const got = asked[i] ?? "";
      if (part !== ":id" && part !== ":part") return part === got;
      try {
        page[part === ":id" ? "id" : "part"] = decodeURIComponent(got);
      } catch {
        return false;
      }
      return got !== "";
    });
    if (fits) return page;
  }
  return { name: "missing" };
}

export function pathOf(page: Page): string {
  const parts = routes[page.name].path.split("/").map((part) => {
    if (part === ":id") return encodeURIComponent(page.id ?? "");
    return part === ":part" ? encodeURIComponent(page.part ?? "") : part;
  });
  return base + parts.join("/");
}

let arrived = false;

/** Whether a page was just gone to, asked by its heading, which then takes the focus. */
export function arrival(): boolean {
  const was = arrived;
  arrived = false;
  return was;
}

function tell(): void {
  for (const each of changed) each();
}

export function go(page: Page, replace = false): void {
  history[replace ? "replaceState" : "pushState"](null, "", pathOf(page));
  arrived = true;
  tell();
  window.scrollTo(0, 0);
}

function back(): void {
  arrived = true;
  tell();
}

function listen(each: () => void): () => void {
  if (changed.size === 0) window.addEventListener("popstate", back);
  changed.add(each);
  return () => {
    changed.delete(each);
    if (changed.size === 0) window.removeEventListener("popstate", back);
  };
}

export function usePage(): At {
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
