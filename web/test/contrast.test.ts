import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const css = readFileSync(join(import.meta.dirname, "../theme/tokens.css"), "utf8");

function token(name: string, dark: boolean): string {
  const found = new RegExp(`--${name}: light-dark\\((#[0-9a-f]{6})[0-9a-f]{0,2}, (#[0-9a-f]{6})`).exec(css);
  const colour = found?.[dark ? 2 : 1];
  if (!colour) throw new Error(`no token --${name}`);
  return colour;
}

function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5]
    .map((i) => Number.parseInt(hex.slice(i, i + 2), 16) / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [low = 0, high = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

const grounds = ["paper", "sheet", "well"];
const states = ["normal", "degraded", "failed", "silent", "unknown"];

// What is written in which ink on which ground: WCAG 2.2 AA asks for 4.5.
const text: [string, string][] = [
  ...grounds.flatMap((g): [string, string][] => [
    ["ink", g],
    ["ink-soft", g],
    ["accent", g],
    ["danger", g],
  ]),
  ["accent", "accent-wash"],
  ["accent-ink", "accent"],
  ["accent-ink", "accent-hover"],
  ["accent-hover", "sheet"],
  ["danger-ink", "danger"],
  ...states.flatMap((s): [string, string][] => [
    [s, `${s}-wash`],
    [s, "sheet"],
  ]),
];

// What is drawn, and must be told from its ground: 3.
const drawn: [string, string][] = [
  ...grounds.map((g): [string, string] => ["line-strong", g]),
  ...["plot-1", "plot-2", "plot-3", "plot-4"].map((p): [string, string] => [p, "sheet"]),
];

describe.each([
  ["light", false],
  ["dark", true],
] as const)("%s", (_, dark) => {
  test.each(text)("%s is readable on %s", (ink, ground) => {
    expect(contrast(token(ink, dark), token(ground, dark))).toBeGreaterThanOrEqual(4.5);
  });
  test.each(drawn)("%s is seen on %s", (ink, ground) => {
    expect(contrast(token(ink, dark), token(ground, dark))).toBeGreaterThanOrEqual(3);
  });
});
