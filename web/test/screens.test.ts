import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { describe } from "vitest";
import type { Wire } from "../client/client";
import { axe, overflow } from "./browser";
import * as f from "./fixtures/fleet";
import { offered } from "./fixtures/owner";
import { visitors } from "./lanes";
import type { Mock } from "./server";

// Every screen in light and dark, at a desk and on a phone: no error in the
// console, nothing wider than the window, nothing that axe-core objects to.
// With SHOTS=folder each is also kept as a picture.

const shots = process.env.SHOTS;
if (shots) mkdirSync(shots, { recursive: true });

const desk = { name: "desk", width: 1440, height: 900 };
/** The least width. */
const phone = { name: "phone", width: 320, height: 700 };

const test = visitors(desk);

type Screen = {
  name: string;
  path: string;
  wait: string;
  prepare?: (m: Mock) => void;
  act?: (p: Page) => Promise<unknown>;
};

const withUpdate = (change: Partial<Wire["MyUpdate"]>) => (m: Mock) => {
  m.owner.updates = [{ ...offered, ...change }];
};

const battery: Wire["MyUpdate"]["waiting"] = {
  code: "precondition",
  why: "battery 18 %, needs at least 30 %",
  words: "Connect the charger, and leave it connected.",
  signal: "battery",
  title: "Battery",
  have: "18",
  op: ">=",
  need: "30",
  unit: "%",
  at: f.ago(0.005),
};

