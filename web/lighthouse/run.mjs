// Lighthouse on the portal of a real server, on its mobile profile (a slow
// phone on a slow network, simulated), in every language: make lighthouse.
// It ends with 1 unless each page has accessibility 100 and performance 95.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { launch } from "chrome-launcher";
import lighthouse from "lighthouse";

const [program = "../../bin/fettle"] = process.argv.slice(2);
const server = spawn("go", ["run", "./bench/portal", "-fettle", program, "-units", "10", "-sampled", "1", "-serve"], {
  cwd: new URL("../..", import.meta.url),
  stdio: ["pipe", "pipe", "inherit"],
});
const at = await new Promise((done, fail) => {
  createInterface({ input: server.stdout }).on("line", (line) => line.startsWith("{") && done(JSON.parse(line)));
  server.on("exit", (code) => fail(new Error(`the server ended with ${code}`)));
});
const unit = `/my/units/${at.unit}`;
// The first page in every language, signed out and with a product; the other pages once.
const pages = [
  ...["en", "de", "fr", "es", "sv"].flatMap((l) => [
    ["/my/sign-in", l],
    [unit, l],
  ]),
  ...["/history", "/data", "/people", "/help"].map((p) => [unit + p, "en"]),
  ...["notices", "settings", "account"].map((p) => [`/my/${p}`, "en"]),
];
let bad = 0;
const chrome = await launch({
  chromePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  chromeFlags: ["--headless=new", "--no-sandbox", "--disable-gpu"],
});
try {
  for (const [path, language] of pages) {
    const extraHeaders = { "Accept-Language": language, ...(path === "/my/sign-in" ? {} : { Cookie: at.cookie }) };
    const run = await lighthouse(at.url + path, {
      port: chrome.port,
      onlyCategories: ["performance", "accessibility", "best-practices"],
      extraHeaders,
      logLevel: "error",
    });
    const { categories, audits } = run.lhr;
    const score = (name) => Math.round(100 * (categories[name].score ?? 0));
    const [speed, access, practice] = ["performance", "accessibility", "best-practices"].map(score);
    const failed = Object.values(categories)
      .flatMap((c) => c.auditRefs)
      .filter((r) => r.weight > 0 && audits[r.id].score !== null && audits[r.id].score < 0.9)
      .map((r) => r.id);
    console.log(
      `${path.padEnd(34)} ${language}  performance ${speed}  accessibility ${access}  best practices ${practice}  ` +
        `LCP ${audits["largest-contentful-paint"].displayValue}  TBT ${audits["total-blocking-time"].displayValue}  ` +
        `CLS ${audits["cumulative-layout-shift"].displayValue}  ${failed.join(" ")}`,
    );
    if (speed < 95 || access < 100) bad++;
  }
} finally {
  await chrome.kill();
  server.removeAllListeners("exit");
  server.stdin.end();
}
console.log(
  bad
    ? `lighthouse: ${bad} of ${pages.length} pages are not good enough`
    : `lighthouse: all ${pages.length} pages are good`,
);
process.exit(bad ? 1 : 0);
