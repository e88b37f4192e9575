import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { languages } from "../portal/tongues";
import { axe, launch, open, overflow } from "./browser";
import { type Mock, startMock } from "./server";

// The widget in a maker's page: the example of docs/widget, served from another
// origin than the service.

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const example = readFileSync(join(import.meta.dirname, "../../docs/widget/index.html"), "utf8");

/** The example as a maker would have it, at an address of its own. */
async function elsewhere(mock: Mock, token = "feo_app"): Promise<string> {
  const page = example.replaceAll("http://127.0.0.1:8080", mock.url).replace("feo_PUT_YOUR_TOKEN_HERE", token);
  const server = createServer((_, res) => {
    res.writeHead(200, { "content-type": "text/html; charset=utf-8" });
    res.end(page);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  server.unref();
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

test("a unit is shown and an update chosen, from another origin, with an app's token alone", async () => {
  const mock = await startMock();
  mock.appToken = "feo_app";
  mock.owner.signedIn = false; // nobody is signed in in this browser
  const { context, page, errors } = await open(browser, {
    viewport: { width: 320, height: 700 },
    colorScheme: "light",
  });
  await page.goto(await elsewhere(mock));
  const widget = page.locator("fettle-unit");
  await widget.getByRole("heading", { name: "Wall charger" }).waitFor();
  await widget.getByText("Not in order").waitFor();
  expect(await overflow(page)).toBe(0);
  expect(await axe(page)).toEqual([]);
  // The maker's colour.
  const main = widget.getByRole("button", { name: "Start now" });
  expect(await main.evaluate((b) => getComputedStyle(b).backgroundColor)).toBe("rgb(91, 42, 134)");
  // The token stands nowhere in the page.
  expect(await widget.evaluate((e) => e.outerHTML + (e.shadowRoot?.innerHTML ?? ""))).not.toContain("feo_app");
  await widget.getByRole("button", { name: "I don’t want this update" }).click();
  await widget.getByRole("button", { name: "Back" }).click();
  expect(mock.owner.choices).toEqual([]);
  await widget.getByRole("button", { name: "Tonight" }).click();
  await page.getByText("The owner chose “tonight”.").waitFor();
  await widget.getByText("Planned for").waitFor();
  expect(mock.owner.choices).toEqual([{ choice: "tonight" }]);
  for (const l of languages) {
    await widget.evaluate((e, code) => e.setAttribute("lang", code), l);
    await page.waitForFunction(
      (code) =>
        document.querySelector("fettle-unit")?.shadowRoot?.querySelector(".card")?.getAttribute("lang") === code,
      l,
    );
    expect(await overflow(page), l).toBe(0);
  }
  await page.emulateMedia({ colorScheme: "dark" });
  expect(await axe(page)).toEqual([]);
  expect(errors).toEqual([]);
  await context.close();
});

test("a token that is not good is said, and nothing is shown", async () => {
  const mock = await startMock();
  mock.appToken = "feo_app";
  const { context, page } = await open(browser);
  await page.goto(await elsewhere(mock, "feo_old"));
  await page.locator("fettle-unit").getByText("sign in first").waitFor();
  expect(await page.locator("fettle-unit").getByRole("heading").count()).toBe(0);
  await context.close();
});