const portal: Screen[] = [
  { name: "sign-in", path: "/my/sign-in", wait: "text=Send me a link" },
  { name: "landing", path: "/my/sign-in#abc", wait: "text=Welcome back" },
  { name: "home", path: "/my/", wait: "text=An update is waiting" },
  { name: "empty", path: "/my/", wait: "text=No product is registered", prepare: (m) => (m.empty = true) },
  { name: "tips", path: "/my/tips", wait: "text=Which tips you want" },
  { name: "tip", path: "/my/units/WC-000006", wait: "text=Tip for this moment" },
  { name: "offered", path: "/my/units/WC-000010", wait: "text=When shall it run?" },
  {
    name: "set-time",
    path: "/my/units/WC-000010",
    wait: "text=When shall it run?",
    act: (p) => p.getByRole("button", { name: "Set a time" }).click(),
  },
  {
    name: "decline",
    path: "/my/units/WC-000010",
    wait: "text=When shall it run?",
    act: (p) => p.getByRole("button", { name: "I don’t want this update" }).click(),
  },
  {
    name: "scheduled",
    path: "/my/units/WC-000010",
    wait: "text=Planned for",
    prepare: withUpdate({ state: "scheduled", at: f.ahead(0.7) }),
  },
  {
    name: "waiting",
    path: "/my/units/WC-000010",
    wait: "text=Waiting: Battery at 18 %, needs 30 %",
    prepare: withUpdate({ state: "accepted", waiting: battery }),
  },
  {
    name: "accepted",
    path: "/my/units/WC-000010",
    wait: "text=can no longer be stopped",
    prepare: withUpdate({ state: "accepted", latestStart: f.ahead(0.003), choices: ["not now", "decline"] }),
  },
  {
    name: "held",
    path: "/my/units/WC-000010",
    wait: "text=because you asked for it",
    prepare: withUpdate({ state: "installing", held: true, choices: ["now"], progress: { done: 62, of: 100 } }),
  },
  { name: "settings", path: "/my/settings", wait: "text=Quiet hours" },
  {
    name: "found",
    path: "/my/units/WC-000010",
    wait: ".foundchart svg",
    prepare: (m) => (m.owner.updates = []),
    act: (p) => p.getByText("The same as a table").click(),
  },
  {
    name: "proof",
    path: "/my/units/WC-000010",
    wait: "text=Quiet for",
    prepare: withUpdate({
      state: "verifying",
      stage: "verifying",
      choices: [],
      installedAt: f.ago(2),
      proof: { needed: 40, seen: 12.34, since: f.ago(2), lastAt: f.ago(0.2), title: "Plug overheats" },
    }),
  },
  { name: "history", path: "/my/units/WC-000010/history", wait: "text=Show older" },
  {
    name: "history-empty",
    path: "/my/units/WC-000010/history",
    wait: "text=Nothing has happened",
    prepare: (m) => (m.empty = true),
  },
  { name: "help", path: "/my/units/WC-000010/help", wait: "text=Nordlys" },
  { name: "data", path: "/my/units/WC-000010/data", wait: "text=What is collected" },
  {
    name: "rights",
    path: "/my/units/WC-000010/data",
    wait: "text=Your rights",
    act: async (p) => {
      await p.getByText("Erase everything about me").click();
      await p.getByLabel("What do you ask for?").selectOption("objection");
      await p.getByText("Erase everything about me").scrollIntoViewIfNeeded();
    },
  },
  { name: "erasing", path: "/my/erased#er-2.0f1e2d3c", wait: "text=step 4 of 11" },
  { name: "erased", path: "/my/erased#er-1", wait: "text=What is kept without you" },
  { name: "looks", path: "/my/looks", wait: "text=Customer service" },
  { name: "looks-empty", path: "/my/looks", wait: "text=Nobody but you", prepare: (m) => (m.empty = true) },
  {
    name: "looks-trouble",
    path: "/my/looks",
    wait: "text=Try again",
    prepare: (m) => m.failing.set("/owner/v1/looks", 503),
  },
  {
    name: "notices",
    path: "/my/notices",
    wait: "text=Product safety recall",
    act: (p) => p.getByText("Product safety recall: Nordlys").click(),
  },
  { name: "notices-empty", path: "/my/notices", wait: "text=There is nothing yet", prepare: (m) => (m.empty = true) },
  { name: "more", path: "/my/more", wait: "text=Account" },
  {
    name: "installing",
    path: "/my/units/WC-000010",
    wait: "text=Installing",
    prepare: withUpdate({ state: "installing", stage: "installing", progress: { done: 62, of: 100 }, choices: [] }),
  },
  {
    name: "done",
    path: "/my/units/WC-000010",
    wait: "text=Done, and safe to use",
    prepare: withUpdate({
      state: "verified",
      stage: "done",
      choices: [],
      installedAt: f.ago(5),
      proof: { needed: 40, seen: 40, since: f.ago(5), title: "Plug overheats" },
    }),
  },
  {
    name: "failed",
    path: "/my/units/WC-000010",
    wait: "text=did not go through",
    prepare: withUpdate({
      state: "failed",
      stage: "rolled_back",
      choices: [],
      attempt: 2,
      failure: { known: true, version: "1.4.2", attempt: 2, next: "looked into" },
    }),
  },
  { name: "unknown", path: "/my/units/WC-000006", wait: "text=We cannot tell" },
  {
    name: "trouble",
    path: "/my/units/WC-000010",
    wait: "text=Try again",
    prepare: (m) => m.failing.set("/owner/v1/units/WC-000010", 503),
  },
  { name: "missing", path: "/my/nothing", wait: "text=no such page" },
];

/** Signs in by password, to the next step. */
async function knock(p: Page, email: string) {
  await p.getByLabel("E-mail address").fill(email);
  await p.locator("input[name=password]").fill("four words nobody knows");
  await p.getByRole("button", { name: "Sign in", exact: true }).click();
  await p.locator("input[name=code]").waitFor();
}

