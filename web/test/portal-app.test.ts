import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, CDPSession } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { languages } from "../portal/tongues";
import { kept, launch, open } from "./browser";
import { type Mock, startMock } from "./server";

// The portal as an app: installed, offline, left by one person and opened by the
// next, replaced by a newer build.

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

async function visit(path = "/my/", prepare: (m: Mock) => void = () => {}) {
  const mock = await startMock();
  prepare(mock);
  const opened = await open(browser, { viewport: { width: 320, height: 640 } });
  await opened.page.goto(mock.url + path);
  return { mock, ...opened };
}

test("Chromium finds nothing that keeps it off the home screen", async () => {
  const { page, context, errors } = await visit();
  await kept(page);
  const cdp: CDPSession = await context.newCDPSession(page);
  const { installabilityErrors } = await cdp.send("Page.getInstallabilityErrors");
  // Playwright's contexts are incognito, which alone stands in the way.
  expect(installabilityErrors.map((e) => e.errorId).filter((e) => e !== "in-incognito")).toEqual([]);
  const manifest = await cdp.send("Page.getAppManifest");
  expect(manifest.errors).toEqual([]);
  expect(JSON.parse(manifest.data ?? "{}")).toMatchObject({ lang: "en", start_url: "/my/", display: "standalone" });
  expect(errors).toEqual([]);
  await context.close();
});

describe.each(languages)("the manifest in %s", (language) => {
  test("is named in it, and its icons are of the sizes it says", () => {
    const dist = join(import.meta.dirname, "../dist/portal");
    const m = JSON.parse(readFileSync(join(dist, `manifest.${language}.webmanifest`), "utf8"));
    expect([m.lang, m.id, m.scope]).toEqual([language, "/my/", "/my/"]);
    expect(m.name.startsWith("Fettle – ")).toBe(true);
    expect(m.icons.map((i: { purpose: string }) => i.purpose)).toContain("maskable");
    for (const icon of m.icons) {
      const png = readFileSync(join(dist, icon.src.replace("/my/", "")));
      expect(`${png.readUInt32BE(16)}x${png.readUInt32BE(20)}`).toBe(icon.sizes);
    }
  });
});

test("without a connection the app opens, says so, and shows nothing of a person", async () => {
  const { page, context, mock } = await visit("/my/units/WC-000010");
  await page.getByText("When shall it run?").waitFor();
  await kept(page);
  mock.down = true;
  await context.setOffline(true);
  await page.getByText("You are offline").first().waitFor();
  await page.reload();
  await page.getByText("You are offline").first().waitFor();
  expect(await page.getByText("SN-2013-10063").count()).toBe(0);
  mock.down = false;
  await context.setOffline(false);
  await page.reload();
  await page.getByText("When shall it run?").waitFor();
  await context.close();
  await mock.close();
});

test("what the API says is kept nowhere, and every window leaves with the one that signs out", async () => {
  const { page, context, mock } = await visit("/my/units/WC-000010");
  await page.getByText("When shall it run?").waitFor();
  await kept(page);
  const other = await context.newPage();
  await other.goto(`${mock.url}/my/account`);
  await other.getByRole("button", { name: "Sign out" }).click();
  await other.getByLabel("E-mail address").waitFor();
  await page.getByLabel("E-mail address").waitFor();
  await page.goBack().catch(() => {});
  await page.getByLabel("E-mail address").waitFor();
  const addresses = await page.evaluate(async () => {
    const all: string[] = [];
    for (const name of await caches.keys())
      for (const r of await (await caches.open(name)).keys()) all.push(new URL(r.url).pathname);
    return all;
  });
  expect(addresses.length).toBeGreaterThan(3);
  expect(addresses.filter((a) => a !== "/my/" && !/^\/my\/(assets|icons)\//.test(a))).toEqual([]);
  expect(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))).not.toContain("ola@");
  await context.close();
  await mock.close();
});

test("a newer portal is offered, and taken when the owner says so", async () => {
  const { page, context, mock } = await visit();
  await kept(page);
  await page.reload();
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  mock.newer = true;
  await page.evaluate(async () => (await navigator.serviceWorker.ready).update());
  await page.getByText("There is a newer version").waitFor();
  await Promise.all([page.waitForEvent("load"), page.getByRole("button", { name: "Change to it" }).click()]);
  await page.getByRole("heading", { name: "My products" }).waitFor();
  expect(await page.getByText("There is a newer version").count()).toBe(0);
  expect(await page.evaluate(() => caches.keys())).toHaveLength(1);
  await context.close();
  await mock.close();
});
