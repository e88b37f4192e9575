import type { Wire } from "../client/client";
import * as f from "./fixtures/fleet";
import { offered } from "./fixtures/owner";
import { visitors } from "./lanes";

// What an owner does in the portal, by mouse, keyboard and in German, in states
// that are hard to come by on a real server; journeys.test.ts has that.

const test = visitors({ width: 390, height: 844 });

const charger = "/my/units/WC-000010";

test.concurrent("a link signs in only when its button is pressed", async ({ expect, visit }) => {
  const { mock, page } = await visit("/my/sign-in#once", (m) => (m.owner.signedIn = false));
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  expect(mock.owner.signedIn).toBe(false);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "My products" }).waitFor();
  expect(mock.owner.signedIn).toBe(true);
  expect(page.url()).not.toContain("once");
});

test.concurrent("a used link says so and offers a new one", async ({ visit }) => {
  const { page } = await visit("/my/sign-in#twice", (m) => m.failing.set("/owner/v1/sign-in", 401));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("has been used or is too old").waitFor();
  await page.getByRole("button", { name: "Send me a new link" }).click();
  await page.getByLabel("E-mail address").fill("ola@example.org");
  await page.getByRole("button", { name: "Send me a link" }).click();
  await page.getByText("If we know ola@example.org").waitFor();
});

test.concurrent("who is signed out is led to the door, and can leave by it", async ({ expect, visit }) => {
  const out = await visit("/my/", (m) => (m.owner.signedIn = false));
  await out.page.getByLabel("E-mail address").waitFor();
  const { page } = await visit("/my/account");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("E-mail address").waitFor();
  expect(page.url()).toContain("/my/sign-in");
});

test.concurrent("a time is set in the owner's zone, and changed until it has begun", async ({ expect, visit }) => {
  const { mock, page } = await visit(charger);
  await page.getByRole("button", { name: "Set a time" }).click();
  const input = page.getByLabel("Day and time (Europe/Oslo)");
  expect(await input.inputValue()).toBe("2014-05-20T20:00");
  await input.fill("2014-05-19T20:00");
  await page.getByRole("button", { name: "Set this time" }).click();
  await page.getByText("That time has passed").waitFor();
  await input.fill("2014-06-19T20:00");
  await page.getByRole("button", { name: "Set this time" }).click();
  await page.getByText("Choose a time before the deadline").waitFor();
  await input.fill("2014-05-21T21:30");
  await page.getByRole("button", { name: "Set this time" }).click();
  await page.getByText("Planned for Wed, May 21, 2014").waitFor();
  expect(mock.owner.choices).toEqual([{ choice: "at", at: "2014-05-21T19:30:00.000Z" }]);
  await page.getByText("You can choose otherwise until it has begun").waitFor();
  await page.getByRole("button", { name: "Not now" }).click();
  await page.getByText("Postponed").waitFor();
});

test.concurrent("declining is asked once more, and only offered where it may be", async ({ expect, visit }) => {
  const { mock, page } = await visit(charger);
  await page.getByRole("button", { name: "I don’t want this update" }).click();
  await page.getByText("The safety problem described above will remain").waitFor();
  await page.getByRole("button", { name: "Back" }).click();
  expect(mock.owner.choices).toEqual([]);
  const bound = await visit(charger, (m) => {
    m.owner.updates = m.owner.updates.map((u) => ({ ...u, choices: ["now", "at"] }));
  });
  await bound.page.getByRole("button", { name: "Start now" }).waitFor();
  expect(await bound.page.getByText("I don’t want").count()).toBe(0);
  expect(await bound.page.getByRole("button", { name: "Tonight" }).count()).toBe(0);
});

test.concurrent("a refused choice says why", async ({ visit }) => {
  const { page } = await visit(charger, (m) => m.failing.set("/owner/v1/updates/t-9", 409));
  await page.getByRole("button", { name: "Tonight" }).click();
  await page.getByRole("alert").getByText("the mock was told to refuse this").waitFor();
});

test.concurrent("the owner's language is spoken, unless another is chosen", async ({ expect, visit }) => {
  const { page, errors } = await visit(charger, undefined, { locale: "de-DE" });
  // The owner's own language goes before the browser's; a choice before both.
  await page.getByText("When shall it run?").waitFor();
  await page.getByLabel("Language").selectOption("de");
  await page.getByText("Wann soll es laufen?").waitFor();
  await page.getByText("etwa 45 Minuten").waitFor();
  await page.getByText("Freitag, 30. Mai 2014").waitFor();
  await expect.poll(() => page.evaluate(() => document.documentElement.lang)).toBe("de");
  await page.reload();
  await page.getByText("Wann soll es laufen?").waitFor();
  expect(errors).toEqual([]);
});