const console_: Screen[] = [
  { name: "sign-in", path: "/console/sign-in", wait: "text=Nordlys account" },
  {
    name: "sign-in-code",
    path: "/console/sign-in",
    wait: "text=Nordlys account",
    act: (p) => knock(p, "grace@example.org"),
  },
  {
    name: "sign-in-enrol",
    path: "/console/sign-in",
    wait: "text=Nordlys account",
    act: (p) => knock(p, "new@example.org"),
  },
  {
    name: "recovery-codes",
    path: "/console/sign-in",
    wait: "text=Nordlys account",
    act: async (p) => {
      await knock(p, "new@example.org");
      await p.getByLabel("First code").fill("123456");
      await p.getByRole("button", { name: "Confirm" }).click();
      await p.getByText("k3vq").waitFor();
    },
  },
  { name: "account", path: "/console/account", wait: "text=Firefox on Linux" },
  { name: "people", path: "/console/people", wait: "text=eve@example.org" },
  {
    name: "person",
    path: "/console/people",
    wait: "text=eve@example.org",
    act: async (p) => {
      await p.getByRole("button", { name: "Change eve@example.org" }).click();
      await p.getByText("Safari on iPhone").waitFor();
    },
  },
  { name: "approvals", path: "/console/approvals", wait: "text=checked on the bench" },
  { name: "approvals-empty", path: "/console/approvals", wait: "text=Nothing waits", prepare: (m) => (m.empty = true) },
  { name: "landing", path: "/console/sign-in#abc", wait: "text=signs you in once" },
  { name: "templates", path: "/console/templates", wait: "text=plug-recall" },
  { name: "template", path: "/console/templates/plug-recall", wait: "text=What the linter finds" },
  { name: "ladders", path: "/console/ladders", wait: "text=No address" },
  { name: "letters", path: "/console/letters", wait: "text=Came back" },
  {
    name: "calls",
    path: "/console/calls",
    wait: "text=Jörg Müller",
    act: (p) => p.keyboard.press("n"),
  },
  {
    name: "tips",
    path: "/console/tips",
    wait: "text=Sun until",
    act: async (p) => {
      await p.getByRole("button", { name: "Look" }).click();
      await p.getByText("fewer than 10").first().waitFor();
    },
  },
  { name: "tips-empty", path: "/console/tips", wait: "text=There is no tip yet", prepare: (m) => (m.empty = true) },
  { name: "letters-empty", path: "/console/letters", wait: "text=No batch yet", prepare: (m) => (m.empty = true) },
  { name: "calls-empty", path: "/console/calls", wait: "text=Nobody is to be", prepare: (m) => (m.empty = true) },
  { name: "delivery", path: "/console/delivery", wait: "text=Product safety recall" },
  { name: "addresses", path: "/console/delivery?tab=addresses", wait: "text=kim@example.org" },
  { name: "webhooks", path: "/console/delivery?tab=webhooks", wait: "text=service-desk" },
  { name: "gateways", path: "/console/delivery?tab=gateways", wait: "text=sms.example" },
  { name: "message", path: "/console/delivery/m-1", wait: "text=What happened" },
  { name: "overview", path: "/console/", wait: "text=Condition of active units" },
  { name: "overview-empty", path: "/console/", wait: "text=No product is declared", prepare: (m) => (m.empty = true) },
  { name: "units", path: "/console/units?condition=failed&sort=-id", wait: "text=WC-000400" },
  { name: "unit", path: "/console/units/WC-000010", wait: ".uplot" },
  { name: "findings", path: "/console/findings?state=open", wait: "text=WC-000010" },
  { name: "finding", path: "/console/findings/F-WC-000010", wait: ".uplot" },
  { name: "finding-trend", path: "/console/findings/F-trend", wait: "text=Foreseen when it opened" },
  { name: "finding-peers", path: "/console/findings/F-peers", wait: "text=Among its peers" },
  {
    name: "risk",
    path: "/console/risk",
    wait: "text=WC-000001",
    act: async (p) => {
      await p.getByRole("button", { name: "Models" }).click();
      await p.getByText("model 1 stays").waitFor({ state: "attached" });
    },
  },
  {
    name: "risk-waiting",
    path: "/console/risk",
    wait: "text=It needs 12 failures of fan, and has 5",
    prepare: (m) => (m.waiting = true),
  },
  { name: "risk-empty", path: "/console/risk", wait: "text=Nothing is foreseen", prepare: (m) => (m.empty = true) },
  { name: "parts", path: "/console/parts?product=wall-charger&part=fan", wait: ".uplot" },
  {
    name: "parts-empty",
    path: "/console/parts?product=wall-charger",
    wait: "text=Nothing is on record",
    prepare: (m) => (m.empty = true),
  },
  {
    name: "record",
    path: "/console/units/WC-000010",
    wait: "text=bearing ran dry",
    act: async (p) => {
      await p.getByRole("button", { name: "Record" }).click();
      await p.getByRole("dialog").waitFor();
    },
  },
  { name: "cohorts", path: "/console/cohorts", wait: "text=hot-adapters" },
  { name: "who-else", path: "/console/cohorts/new?finding=F-WC-000010", wait: "text=Compute and freeze" },
  { name: "cohort", path: "/console/cohorts/c-7f21?list=not-judgeable", wait: "text=no consent" },
  { name: "campaigns", path: "/console/campaigns", wait: "text=Cooler charging" },
  { name: "campaign", path: "/console/campaigns/adapter-overheat", wait: "text=gate passed" },
  {
    name: "dry-run",
    path: "/console/campaigns/adapter-overheat-us",
    wait: "text=Dry run",
    act: async (p) => {
      await p.getByRole("button", { name: "Dry run" }).click();
      await p.getByText("would be offered").waitFor();
    },
  },
  {
    name: "pause",
    path: "/console/campaigns/adapter-overheat",
    wait: "text=gate passed",
    act: async (p) => {
      await p.getByRole("button", { name: "Pause" }).click();
      await p.getByRole("dialog").waitFor();
    },
  },
  { name: "report", path: "/console/campaigns/adapter-overheat/report", wait: "text=Completion" },
  {
    name: "campaign-paused",
    path: "/console/campaigns/adapter-overheat-eu",
    wait: "text=paused by it",
  },
  { name: "releases", path: "/console/releases", wait: "text=charger-1.5.0" },
  { name: "releases-empty", path: "/console/releases", wait: "text=No release yet", prepare: (m) => (m.empty = true) },
  { name: "release", path: "/console/releases/charger-2.0.0", wait: "text=made in 41 s" },
  { name: "release-withdrawn", path: "/console/releases/charger-1.5.0", wait: "text=display stays dark" },
  {
    name: "release-withdraw",
    path: "/console/releases/charger-2.0.0",
    wait: "text=made in 41 s",
    act: async (p) => {
      await p.getByRole("button", { name: "Withdraw" }).click();
      await p.getByRole("dialog").waitFor();
    },
  },
  { name: "keys", path: "/console/keys", wait: "text=The safe in Oslo" },
  { name: "keys-empty", path: "/console/keys", wait: "text=There is no root yet", prepare: (m) => (m.empty = true) },
  { name: "detectors", path: "/console/detectors", wait: "text=Plug overheats" },
  {
    name: "detectors-empty",
    path: "/console/detectors",
    wait: "text=No detector yet",
    prepare: (m) => (m.empty = true),
  },
  { name: "detector", path: "/console/detectors/plug-overheat", wait: "text=over budget" },
  { name: "backtest", path: "/console/detectors/plug-overheat/backtest?at=4", wait: ".uplot" },
  {
    name: "backtest-empty",
    path: "/console/detectors/plug-overheat/backtest",
    wait: "text=has not been tried",
    prepare: (m) => (m.empty = true),
  },
  {
    name: "backtest-running",
    path: "/console/detectors/plug-overheat/backtest",
    wait: "text=it was begun again",
    prepare: (m) => (m.running = true),
  },
  {
    name: "backtest-failed",
    path: "/console/detectors/plug-overheat/backtest?id=b-70",
    wait: "text=give a shorter period",
  },
  {
    name: "backtest-form",
    path: "/console/detectors/plug-overheat/backtest",
    wait: ".uplot",
    act: async (p) => {
      await p.getByRole("button", { name: "New backtest" }).click();
      await p.getByRole("dialog").waitFor();
    },
  },
  {
    name: "backtest-trouble",
    path: "/console/detectors/plug-overheat/backtest",
    wait: "text=Try again",
    prepare: (m) => m.failing.set("/v1/backtests", 503),
  },
  { name: "products", path: "/console/products", wait: "text=Wall charger" },
  { name: "product", path: "/console/products/wall-charger", wait: "text=Plug temperature" },
  { name: "claims", path: "/console/claims", wait: "text=Approve" },
  {
    name: "audit",
    path: "/console/audit",
    wait: "text=Declare a document",
    act: async (p) => {
      await p.getByRole("button", { name: "Verify the trail" }).click();
      await p.getByText("is as it was written").waitFor();
    },
  },
  {
    name: "audit-broken",
    path: "/console/audit?kind=look",
    wait: "text=Download a backup",
    prepare: (m) => (m.running = true),
    act: async (p) => {
      await p.getByRole("button", { name: "Verify the trail" }).click();
      await p.getByText("At entry #4102").waitFor();
    },
  },
  {
    name: "audit-empty",
    path: "/console/audit",
    wait: "text=Nothing is entered yet",
    prepare: (m) => (m.empty = true),
  },
  {
    name: "audit-trouble",
    path: "/console/audit",
    wait: "text=Loading entries failed",
    prepare: (m) => m.failing.set("/v1/audit", 503),
  },
  { name: "requests", path: "/console/requests", wait: "text=late by" },
  { name: "requests-all", path: "/console/requests?tab=all", wait: "text=rectification" },
  {
    name: "requests-answer",
    path: "/console/requests",
    wait: "text=late by",
    act: async (p) => {
      await p.getByRole("button", { name: /ola@example.org for restriction/ }).click();
      await p.getByRole("dialog").getByText("Refuse", { exact: true }).click();
      await p.getByText("where they can complain").waitFor();
    },
  },
  {
    name: "requests-empty",
    path: "/console/requests",
    wait: "text=Nothing waits",
    prepare: (m) => (m.empty = true),
  },
  {
    name: "requests-trouble",
    path: "/console/requests",
    wait: "text=Try again",
    prepare: (m) => m.failing.set("/v1/privacy/requests", 503),
  },
  { name: "requests-people", path: "/console/requests?tab=people", wait: "text=Nobody is looked at" },
  { name: "person-found", path: "/console/requests?tab=people&person=ola@example.org", wait: "text=Ola Nordmann" },
  {
    name: "person-unknown",
    path: "/console/requests?tab=people&person=nobody@example.org",
    wait: "text=Finding nobody@example.org failed",
  },
  {
    name: "erase-asked",
    path: "/console/requests?tab=people&person=ola@example.org",
    wait: "text=Ola Nordmann",
    act: async (p) => {
      await p.getByRole("button", { name: "Erase everything" }).click();
      await p.getByLabel(/type their address/).fill("ola@example");
    },
  },
  {
    name: "erase-begun",
    path: "/console/requests?tab=people&person=ola@example.org",
    wait: "text=Ola Nordmann",
    act: async (p) => {
      await p.getByRole("button", { name: "Erase everything" }).click();
      await p.getByLabel(/type their address/).fill("ola@example.org");
      await p.getByRole("button", { name: "Erase for good" }).click();
      await p.getByText("4 of 11").waitFor();
    },
  },
  { name: "notices", path: "/console/notices", wait: "text=read now" },
  { name: "notices-empty", path: "/console/notices", wait: "text=No product yet", prepare: (m) => (m.empty = true) },
  {
    name: "notices-trouble",
    path: "/console/notices",
    wait: "text=Loading notices failed",
    prepare: (m) => m.failing.set("/v1/products/wall-charger/notices", 503),
  },
  { name: "notice", path: "/console/notices/wall-charger/versions/2014-05?lang=de", wait: "text=Was Ihr Ladegerät" },
  {
    name: "notice-missing",
    path: "/console/notices/wall-charger/versions/never",
    wait: "text=Loading notice never failed",
  },
  {
    name: "notice-publish",
    path: "/console/notices/wall-charger/publish",
    wait: "text=Try and publish",
    act: async (p) => {
      await p.getByLabel("Looking after your charger").last().check();
      await p.getByRole("button", { name: "Try it" }).click();
      await p.getByText("At least 265 units agreed").waitFor();
    },
  },
  { name: "consent", path: "/console/consent?unit=WC-000010", wait: "text=Download the receipts" },
  { name: "consent-empty", path: "/console/consent?unit=WC-000006", wait: "text=Nothing was ever chosen" },
  {
    name: "consent-trouble",
    path: "/console/consent?unit=WC-000010",
    wait: "text=Loading the rates failed",
    prepare: (m) => m.failing.set("/v1/products/wall-charger/consents", 503),
  },
  { name: "datasheet", path: "/console/products/wall-charger/datasheet?lang=de", wait: "text=How owners use" },
  {
    name: "datasheet-trouble",
    path: "/console/products/wall-charger/datasheet",
    wait: "text=Loading the data sheet failed",
    prepare: (m) => m.failing.set("/v1/products/wall-charger/datasheet", 503),
  },
  { name: "erasures", path: "/console/requests?tab=erasures", wait: "text=4 of 11" },
  {
    name: "erasure-receipt",
    path: "/console/requests?tab=erasures",
    wait: "text=4 of 11",
    act: async (p) => {
      await p.getByRole("button", { name: "Receipt er-1" }).click();
      await p.getByText("What is kept without the person").waitFor();
    },
  },
  {
    name: "bounded",
    path: "/console/units/WC-000010",
    wait: ".uplot",
    prepare: (m) => {
      m.bounded = { role: "viewer", scope: "read", permissions: ["look"], regions: ["NO", "DE"] };
      m.failing.set("/v1/register", 403);
    },
    act: (p) => p.getByText("Your role is viewer. You see units in regions NO, DE.").waitFor(),
  },
  {
    name: "refused",
    path: "/console/parts?product=wall-charger",
    wait: "text=Not for you to see",
    prepare: (m) => {
      m.bounded = { role: "engineer", permissions: ["look", "declare"], products: ["wall-charger"], regions: ["NO"] };
      m.failing.set("/v1/products/wall-charger/parts", 403);
    },
  },
  { name: "tokens", path: "/console/tokens", wait: "text=deployment pipeline" },
  { name: "notifications", path: "/console/notifications", wait: "text=on-call" },
  {
    name: "trouble",
    path: "/console/units/WC-000010",
    wait: "text=Try again",
    prepare: (m) => m.failing.set("/v1/units/WC-000010", 503),
  },
  { name: "missing", path: "/console/nothing", wait: "text=no such page" },
];

