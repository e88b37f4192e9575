import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";
import { languages } from "./portal/tongues";

// The words that the widget says, out of the portal's catalogue: it carries
// these in every language, and no others.

const said =
  /^(app\.(unreachable|failed|loading)|condition\.\w+\.(title|text)|update\.(kind\.\w+|takes|minutes)|state\.(\w+\.title|progress)|choice\.(now|tonight|notNow|decline|back|decline\.(title|confirm)))$/;

export function widgetWords(): Plugin {
  const id = "\0virtual:words";
  return {
    name: "widget-words",
    resolveId: (name) => (name === "virtual:words" ? id : undefined),
    load(name) {
      if (name !== id) return undefined;
      const all = languages.map((l) => {
        const read = (area: string): Record<string, string> =>
          JSON.parse(readFileSync(join(import.meta.dirname, "portal/i18n", l, `${area}.json`), "utf8"));
        const words = Object.entries({ ...read("core"), ...read("unit") }).filter(([key]) => said.test(key));
        return [l, Object.fromEntries(words)];
      });
      return `export default ${JSON.stringify(Object.fromEntries(all))};`;
    },
  };
}
