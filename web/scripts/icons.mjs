// Draws the portal's icons from theme/mark.svg: npm run icons. They are kept in
// the repository, so that a build needs no browser.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const root = join(import.meta.dirname, "..");
const mark = readFileSync(join(root, "theme/mark.svg"), "utf8");
const ground = /<rect[^>]*fill="(#\w+)"/.exec(mark)?.[1] ?? "";

// A maskable icon is cut to any shape: only the middle 80 % is sure to be seen
// (W3C Manifest, "icon masks"), and its ground reaches to the edge.
const icons = [
  { name: "icon-192.png", size: 192, mark: 1, ground: "transparent" },
  { name: "icon-512.png", size: 512, mark: 1, ground: "transparent" },
  { name: "maskable-512.png", size: 512, mark: 0.78, ground },
  { name: "apple-180.png", size: 180, mark: 0.9, ground },
];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
for (const icon of icons) {
  const page = await browser.newPage({ viewport: { width: icon.size, height: icon.size } });
  const edge = icon.size * icon.mark;
  await page.setContent(
    `<style>*{margin:0}body{background:${icon.ground};display:grid;place-items:center;height:100vh}svg{width:${edge}px;height:${edge}px}</style>${mark}`,
  );
  const png = await page.screenshot({ omitBackground: true });
  writeFileSync(join(root, "portal/icons", icon.name), png);
  await page.close();
}
await browser.close();
