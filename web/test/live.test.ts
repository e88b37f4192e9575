import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { axe, launch, open, overflow } from "./browser";

// The same pages on a real server: FETTLE_URL, with FETTLE_OPERATOR_LINK and
// FETTLE_OWNER_LINK, the one-time links as they are mailed. Without the
// address there is nothing to look at, and nothing is run.

const url = process.env.FETTLE_URL ?? "";
const operatorLink = process.env.FETTLE_OPERATOR_LINK ?? "";
const ownerLink = process.env.FETTLE_OWNER_LINK ?? "";

let browser: Browser;
beforeAll(async () => {
  if (url) browser = await launch();
});
afterAll(() => browser?.close());

async function inOrder(page: Page, where: string): Promise<void> {
  await page.waitForFunction(() => !document.querySelector(".mantine-Skeleton-root, .loading"));
  expect(await page.getByRole("alert").allTextContents(), where).toEqual([]);
  expect(await overflow(page), `${where}: wider than the window`).toBe(0);
  expect(await axe(page), where).toEqual([]);
}

describe.runIf(url && operatorLink)("the console", () => {
  test("shows every list and the first of each", async () => {
    const { page, errors, context } = await open(browser, { viewport: { width: 1440, height: 900 } });
    await page.goto(operatorLink);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    await inOrder(page, "overview");
    for (const list of [
      "units",
      "findings",
      "cohorts",
      "campaigns",
      "products",
      "detectors",
      "claims",
      "notifications",
      "tokens",
    ]) {
      await page.goto(`${url}/console/${list}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await inOrder(page, list);
      const first = page.locator(`main a[href^="/console/${list}/"]:not([href$="/new"])`).first();
      if ((await first.count()) === 0) continue;
      const before = await page.getByRole("heading", { level: 1 }).textContent();
      await first.click();
      await page.waitForFunction(
        (was) => ![was, undefined].includes(document.querySelector("h1")?.textContent),
        before,
      );
      await inOrder(page, page.url());
    }
    expect(errors).toEqual([]);
    await context.close();
  });
});

describe.runIf(url && ownerLink)("the portal", () => {
  test("shows the owner's product", async () => {
    const { page, errors, context } = await open(browser, { viewport: { width: 390, height: 844 } });
    await page.goto(ownerLink);
    await page.getByRole("main").getByRole("button").click();
    await page.waitForURL((u) => !u.pathname.includes("sign-in"));
    await page.getByRole("heading", { level: 1 }).waitFor();
    await inOrder(page, "portal");
    await page.getByRole("link", { name: "My data" }).click();
    await page.getByRole("switch").first().waitFor();
    await inOrder(page, page.url());
    expect(errors).toEqual([]);
    await context.close();
  });
});
