import { visitors } from "./lanes";

// What an operator does in the console.

const test = visitors({ width: 1440, height: 900 });

test.concurrent("who is signed out is led to the door; a link needs a click", async ({ expect, visit }) => {
  const { mock, page } = await visit("/console/units", (m) => (m.operator.signedIn = false));
  await page.getByLabel("E-mail address").waitFor();
  await page.goto(`${mock.url}/console/sign-in#once`);
  await page.getByRole("button", { name: "Sign in" }).waitFor();
  expect(mock.operator.signedIn).toBe(false);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("E-mail address").waitFor();
  expect(mock.operator.signedIn).toBe(false);
});

test.concurrent("filters and sorting stand in the address, and are read from it", async ({ expect, visit }) => {
  const { page } = await visit("/console/units?condition=failed");
  await page.getByText("40 units").waitFor();
  expect(await page.locator("tbody .mark.normal").count()).toBe(0);
  await page.getByRole("button", { name: "Unit", exact: false }).first().click();
  await page.getByRole("button", { name: "Unit", exact: false }).first().click();
  await expect.poll(() => page.url()).toContain("sort=-id");
  await expect.poll(() => page.locator("tbody tr:not([aria-hidden]) td").first().textContent()).toBe("WC-000400");
  await expect.poll(() => page.locator("th[aria-sort=descending]").textContent()).toContain("Unit");
  await page.getByLabel("Batch").fill("2013-33");
  await expect.poll(() => page.url()).toContain("batch=2013-33");
});

test.concurrent("a long list draws only what is seen, and all of it can be reached", async ({ expect, visit }) => {
  const { page } = await visit("/console/units");
  await page.getByText("WC-000001").waitFor();
  expect(await page.locator("tbody tr").count()).toBeLessThan(80);
  await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight));
  await page.getByText("WC-000400").waitFor();
  expect(await page.locator("tbody tr").count()).toBeLessThan(80);
});

test.concurrent("dragging over one chart zooms all, and the address keeps it", async ({ expect, visit }) => {
  const { page, errors } = await visit("/console/units/WC-000010");
  await page.locator(".uplot").nth(2).waitFor();
  await page.getByText("the owner permits none of the purposes").waitFor();
  const box = await page.locator(".uplot .u-over").nth(1).boundingBox();
  if (!box) throw new Error("no chart");
  await page.mouse.move(box.x + box.width * 0.2, box.y + 40);
  await expect.poll(() => page.locator(".chart .value").nth(0).textContent()).not.toBe("");
  await expect.poll(() => page.locator(".chart .value").nth(1).textContent()).toContain("°C");
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 60, { steps: 4 });
  await page.mouse.up();
  await expect.poll(() => page.url()).toContain("from=2014-05-1");
  const range = new URL(page.url()).searchParams;
  const days = (Date.parse(range.get("to") ?? "") - Date.parse(range.get("from") ?? "")) / 86_400_000;
  expect(days).toBeGreaterThan(1.2);
  expect(days).toBeLessThan(1.6);
  await page.getByRole("button", { name: "30 d" }).click();
  await expect.poll(() => page.url()).toContain("range=30d");
  await page.getByText("2014-04-20 09:30 UTC to").waitFor();
  const names = await page.getByRole("img").evaluateAll((all) => all.map((e) => e.getAttribute("aria-label") ?? ""));
  expect(
    names.filter((n) => /^Plug temperature, .* °C to .* °C|^Plug temperature, .* to .* °C, 1 finding marked$/.test(n)),
  ).toHaveLength(1);
  expect(errors).toEqual([]);
});

test.concurrent("a unit's events stand below its charts, on their time axis", async ({ expect, visit }) => {
  const { page, errors } = await visit("/console/units/WC-000010");
  const list = page.getByRole("table", { name: "Events in this range, newest first" });
  await list.getByText("no carrier").waitFor();
  expect(await list.locator("tbody tr").count()).toBe(4);
  expect(await page.locator(".strip line").count()).toBe(4);
  await page.getByRole("combobox", { name: "Kind of event" }).click();
  await page.getByRole("option", { name: "Fault code" }).click();
  await list.getByText("no carrier").waitFor({ state: "detached" });
  await expect.poll(() => list.locator("tbody tr").count()).toBe(2);
  expect(errors).toEqual([]);
});

