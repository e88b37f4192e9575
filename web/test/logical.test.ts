import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

// The portal is laid out by the way its language is written: its styles say
// start and end, never left and right.

const root = join(import.meta.dirname, "..");
const physical =
  /(?:^|[;{\s])((?:left|right|top|bottom|(?:margin|padding|border)-(?:left|right|top|bottom)[\w-]*|border-(?:top|bottom)-(?:left|right)-radius)\s*:|(?:text-align|float|clear)\s*:\s*(?:left|right))/g;

function found(css: string): string[] {
  return [...css.replace(/\/\*[\s\S]*?\*\//g, "").matchAll(physical)].map((m) => m[1] ?? "");
}

const files = [
  "theme/tokens.css",
  ...readdirSync(join(root, "portal"), { recursive: true, encoding: "utf8" })
    .filter((f) => f.endsWith(".css"))
    .map((f) => `portal/${f}`),
];

test.each(files)("%s knows no left and right", (name) => {
  expect(found(readFileSync(join(root, name), "utf8"))).toEqual([]);
});

test("left and right would be noticed", () => {
  expect(
    found("a { margin-left: 1px; left: 0; text-align:right }\n.b{border-top-left-radius: 2px;float: left}"),
  ).toEqual(["margin-left:", "left:", "text-align:right", "border-top-left-radius:", "float: left"]);
  expect(found("a { margin-inline-start: 1px; text-align: start; border-block-end: 0; --left: 3px }")).toEqual([]);
});
