// Fails when the portal's first page loads more than it may: the page itself,
// and every script, style and font it needs before a product is shown, each
// compressed as the server sends it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const limit = 120 * 1024;
const dist = join(import.meta.dirname, "..", "dist", "portal");
const manifest = JSON.parse(readFileSync(join(dist, "manifest.json"), "utf8"));

const needed = new Set(["index.html"]);
function take(key) {
  const chunk = manifest[key];
  for (const f of [chunk.file, ...(chunk.css ?? []), ...(chunk.assets ?? [])]) needed.add(f);
  for (const k of chunk.imports ?? []) take(k);
}

const entry = Object.keys(manifest).find((k) => manifest[k].isEntry);
if (!entry) throw new Error("the portal has no entry: is it built?");
take(entry);
// An owner of one product is led on to it at once, so its chunk counts; a
// second language is fetched instead of read from the first, so the largest counts too.
const lazy = (manifest[entry].dynamicImports ?? []).filter((k) => k.includes("pages/"));
for (const k of lazy) take(k);
const languages = (manifest[entry].dynamicImports ?? []).filter((k) => k.includes("i18n/"));
const bytes = (file) => gzipSync(readFileSync(join(dist, file)), { level: 9 }).length;
const largest = languages.map((k) => manifest[k].file).sort((a, b) => bytes(b) - bytes(a))[0];
if (largest) needed.add(largest);

let total = 0;
for (const file of needed) {
  const n = bytes(file);
  total += n;
  console.log(`${(n / 1024).toFixed(1).padStart(7)} KB  ${file}`);
}
console.log(`${(total / 1024).toFixed(1).padStart(7)} KB  the portal's first page, of ${limit / 1024} KB`);
if (total > limit) {
  console.error("The portal's first page is too heavy: load what it does not need at once later.");
  process.exit(1);
}