test.concurrent("what the service itself lacks is told on every page", async ({ expect, visit }) => {
  const { page } = await visit("/console/units", (m) => {
    m.short = {
      ready: false,
      engines: { records: "ok", disk: "the stream is full: 3 MiB free" },
      notes: [{ name: "disk", note: "room for another day" }],
    };
  });
  await page.getByText("The service cannot use its disk").waitFor();
  await page.getByText("the stream is full: 3 MiB free. Units are asked to wait").waitFor();
  await page.getByText("Room gets short").waitFor();
  expect(await page.getByText("cannot use its records").count()).toBe(0);
});

test.concurrent("times are switched between UTC and local", async ({ expect, visit }) => {
  const { page } = await visit("/console/");
  await page.getByText("2014-05-20 09:30 UTC").waitFor();
  await page.getByText("Local", { exact: true }).click();
  await expect.poll(() => page.locator(".tally time").textContent()).toMatch(/^2014-05-\d\d \d\d:\d\d \S+/);
});

test.concurrent("a finding is acknowledged, commented, shelved and assessed", async ({ expect, visit }) => {
  const { mock, page } = await visit("/console/findings/F-WC-000010");
  await page.getByRole("button", { name: "Acknowledge" }).click();
  await page.getByLabel("Add a comment").fill("Seen at the plug too.");
  await page.getByRole("button", { name: "Comment" }).click();
  await page.getByText("confirmed", { exact: true }).click();
  await page.getByLabel("Shelve for").first().click();
  await page.getByRole("option", { name: "1 day" }).click();
  await expect
    .poll(() => mock.operator.posts)
    .toEqual([
      { path: "findings/F-WC-000010/ack", body: undefined },
      { path: "findings/F-WC-000010/comments", body: { text: "Seen at the plug too." } },
      { path: "findings/F-WC-000010/assess", body: { assessment: "confirmed" } },
      { path: "findings/F-WC-000010/shelve", body: { until: "2014-05-21T09:30:00.000Z" } },
    ]);
});

test.concurrent("who else: the finding's suggestion is frozen as a cohort of three lists", async ({
  expect,
  visit,
}) => {
  const { mock, page } = await visit("/console/findings/F-WC-000010");
  await page.getByRole("link", { name: "Who else?" }).click();
  await expect.poll(() => page.getByRole("textbox", { name: /^Name/ }).inputValue()).toBe("hot-adapters");
  await page.getByText("31 of 65 (47.7 %)").waitFor();
  await page.getByRole("button", { name: "Add hardware B" }).click();
  await page.getByRole("button", { name: "Compute and freeze" }).click();
  await page.getByRole("tab", { name: "In · 96" }).waitFor();
  expect(mock.operator.posts[0]?.body).toMatchObject({
    definition: {
      evidence: { detector: { name: "plug-overheat", version: 2 } },
      attributes: { batch: ["2013-33", "2013-39"], hardware: ["B"] },
    },
  });
  await page.getByText("4,182,331").waitFor();
  await page.getByRole("tab", { name: "Not judgeable · 52" }).click();
  await page.getByText("its owner has not consented").first().waitFor();
  await page.getByRole("tab", { name: "In · 96" }).click();
  await page.getByLabel("Filter").fill("batch is");
  await page.getByText("32 members").waitFor();
});

test.concurrent("a campaign is looked at live, and paused with a reason", async ({ expect, visit }) => {
  const { mock, page } = await visit("/console/campaigns/adapter-overheat");
  for (const told of ["gate passed", "missing: a share of 90 % verified", "69.0 percentage points", "36.0 to 78.0"])
    await page.getByText(told).first().waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("dialog").getByLabel("Why").fill("a complaint from Bergen");
  await page.getByRole("dialog").getByRole("button", { name: "Pause" }).click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  expect(mock.operator.posts).toEqual([
    { path: "campaigns/adapter-overheat/pause", body: { why: "a complaint from Bergen" } },
  ]);
  await page.getByRole("link", { name: "Report" }).click();
  await page.getByText("the same detector, quiet over the required exposure").waitFor();
});

