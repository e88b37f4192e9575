// Fails when the portal's first page loads more than it may, in any language:
// the page itself, and every script, style, font and word it needs before a
// product is shown, each compressed as the server sends it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const limit = 120 * 1024;
const dist = join(import.meta.dirname, "..", "dist", "portal");
const manifest = JSON.parse(readFileSync(join(dist, "manifest.json"), "utf8"));

const entry = Object.keys(manifest).find((k) => manifest[k].isEntry);
if (!entry) throw new Error("the portal has no entry: is it built?");
// An owner of one product is led on to it at once; who is not signed in, to the door.
const pages = ["pages/HomePage.tsx", "pages/UnitPage.tsx", "pages/SignInPage.tsx"];
const areas = ["core", "unit", "signin"];

function filesOf(keys) {
  const seen = new Set();
  const files = new Set(["index.html"]);
  function take(key) {
    if (seen.has(key)) return;
    seen.add(key);
    const chunk = manifest[key];
    if (!chunk) throw new Error(`the build has no ${key}`);
    const css = key === entry ? [] : (chunk.css ?? []);
    for (const f of [chunk.file, ...css, ...(chunk.assets ?? [])]) files.add(f);
    for (const k of chunk.imports ?? []) take(k);
  }
  for (const k of keys) take(k);
  return files;
}

// Its own style is written into the page, and counted there.
const styled = /<style>/.test(readFileSync(join(dist, "index.html"), "utf8"));
if (!styled) throw new Error("the first page waits for its style");

const bytes = (file) => gzipSync(readFileSync(join(dist, file)), { level: 9 }).length;
const kilo = (n) => `${(n / 1024).toFixed(1).padStart(7)} KB`;
const languages = [...new Set(Object.keys(manifest).flatMap((k) => /^i18n\/(\w+)\//.exec(k)?.[1] ?? []))];
let over = false;
for (const language of languages) {
  const files = filesOf([entry, ...pages, ...areas.map((a) => `i18n/${language}/${a}.json`)]);
  let total = 0;
  for (const file of files) {
    const n = bytes(file);
    total += n;
    if (language === "en") console.log(`${kilo(n)}  ${file}`);
  }
  console.log(`${kilo(total)}  the portal's first page in ${language}, of ${limit / 1024} KB`);
  over ||= total > limit;
}
const widget = bytes("widget.js");
console.log(`${kilo(widget)}  the widget, of 20 KB`);
if (widget > 20 * 1024) {
  console.error("The widget is too heavy.");
  process.exit(1);
}
if (over) {
  console.error("The portal's first page is too heavy: load what it does not need at once later.");
  process.exit(1);
}
