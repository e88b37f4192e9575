import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { expect } from "vitest";

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** A page whose errors are collected: a test ends by expecting none. */
export async function open(browser: Browser, options: Parameters<Browser["newContext"]>[0] = {}) {
  const context: BrowserContext = await browser.newContext({ reducedMotion: "reduce", ...options });
  // The machine may do much else.
  context.setDefaultTimeout(150_000);
  const page: Page = await context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (e) => errors.push(e.message));
  page.on("console", (m) => {
    // A refusal is logged by the browser itself; tests of refusals look at the page.
    // The clock of tests is a script, which a frame that runs none refuses as it should.
    const ours = /^Failed to load resource|^Blocked script execution in 'about:srcdoc'/.test(m.text());
    if (m.type() === "error" && !ours) errors.push(m.text());
  });
  return { context, page, errors };
}

type Violation = { id: string; help: string; nodes: { target: string[]; failureSummary: string }[] };

/** What axe-core finds wrong on the page, one line each. */
export async function axe(page: Page): Promise<string[]> {
  if (!(await page.evaluate('"axe" in window'))) await page.evaluate(axeSource);
  const violations = await page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run: (o: object) => Promise<{ violations: unknown[] }> } };
    return (await axe.run({ resultTypes: ["violations"], preload: false })).violations;
  });
  return (violations as Violation[]).flatMap((v) =>
    v.nodes.map(
      (n) =>
        `${v.id} (${v.help}) at ${n.target.join(" ")}: ${n.failureSummary.split("\n").slice(1).join(" ").slice(0, 200)}`,
    ),
  );
}

/** Waits until the portal's worker is there and has kept what the page loaded. */
export async function kept(page: Page): Promise<void> {
  // Not page.waitForFunction: it takes the promise of an answer for a yes.
  const missing = () =>
    page.evaluate(async () => {
      if (!(await navigator.serviceWorker.ready).active) return ["the worker"];
      const loaded = performance.getEntriesByType("resource").filter((r) => r.name.includes("/my/assets/"));
      const held = await Promise.all(loaded.map((r) => caches.match(r.name)));
      return loaded.length > 3 ? loaded.flatMap((r, i) => (held[i] ? [] : [r.name])) : ["what it loads"];
    });
  await expect.poll(missing).toEqual([]);
}

/** By how many pixels the page is wider than its window. */
export function overflow(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}