test.concurrent("everything is reached by keyboard, beginning with a way past the head", async ({ expect, visit }) => {
  const { page } = await visit(charger);
  await page.getByRole("button", { name: "Start now" }).waitFor();
  const reached: string[] = [];
  for (let i = 0; i < 16; i++) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement?.textContent?.trim() ?? ""));
  }
  expect(reached[0]).toBe("Skip to the content");
  for (const name of ["My product", "History", "Start now", "Tonight", "Set a time", "Not now"])
    expect(reached).toContain(name);
});

test.concurrent("the appearance is chosen and kept", async ({ expect, visit }) => {
  const { page } = await visit(charger);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.getByText("Condition").first().waitFor();
  await expect.poll(ground).toBe("rgb(246, 243, 236)");
  await page.getByLabel("Appearance").selectOption("dark");
  await expect.poll(ground).toBe("rgb(20, 24, 26)");
  await page.reload();
  await page.getByText("Condition").first().waitFor();
  await expect.poll(ground).toBe("rgb(20, 24, 26)");
});

const waiting: [NonNullable<Wire["MyUpdate"]["waiting"]>, string][] = [
  [
    { code: "precondition", why: "x", title: "Battery", have: "18", op: ">=", need: "30", unit: "%" },
    "Waiting: Battery at 18 %, needs 30 %",
  ],
  [
    { code: "precondition", why: "x", title: "Plug temperature", have: "71.25", op: "<", need: "60", unit: "Cel" },
    "Waiting: Plug temperature at 71.25 °C, must be below 60 °C",
  ],
  [
    { code: "precondition", why: "x", title: "Parked", have: "false", op: "==", need: "true" },
    "Waiting: Parked is no, must be yes",
  ],
  [
    { code: "state unknown", why: "x", title: "Battery" },
    "Waiting: your product has not told us lately about Battery.",
  ],
  [
    { code: "outside hours", why: "x", until: f.ahead(0.7) },
    "Waiting: it starts within working hours, from Wed, May 21",
  ],
  [{ code: "retry", why: "x", have: "1", need: "3", until: f.ahead(0.05) }, "Attempt 1 of 3 did not go through."],
  [{ code: "too many at once", why: "x" }, "Waiting for its turn"],
  [{ code: "another day, another reason", why: "the tide is low" }, "the tide is low"],
];

test.concurrent.for(waiting)("what it waits for is said with what was measured: %#", async ([wait, words], {
  visit,
}) => {
  const { page, errors } = await visit(charger, (m) => {
    m.owner.updates = [{ ...offered, state: "accepted", waiting: wait }];
  });
  await page.getByText(words).waitFor();
  await page.getByText("you can choose otherwise").first().waitFor();
  if (errors.length > 0) throw new Error(errors.join("; "));
});

test.concurrent("quiet hours, hours and the opt-out of security updates are kept", async ({ expect, visit }) => {
  const { mock, page } = await visit("/my/settings", (m) => {
    m.owner.preferences = { quiet: [{ days: ["sat"], from: "22:00", to: "09:00" }] };
  });
  const quiet = page.getByLabel("From").first();
  await quiet.waitFor();
  expect(await quiet.inputValue()).toBe("22:00");
  await quiet.fill("20:30");
  await page.getByLabel("Only within certain hours").check();
  await page.getByLabel("From").nth(1).fill("02:00");
  await page.getByLabel("The hours above").selectOption("Europe/Lisbon");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved.").waitFor();
  expect(mock.owner.preferences).toEqual({
    timeZone: "Europe/Lisbon",
    quiet: [{ days: ["sat"], from: "20:30", to: "09:00" }],
    hours: [{ from: "02:00", to: "05:00" }],
    manual: false,
  });
  await page.getByLabel("Start them by themselves").uncheck();
  await page.getByText("They will wait for you").waitFor();
  await page.getByRole("button", { name: "Save" }).click();
  await expect.poll(() => mock.owner.preferences.manual).toBe(true);
});

test.concurrent("what has begun can be held where the product can wait, and goes on", async ({ expect, visit }) => {
  const { mock, page } = await visit(charger, (m) => {
    m.owner.updates = [{ ...offered, state: "installing", choices: ["not now"], progress: { done: 40, of: 100 } }];
  });
  await page.getByText("You can still hold it before its next step.").waitFor();
  await page.getByRole("button", { name: "Hold it for now" }).click();
  await expect.poll(() => mock.owner.choices).toEqual([{ choice: "not now" }]);
});
