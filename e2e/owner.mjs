// A person at a browser, for tests: real Chromium, driven by lines of JSON on
// standard input, one answer a line on standard output. What the person does
// stands in the Go test; here is only how.
//
//   {"do":"open","url":URL}      open a page in a fresh window of this person
//   {"do":"see","text":TEXT}     wait until the page shows it
//   {"do":"lack","text":TEXT}    the page does not show it
//   {"do":"click","name":NAME}   click the button or link of that name
//   {"do":"type","label":LABEL,"text":TEXT}
//   {"do":"text"}                all that the page says
//   {"do":"shot","file":PNG,"of":SELECTOR?}
//   {"do":"leave"}               forget everything: cookies, windows
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const [, , packages, size = "390x844"] = process.argv;
const { chromium } = createRequire(`${packages}/`)("playwright-core");
const [width, height] = size.split("x").map(Number);
const patience = { timeout: 120_000 };

const browser = await chromium.launch({
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
let context;
let page;
const errors = [];

async function leave() {
  await context?.close();
  context = await browser.newContext({
    viewport: { width, height },
    deviceScaleFactor: 1,
    reducedMotion: "reduce",
    locale: "en-GB",
  });
  page = await context.newPage();
  page.on("pageerror", (e) => errors.push(e.message));
}
await leave();

const deeds = {
  leave,
  async cookie({ name, value, url }) {
    await context.addCookies([{ name, value, url }]);
  },
  async open({ url }) {
    // A second link of the same page must load anew, not only change the fragment.
    await page.goto("about:blank");
    await page.goto(url, patience);
  },
  async see({ text }) {
    await page.getByText(text).filter({ visible: true }).first().waitFor(patience);
  },
  async lack({ text }) {
    if (await page.getByText(text).filter({ visible: true }).count()) throw new Error(`the page says ${text}`);
  },
  async click({ name }) {
    const button = page.getByRole("button", { name, exact: true });
    await button.or(page.getByRole("link", { name, exact: true })).first().click(patience);
  },
  async type({ label, text }) {
    await page.getByLabel(label).fill(text, patience);
  },
  async text() {
    return page.locator("body").innerText();
  },
  async shot({ file, of, full = false }) {
    await page.waitForLoadState("networkidle");
    if (of) await page.locator(of).first().screenshot({ path: file });
    else await page.screenshot({ path: file, fullPage: full });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const { do: deed, ...what } = JSON.parse(line);
    const said = await deeds[deed](what);
    answer = errors.length ? { error: `the page failed: ${errors.splice(0).join("; ")}` } : { said: said ?? "" };
  } catch (e) {
    const text = await page.locator("body").innerText().catch(() => "");
    answer = { error: `${e.message}\nthe page (${page.url()}) says:\n${text}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
