import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./browser";
import * as f from "./fixtures/fleet";
import { startMock } from "./server";

// The journeys by keyboard alone: where the focus goes, and that it is never lost.

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** Waits until the element in focus is called so, or holds these words. */
const focused = (page: Page, words: string) =>
  page.waitForFunction((w) => {
    const e = document.activeElement;
    return e && e !== document.body && (e.textContent || e.getAttribute("aria-label") || "").includes(w);
  }, words);

async function press(page: Page, name: string) {
  const button = page.getByRole("button", { name, exact: true });
  await button.focus();
  await page.keyboard.press("Enter");
}

test("an owner who decides by keyboard always knows where they are", async () => {
  const mock = await startMock();
  const { context, page, errors } = await open(browser, { viewport: { width: 390, height: 800 } });
  try {
    await page.clock.setFixedTime(f.now);
    mock.owner.signedIn = false;
    await page.goto(`${mock.url}/my/sign-in#abc`);
    await press(page, "Sign in");
    await page.waitForURL(`${mock.url}/my/`);
    await page.waitForFunction(() => document.activeElement?.matches("h1"));
    await page.goto(`${mock.url}/my/units/WC-000010`);
    await press(page, "Set a time");
    await page.waitForFunction(() => document.activeElement?.getAttribute("type") === "datetime-local");
    await press(page, "Back");
    await focused(page, "Set a time");
    await press(page, "I don’t want this update");
    await focused(page, "Back");
    await page.keyboard.press("Enter");
    await focused(page, "I don’t want this update");
    await press(page, "Not now");
    await focused(page, "Postponed");
    await press(page, "Start now");
    await focused(page, "About to start");
    expect(errors).toEqual([]);
  } finally {
    await context.close();
    await mock.close();
  }
});

test("an operator comes by keyboard from a finding to its cohort, and pauses a campaign", async () => {
  const mock = await startMock();
  const { context, page, errors } = await open(browser, { viewport: { width: 1440, height: 900 } });
  try {
    await page.clock.setFixedTime(f.now);
    mock.operator.signedIn = false;
    await page.goto(`${mock.url}/console/`);
    await page.getByLabel("E-mail address").fill("grace@example.org");
    await page.locator("input[name=password]").fill("four words nobody knows");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.matches("input[name=code]"));
    await page.keyboard.type("123456");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.matches("h1"));
    await focused(page, "Overview");
    await page.goto(`${mock.url}/console/campaigns/adapter-overheat-us`);
    await press(page, "Dry run");
    await page.getByText("would be offered").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await focused(page, "Dry run");
    await page.goto(`${mock.url}/console/findings/F-WC-000010`);
    await page.getByRole("link", { name: "Who else?" }).focus();
    await page.keyboard.press("Enter");
    // The link that leads there has the same words as the title.
    await page.waitForFunction(() => document.activeElement?.matches("h1"));
    await focused(page, "Who else?");
    await page.goto(`${mock.url}/console/campaigns/adapter-overheat`);
    await press(page, "Pause");
    await page.getByRole("dialog").getByLabel("Why").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await focused(page, "Pause");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").getByLabel("Why").fill("too many calls");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    expect(errors).toEqual([]);
  } finally {
    await context.close();
    await mock.close();
  }
});
