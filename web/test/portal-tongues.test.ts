import { mkdirSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { languages } from "../portal/tongues";
import { axe, launch, open, overflow } from "./browser";
import * as f from "./fixtures/fleet";
import { startMock } from "./server";

// Every page in every language, on the smallest phone: its words fit, the page
// says what language it is in, and axe-core has no objection, in light and in
// dark. And once from right to left. With SHOTS=folder each is kept as a picture.

const shots = process.env.SHOTS;
if (shots) mkdirSync(shots, { recursive: true });

const unit = "/my/units/WC-000010";
const pages = [
  "/my/",
  unit,
  `${unit}/history`,
  `${unit}/data`,
  `${unit}/people`,
  `${unit}/help`,
  "/my/notices",
  "/my/settings",
  "/my/account",
  "/my/more",
  "/my/sign-in",
];

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** Goes to a page as the browser's back and forward do, without loading it all anew. */
const walk = (page: Page, path: string) =>
  page.evaluate((to) => {
    document.querySelector("h1")?.setAttribute("data-left", "");
    history.pushState(null, "", to);
    dispatchEvent(new PopStateEvent("popstate"));
  }, path);

// Right to left is told to the page as a language written so would be.
test.concurrent.each([...languages, "rtl"])("%s", async (name) => {
  const [code, dir] = name === "rtl" ? ["en", "rtl"] : [name, "ltr"];
  const mock = await startMock();
  const { context, page, errors } = await open(browser, { viewport: { width: 320, height: 640 }, locale: code });
  try {
    await page.clock.setFixedTime(f.now);
    await page.addInitScript((l) => localStorage.setItem("fettle.language", l), code);
    await page.goto(mock.url + pages[0]);
    for (const [i, path] of pages.entries()) {
      await page.emulateMedia({ colorScheme: i % 2 ? "dark" : "light" });
      if (i > 0) await walk(page, path);
      await page.locator("h1:not([data-left])").waitFor();
      await page.waitForFunction(() => !document.querySelector(".loading"));
      expect(await page.evaluate(() => document.documentElement.lang)).toBe(code);
      if (i === 0) {
        expect(await page.evaluate(() => document.documentElement.dir)).toBe("ltr");
        await page.evaluate((d) => document.documentElement.setAttribute("dir", d), dir);
      }
      const where = `${name} ${path}`;
      if (shots) await page.screenshot({ path: `${shots}/${where.replaceAll(/\W+/g, "-")}.png`, fullPage: true });
      expect(await overflow(page), `${where}: wider than the window`).toBe(0);
      expect(await axe(page), where).toEqual([]);
      const levels = await page.$$eval("h1, h2, h3, h4", (all) => all.map((h) => Number(h.tagName.slice(1))));
      expect(
        levels.filter((l) => l === 1),
        where,
      ).toHaveLength(1);
      expect(
        levels.filter((l, at) => l > (levels[at - 1] ?? 0) + 1),
        `${where}: a heading leaves out a level`,
      ).toEqual([]);
    }
    expect(errors).toEqual([]);
  } finally {
    await context.close();
    await mock.close();
  }
});
