import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { fill, formsOf, languages } from "../portal/words";

// All words of the portal come from its catalogue, in every language.

const portal = join(import.meta.dirname, "../portal");
const sources = readdirSync(portal, { recursive: true, encoding: "utf8" }).filter((f) => /\.tsx?$/.test(f));
const spoken = new Set(["aria-label", "aria-description", "title", "alt", "placeholder", "label"]);

/** Words that stand in the code itself, where a person would read or hear them. */
function literals(name: string, code: string): string[] {
  const found: string[] = [];
  const file = ts.createSourceFile(name, code, ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX);
  const hasWords = (text: string) => /\p{L}/u.test(text);
  function inExpression(e: ts.Expression): void {
    if (ts.isStringLiteralLike(e) && hasWords(e.text)) found.push(e.text);
    else if (
      ts.isTemplateExpression(e) &&
      [e.head, ...e.templateSpans.map((s) => s.literal)].some((l) => hasWords(l.text))
    )
      found.push(e.getText());
    else if (ts.isConditionalExpression(e)) {
      inExpression(e.whenTrue);
      inExpression(e.whenFalse);
    } else if (ts.isBinaryExpression(e)) inExpression(e.right);
    else if (ts.isParenthesizedExpression(e)) inExpression(e.expression);
  }
  function visit(node: ts.Node): void {
    if (ts.isJsxText(node) && hasWords(node.text)) found.push(node.text.trim());
    if (ts.isJsxExpression(node) && node.expression && !ts.isJsxAttribute(node.parent)) inExpression(node.expression);
    if (ts.isJsxAttribute(node) && spoken.has(node.name.getText()) && node.initializer) {
      if (ts.isStringLiteral(node.initializer)) found.push(node.initializer.text);
      else if (ts.isJsxExpression(node.initializer) && node.initializer.expression)
        inExpression(node.initializer.expression);
    }
    ts.forEachChild(node, visit);
  }
  visit(file);
  return found;
}

describe("the portal's code", () => {
  test.each(sources)("%s holds no words of its own", (name) => {
    expect(literals(name, readFileSync(join(portal, name), "utf8"))).toEqual([]);
  });

  test("words in code would be noticed", () => {
    const code = `const a = <p title="Hello" aria-label={b ? "one" : t("x")}>Some words {c && "more"} {\`n \${d}\`}</p>;`;
    expect(literals("a.tsx", code)).toEqual(["Hello", "one", "Some words", "more", `\`n $\{d}\``]);
  });
});

type Catalogue = Record<string, string>;

const i18n = join(portal, "i18n");
const read = (language: string, file: string): Catalogue =>
  JSON.parse(readFileSync(join(i18n, language, file), "utf8"));
const areas = readdirSync(join(i18n, "en"));

/** The names in braces, and for each plural the forms that are given. */
function holes(text: string): string[] {
  return [...text.matchAll(/\{(\w+)/g)].map((m) => m[1] ?? "").sort();
}

function plurals(text: string): string[][] {
  return [...text.matchAll(/\{\w+, plural, ([^}]*)\}/g)].map((m) => Object.keys(formsOf(m[1] ?? "")).sort());
}

describe("the catalogue", () => {
  test("has the same areas in every language, and no other language", () => {
    expect(readdirSync(i18n).sort()).toEqual([...languages].sort());
    for (const l of languages) expect(readdirSync(join(i18n, l)), l).toEqual(areas);
  });

  test("gives each key one area", () => {
    const keys = areas.flatMap((a) => Object.keys(read("en", a)));
    expect(keys.filter((k, i) => keys.indexOf(k) !== i)).toEqual([]);
  });

  describe.each(languages)("in %s", (language) => {
    test.each(areas)("%s has every key, hole and plural form, and nothing empty or left in English", (area) => {
      const en = read("en", area);
      const words = read(language, area);
      expect(Object.keys(words).sort()).toEqual(Object.keys(en).sort());
      const forms = [...new Intl.PluralRules(language).resolvedOptions().pluralCategories].sort();
      for (const [key, text] of Object.entries(en)) {
        const said = words[key] ?? "";
        expect(said.trim(), key).not.toBe("");
        expect(holes(said), key).toEqual(holes(text));
        expect(plurals(said), key).toEqual(plurals(text).map(() => forms));
        // A sentence is never the same in two of these languages.
        if (language !== "en" && text.split(" ").length > 3) expect(said, key).not.toBe(text);
      }
    });
  });

  test("holds nothing that is not used", () => {
    const code = [...sources, "../install.ts"].map((f) => readFileSync(join(portal, f), "utf8")).join("\n");
    const exact = new Set([...code.matchAll(/"([\w.]+)"/g)].map((m) => m[1]));
    // Keys made of a part that is computed, as condition.${c}.text.
    const patterns = [...code.matchAll(/`([\w.]*\$\{[^`]*)`/g)].map(
      (m) => new RegExp(`^${(m[1] ?? "").replaceAll(".", "\\.").replace(/\$\{[^}]*\}/g, ".*")}$`),
    );
    const keys = areas.flatMap((a) => Object.keys(read("en", a)));
    expect(keys.filter((k) => !exact.has(k) && !patterns.some((p) => p.test(k)))).toEqual([]);
  });
});

test("holes are filled by the language's own rules", () => {
  const text = "about {n, plural, one: # minute; other: # minutes}, {mb} MB for {who}";
  expect(fill(text, "en", { n: 1, mb: 1234.5, who: "Ola" })).toBe("about 1 minute, 1,234.5 MB for Ola");
  expect(fill(text, "en", { n: 45, mb: 2, who: "Ola" })).toBe("about 45 minutes, 2 MB for Ola");
  // French counts 0 and 1.5 as one, and millions by a form of their own.
  const days = "{n, plural, one: # jour; many: # de jours; other: # jours}";
  expect([0, 1.5, 2, 2_000_000].map((n) => fill(days, "fr", { n }))).toEqual([
    "0 jour",
    "1,5 jour",
    "2 jours",
    "2\u202f000\u202f000 de jours",
  ]);
});
