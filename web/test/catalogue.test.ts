import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import de from "../portal/i18n/de.json";
import en from "../portal/i18n/en.json";
import { fill } from "../portal/language";

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

describe("the catalogue", () => {
  const keys = Object.keys(en) as (keyof typeof en)[];

  test("has the same keys in every language", () => {
    expect(Object.keys(de)).toEqual(keys);
  });

  const holes = (text: string) => [...text.matchAll(/\{(\w+)/g)].map((m) => m[1]).sort();

  test("has the same holes in every language", () => {
    for (const key of keys) expect(holes(de[key]), key).toEqual(holes(en[key]));
  });

  test("holds nothing that is not used", () => {
    const code = sources.map((f) => readFileSync(join(portal, f), "utf8")).join("\n");
    const exact = new Set([...code.matchAll(/"([\w.]+)"/g)].map((m) => m[1]));
    // Keys made of a part that is computed, as condition.${c}.text.
    const patterns = [...code.matchAll(/`([\w.]*\$\{[^`]*)`/g)].map(
      (m) => new RegExp(`^${(m[1] ?? "").replaceAll(".", "\\.").replace(/\$\{[^}]*\}/g, ".*")}$`),
    );
    expect(keys.filter((k) => !exact.has(k) && !patterns.some((p) => p.test(k)))).toEqual([]);
  });
});

test("holes are filled by the language's own rules", () => {
  const text = "about {n, plural, one: # minute; other: # minutes}, {mb} MB for {who}";
  expect(fill(text, "en", { n: 1, mb: 1234.5, who: "Ola" })).toBe("about 1 minute, 1,234.5 MB for Ola");
  expect(fill(text, "en", { n: 45, mb: 2, who: "Ola" })).toBe("about 45 minutes, 2 MB for Ola");
  expect(fill(de["update.minutes"], "de", { n: 1 })).toBe("etwa 1 Minute");
});
