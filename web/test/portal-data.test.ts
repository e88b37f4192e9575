import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launch, open } from "./browser";
import { startMock } from "./server";

// An owner's journeys over their data: what a click does, and that the way back
// is as short as the way there.

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

async function visit() {
  const mock = await startMock();
  const { page } = await open(browser, { locale: "en", timezoneId: "Europe/Oslo" });
  await page.goto(`${mock.url}/my/units/WC-000010/data`);
  return { mock, page };
}

test.concurrent("giving and withdrawing are one click each, of the same switch, in the same place", async ({
  expect,
}) => {
  const { mock, page } = await visit();
  const care = page.getByRole("switch", { name: "Looking after your charger" });
  const on = await care.boundingBox();
  expect(await care.getAttribute("aria-checked")).toBe("true");
  await care.click();
  await expect.poll(() => mock.owner.given.care).toBe(false);
  expect(await page.getByRole("dialog").count()).toBe(0);
  await expect.poll(() => care.getAttribute("aria-checked")).toBe("false");
  const off = await care.boundingBox();
  expect([off?.width, off?.height, off?.x]).toEqual([on?.width, on?.height, on?.x]);
  await care.click();
  await expect.poll(() => mock.owner.given.care).toBe(true);
  await mock.close();
});

test.concurrent("what withdrawing means, and what a new notice adds, stand beside the switch", async () => {
  const { mock, page } = await visit();
  await page.getByText("what was collected for it is erased").first().waitFor();
  await page.getByText("The type approval asks for a year.").waitFor();
  await page.getByText("This has grown since you agreed: Humidity.").waitFor();
  const choices = await Promise.all(
    ["Agree to this, too", "Switch this off"].map((name) =>
      page.getByRole("button", { name }).evaluate((b) => b.className),
    ),
  );
  expect(new Set(choices).size).toBe(1); // neither is more prominent
  await mock.close();
});

test.concurrent("data is taken along; nothing to share is picked before", async () => {
  const { mock, page } = await visit();
  const link = page.getByRole("link", { name: /Download \(48 MB/ });
  expect(await link.getAttribute("href")).toBe("/owner/v1/exports/ex-1/archive");
  await page.getByRole("link", { name: "Download all receipts" }).waitFor();
  await page.getByRole("textbox", { name: "Who" }).fill("Lab Nord");
  await page.getByRole("textbox", { name: "Their email or web address" }).fill("lab@nord.example");
  const make = page.getByRole("button", { name: "Share", exact: true });
  expect(await make.isDisabled()).toBe(true); // nothing is picked before
  await page.getByRole("checkbox").first().check();
  await mock.close();
});