test("every page of the console has a screen here", ({ expect }) => {
  const router = readFileSync(join(import.meta.dirname, "../console/router.tsx"), "utf8");
  const routes = [...router.matchAll(/\bpath: "([^"]+)"/g)].map((m) => m[1]?.replace(/^\/$/, "") ?? "");
  const unseen = routes.filter((r) => {
    const address = new RegExp(`^/console/${r.replace(/\$\w+/g, "[^/?#]+")}([?#].*)?$`);
    return !console_.some((s) => address.test(s.path));
  });
  expect(routes.length).toBeGreaterThan(40);
  expect(unseen).toEqual([]);
});

describe.each([
  ["portal", portal],
  ["console", console_],
] as const)("%s", (entry, screens) => {
  test.concurrent.for([...screens])("$name", async (screen, { expect, visit }) => {
    const { page, errors } = await visit(screen.path, screen.prepare);
    await page.locator(screen.wait).first().waitFor();
    await screen.act?.(page);
    await page.waitForFunction(() => !document.querySelector(".mantine-Skeleton-root, .loading"));
    for (const size of [desk, phone]) {
      await page.setViewportSize(size);
      for (const scheme of ["light", "dark"] as const) {
        await page.emulateMedia({ colorScheme: scheme });
        // The console's own attribute follows the device a moment later.
        await page.waitForFunction(
          (wanted) => (document.documentElement.dataset.mantineColorScheme ?? wanted) === wanted,
          scheme,
        );
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
        const where = `${entry}-${screen.name}-${size.name}-${scheme}`;
        // A long list is drawn as it is scrolled to: only its beginning makes a picture.
        const whole = await page.evaluate(() => document.documentElement.scrollHeight < 4000);
        if (shots) await page.screenshot({ path: `${shots}/${where}.png`, fullPage: whole });
        expect(await overflow(page), `${where}: wider than the window`).toBe(0);
        // Each is drawn four times; the rules are run on the two that differ most, on all where pictures are kept.
        if (shots || (size.name === "desk") === (scheme === "light")) expect(await axe(page), where).toEqual([]);
      }
    }
    expect(errors).toEqual([]);
  });
});