test.concurrent("a refusal in a dialog stays there, in the server's words", async ({ visit }) => {
  const { page } = await visit("/console/campaigns/adapter-overheat-us", (m) =>
    m.failing.set("/v1/campaigns/adapter-overheat-us/start", 409),
  );
  await page.getByRole("button", { name: "Start" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Start" }).click();
  await page.getByRole("dialog").getByText("the mock was told to refuse this").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  // Focus is given back in a task of its own, after the dialog is gone.
  await page.waitForFunction(() => document.activeElement?.textContent === "Start");
});

test.concurrent("a claim is approved only after its fingerprint is shown", async ({ expect, visit }) => {
  const { mock, page } = await visit("/console/claims");
  await page.getByRole("button", { name: "Approve" }).click();
  await page.getByRole("dialog").getByText("SHA256:9f2c41d07be85a33").waitFor();
  await page.getByRole("dialog").getByText("203.0.113.17").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Approve" }).click();
  await expect.poll(() => mock.operator.posts.map((p) => p.path)).toEqual(["claims/cl-0/approve"]);
});

test.concurrent("the threshold is moved by slider, number, chart and table, and the alarms move", async ({
  expect,
  visit,
}) => {
  const { mock, page, errors } = await visit("/console/detectors/plug-overheat/backtest");
  await page.locator(".uplot").nth(2).waitFor();
  const slider = page.getByRole("slider", { name: "margin" });
  expect(await slider.getAttribute("aria-valuetext")).toContain("2 °C");
  const alarms = page.getByRole("region", { name: "Unit WC-000010" });
  await alarms.getByText("3 alarms").waitFor();
  await slider.focus();
  await page.keyboard.press("Home");
  await alarms.getByText("4 alarms").waitFor();
  await page.getByText("60 false", { exact: false }).first().waitFor();
  await expect.poll(() => page.url()).toContain("at=0");
  await page.keyboard.press("End");
  await alarms.getByText("0 alarms").waitFor();
  // A number is taken to the nearest that was tried.
  await page.getByRole("textbox", { name: "margin" }).fill("4.2");
  await page.keyboard.press("Enter");
  await expect.poll(() => slider.getAttribute("aria-valuetext")).toContain("4 °C");
  await page.getByRole("button", { name: "Least cost" }).click();
  await expect.poll(() => slider.inputValue()).toBe("11");
  await page.getByRole("button", { name: "-5 °C" }).click();
  await expect.poll(() => slider.inputValue()).toBe("3");
  const cost = page.getByRole("img", { name: /^Cost by threshold/ });
  const box = await cost.boundingBox();
  if (!box) throw new Error("no curve");
  await cost.click({ position: { x: box.width * 0.95, y: box.height / 2 } });
  await expect.poll(async () => Number(await slider.inputValue())).toBeGreaterThan(17);
  await expect.poll(() => cost.getAttribute("aria-label")).toMatch(/cost \d+/);

  // It is applied after a question, and not the one that stands.
  await page.getByRole("button", { name: "Least cost" }).click();
  await page.getByRole("button", { name: "Apply as new version" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("becomes").waitFor();
  expect(mock.operator.posts).toEqual([]);
  await dialog.getByRole("button", { name: "Apply as new version" }).click();
  await page.getByText("It watches from now on").waitFor();
  const sent = mock.operator.posts[0] as { path: string; body: { documents: { kind: string; spec: object }[] } };
  expect(sent.path).toBe("apply");
  expect(sent.body.documents[0]?.spec).toMatchObject({ margin: 3, tolerance: "plug-heat", hold: "10m" });
  await page.getByRole("button", { name: "As declared" }).click();
  await page.getByText("This is the threshold as declared").waitFor();
  expect(errors).toEqual([]);
});

test.concurrent("a backtest is begun, looked at and cancelled", async ({ expect, visit }) => {
  const { mock, page, errors } = await visit("/console/detectors/plug-overheat");
  await page.getByText("from 1 min to 10 min").waitFor();
  await page.getByRole("link", { name: "Backtest" }).click();
  await page.getByRole("button", { name: "New backtest" }).click();
  await page.getByLabel("A missed failure costs").fill("50");
  await page.getByRole("button", { name: "Begin" }).click();
  await page.getByText("1,812,000 messages read").waitFor();
  expect(mock.operator.posts[0]).toMatchObject({
    path: "backtests",
    body: { name: "plug-overheat", sweep: { field: "margin" }, horizon: "30d", costFalse: 1, costMissed: 50 },
  });
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect.poll(() => mock.running).toBe(false);
  expect(errors).toEqual([]);
});

test.concurrent("what failed on a unit is recorded, by keyboard", async ({ expect, visit }) => {
  const { mock, page } = await visit("/console/units/WC-000010");
  await page.getByText("bearing ran dry").waitFor();
  await page.getByRole("button", { name: "Record" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.getByLabel("Part", { exact: true }).fill("fan");
  await page.getByLabel("Batch of the part put in").fill("F14-02");
  await page.getByLabel("When (UTC)").fill("2014-05-19T08:00");
  await page.getByRole("dialog").getByRole("button", { name: "Record" }).focus();
  await page.keyboard.press("Enter");
  await expect.poll(() => mock.operator.posts.length).toBe(1);
  expect(mock.operator.posts[0]).toEqual({
    path: "maintenance",
    body: {
      records: [
        {
          unitId: "WC-000010",
          at: "2014-05-19T08:00:00.000Z",
          part: "fan",
          kind: "replacement",
          reason: "failed",
          batch: "F14-02",
        },
      ],
    },
  });
});

test.concurrent("units by risk: filters stand in the address, a unit is one click away", async ({ expect, visit }) => {
  const { page } = await visit("/console/risk?state=heading");
  await page.getByText("WC-000001").waitFor();
  await page.getByText("7 units").waitFor();
  expect(await page.locator("tbody .mark.normal").count()).toBe(0);
  await page.getByRole("combobox", { name: "State" }).click();
  await page.getByRole("option", { name: "cannot tell" }).click();
  await expect.poll(() => page.url()).toContain("state=unknown");
  await page.getByText("no data of it since").waitFor();
  await page.getByRole("link", { name: "WC-000061" }).click();
  await page.getByRole("heading", { name: "WC-000061" }).waitFor();
});

test.concurrent("what holds units leads to those units", async ({ expect, visit }) => {
  const { page } = await visit("/console/campaigns/adapter-overheat");
  await page.getByRole("button", { name: "a precondition does not hold now" }).click();
  await expect.poll(() => new URL(page.url()).searchParams.get("code")).toBe("precondition");
});

test.concurrent("a campaign that the evidence paused says by what", async ({ expect, visit }) => {
  const { page, errors } = await visit("/console/campaigns/adapter-overheat-eu");
  await page.getByText("in fewer than 1 of 160 campaigns: stopped").first().waitFor();
  await page.getByRole("img", { name: "3 units failed of 14 begun; the campaign pauses at 2 of 2" }).waitFor();
  await page.getByText("observed only").waitFor();
  await page.getByRole("rowheader", { name: "Not yet offered" }).waitFor();
  expect(await page.getByText("Fewer by").count(), "too few units say nothing of a difference").toBe(0);
  await page.getByRole("button", { name: "Resume" }).waitFor();
  expect(errors).toEqual([]);
});

test.concurrent("a release is withdrawn with a reason, and what that stopped is told", async ({ expect, visit }) => {
  const { mock, page } = await visit("/console/releases/charger-2.0.0");
  await page.getByText("41 min: nine of ten of 212 installations").waitFor();
  await page.getByRole("button", { name: "Withdraw" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Why").fill("the display stays dark");
  await dialog.getByRole("button", { name: "Withdraw" }).click();
  await page.getByRole("dialog", { name: "charger-2.0.0 is withdrawn" }).getByText("Too late to stop").waitFor();
  expect(mock.operator.posts).toEqual([
    { path: "releases/charger-2.0.0/withdraw", body: { why: "the display stays dark" } },
  ]);
});

test.concurrent("the way back names the campaign that waits to be started", async ({ visit }) => {
  const { page } = await visit("/console/releases/charger-2.0.0");
  await page.getByRole("button", { name: "Make the way back" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Why").fill("dark display");
  await dialog.getByRole("button", { name: "Make the way back" }).click();
  await page.getByRole("link", { name: "back-charger-1.4.2-back" }).waitFor();
});

test.concurrent("an image is uploaded in pieces, and goes on after a broken connection", async ({ expect, visit }) => {
  const { mock, page } = await visit("/console/releases", (m) => (m.cut = 1));
  await page.getByRole("button", { name: "Upload an image" }).waitFor();
  await page.getByLabel("Image to upload").setInputFiles({
    name: "größe.swu",
    mimeType: "application/octet-stream",
    buffer: Buffer.alloc((8 << 20) + 5000, 7),
  });
  await page.getByText("Uploaded: 8.39 MB of 8.39 MB (100 %)").waitFor();
  await page.getByText("sha256:feedface").waitFor();
  expect(mock.uploaded).toEqual({ bytes: (8 << 20) + 5000, filename: "größe.swu" });
});

test.concurrent("a unit's register shows the newest entry first, with what changed", async ({ expect, visit }) => {
  const { page } = await visit("/console/units/WC-000010");
  const register = page.getByRole("region", { name: "Register of versions" });
  await register.getByText("no space left on the device").waitFor();
  expect(await register.locator(".mark").allTextContents()).toEqual(["failed", "installed", "reported"]);
  await page.getByRole("region", { name: "Parameters and features" }).getByText("drifted").waitFor();
});
