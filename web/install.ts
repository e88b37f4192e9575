import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";
import { languages } from "./portal/tongues";

// What makes the portal an app: a manifest for each language, the icons, and
// the service worker's list of what the first page needs.

const read = (language: string, area: string): Record<string, string> =>
  JSON.parse(readFileSync(join(import.meta.dirname, "portal/i18n", language, `${area}.json`), "utf8"));

const icons = [
  { src: "/my/icons/icon-192.png", sizes: "192x192", type: "image/png", purpose: "any" },
  { src: "/my/icons/icon-512.png", sizes: "512x512", type: "image/png", purpose: "any" },
  { src: "/my/icons/maskable-512.png", sizes: "512x512", type: "image/png", purpose: "maskable" },
];

/** The web app manifest (W3C) in a language. */
export function manifestIn(language: string) {
  const core = read(language, "core");
  const shortcut = (key: string, url: string) => ({ name: core[key], url, icons: icons.slice(0, 1) });
  return {
    id: "/my/",
    lang: language,
    dir: "auto",
    name: core["install.name"],
    short_name: core["app.name"],
    description: core["install.description"],
    start_url: "/my/",
    scope: "/my/",
    display: "standalone",
    background_color: "#f6f3ec",
    theme_color: "#0f5d56",
    categories: ["utilities", "lifestyle"],
    icons,
    shortcuts: [shortcut("nav.home", "/my/"), shortcut("nav.notices", "/my/notices")],
  };
}

/**
 * Writes the first page's style into the page itself: its head is drawn with
 * the first bytes, and waits for no second answer of a slow network.
 */
export function styledAtOnce(): Plugin {
  return {
    name: "styled-at-once",
    apply: "build",
    enforce: "post",
    transformIndexHtml: {
      order: "post",
      handler: (html, { bundle }) =>
        html.replace(/<link rel="stylesheet"[^>]* href="\/my\/([^"]+)">/g, (_, name) => {
          const style = bundle?.[name];
          if (style?.type !== "asset") throw new Error(`the build has no ${name}`);
          return `<style>${String(style.source).trim()}</style>`;
        }),
    },
  };
}

/** Emits them into the portal's build. */
export function installable(): Plugin {
  return {
    name: "installable",
    apply: "build",
    generateBundle(_options, bundle) {
      for (const l of languages)
        this.emitFile({
          type: "asset",
          fileName: `manifest.${l}.webmanifest`,
          source: JSON.stringify(manifestIn(l)),
        });
      for (const name of ["icon-192.png", "icon-512.png", "maskable-512.png", "apple-180.png"])
        this.emitFile({
          type: "asset",
          fileName: `icons/${name}`,
          source: readFileSync(join(import.meta.dirname, "portal/icons", name)),
        });
      const worker = bundle["sw.js"];
      if (worker?.type !== "chunk") throw new Error("the portal was built without its service worker");
      // The worker changes with any part of the build: that is what makes a browser fetch it anew.
      const names = Object.keys(bundle).filter((f) => f !== "sw.js");
      const build = createHash("sha256").update(names.sort().join("\n")).digest("hex").slice(0, 12);
      if (!worker.code.includes("__BUILD__")) throw new Error("the service worker does not name its build");
      worker.code = worker.code.replaceAll("__BUILD__", build);
    },
  };
}
