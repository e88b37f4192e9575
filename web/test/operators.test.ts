import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fleet, remedy } from "./journeys/charger";
import { bin, fine, Ground, type Person, Unit, until } from "./journeys/ground";

// Operators at the real program (FETTLE_BIN), in Chromium: four eyes over a
// campaign, its course followed live in another window, and what somebody sees
// whose sight is bounded.

const owners = { "WC-1": "ada@example.org", "WC-2": "ben@example.org" };
const campaign = "checked-plugs";

describe.runIf(bin)("operators", () => {
  const ground = new Ground();
  let unit: Unit;

  beforeAll(async () => {
    await ground.begin(async () => ({ args: ["--four-eyes", "all"] }));
    writeFileSync(join(ground.dir, "charger-2.0.0.swu"), "the remedy");
    ground.apply(fleet(owners));
    const { items } = await ground.call<{ items: { unitId: string; token: string }[] }>("POST", "/v1/unit-tokens", {
      units: ["WC-1"],
    });
    unit = new Unit(ground, "WC-1", items[0]?.token ?? "");
    await unit.attributes("1.0.0");
    await unit.charge(45, 2);
    const definition = { name: campaign, product: "wall-charger", attributes: { batch: ["WC-1"] } };
    await ground.call("POST", "/v1/cohorts", { definition });
    await until("the cohort", async () => {
      const { items } = await ground.call<{ items: { state: string }[] }>("GET", `/v1/cohorts?name=${campaign}`);
      return items[0]?.state === "ready";
    });
    ground.apply(remedy("safety", campaign, "2.0.0", "21d"));
  });

  afterAll(() => ground.end());

  /** Somebody who is invited, and signs in by the link of the invitation. */
  async function invited(email: string, role: string, ...more: string[]): Promise<Person> {
    const said = ground.run("operator", "invite", email, "--role", role, ...more);
    const p = await ground.person({ viewport: { width: 1280, height: 800 } });
    await p.page.goto(said.match(/http\S+#fel_[\w-]+/)?.[0] ?? "");
    await p.page.getByRole("button", { name: "Sign in" }).click();
    await p.page.waitForURL((u) => !u.pathname.includes("sign-in"));
    return p;
  }

  const state = async () => (await ground.call<{ state: string }>("GET", `/v1/campaigns/${campaign}`)).state;

  test("one asks, another approves; it is paused, resumed and cancelled, and both see it as it happens", async () => {
    const frank = await invited("frank@example.org", "release-manager");
    const vera = await invited("vera@example.org", "release-manager");
    const act = async ({ page }: Person, label: string, why?: string) => {
      await page.getByRole("button", { name: label, exact: true }).first().click();
      const dialog = page.getByRole("dialog");
      if (why) await dialog.getByRole("textbox").fill(why);
      await dialog.getByRole("button", { name: label, exact: true }).click();
      await dialog.waitFor({ state: "detached" });
    };

    // Who asks cannot approve: not on the campaign, not among the approvals.
    await frank.go(`/console/campaigns/${campaign}`);
    await act(frank, "Start");
    await frank.page.getByText("frank@example.org asked for its start").waitFor();
    expect(await state()).toBe("draft");
    await frank.go("/console/approvals");
    await frank.page.getByRole("button", { name: "Take back" }).waitFor();
    expect(await frank.page.getByRole("button", { name: "Approve" }).count()).toBe(0);
    await fine(frank, "approvals of who asked");

    // Refused once, asked again, approved.
    await vera.go("/console/approvals");
    await act(vera, "Reject", "test it on the bench first");
    await vera.page.getByText("test it on the bench first").waitFor();
    await frank.go(`/console/campaigns/${campaign}`);
    await act(frank, "Start");
    await vera.go("/console/approvals");
    await act(vera, "Approve", "checked on the bench");
    await vera.page.getByText("checked on the bench").waitFor();
    await fine(vera, "approvals");
    // Frank's window is told without his doing anything.
    await frank.page.getByRole("button", { name: "Pause" }).waitFor();
    expect(await state()).toBe("running");

    await vera.go(`/console/campaigns/${campaign}`);
    await act(vera, "Pause", "the hotline is full");
    await frank.page.getByRole("button", { name: "Resume" }).waitFor();
    await frank.page.getByText("the hotline is full").first().waitFor();
    expect(await state()).toBe("paused");
    await fine(frank, "a paused campaign");
    await act(frank, "Resume");
    await vera.page.getByRole("button", { name: "Pause" }).waitFor();
    expect(await state()).toBe("running");

    // The owner takes it, the unit is offered it; then it is cancelled, and the unit hears so.
    const ada = await ground.owner(owners["WC-1"]);
    await ada.go("/my/units/WC-1");
    await ada.page.getByRole("button", { name: "Start now" }).click();
    await unit.fetches();
    await act(vera, "Cancel", "the plug was not it");
    await frank.page.getByText("the plug was not it").first().waitFor();
    await expect.poll(() => frank.page.getByRole("button", { name: /^(Pause|Resume|Cancel)$/ }).count()).toBe(0);
    expect(await state()).toBe("canceled");
    await fine(frank, "a cancelled campaign");
    for (const p of [frank, vera, ada]) await p.context.close();
  });

  test("who sees one region is told so where figures are of all, and nothing fails", async () => {
    ground.apply(`apiVersion: fettle.dev/v1
kind: Unit
metadata: {name: WC-9}
spec: {product: wall-charger, serial: S-WC-9, region: south}
`);
    const rita = await invited("rita@example.org", "engineer", "--region", "south");
    await rita.page.getByText("You see units in region south.").waitFor();
    const menu = await rita.page.locator("nav a").evaluateAll((all) => all.map((a) => a.getAttribute("href") ?? ""));
    expect(menu).toContain("/console/units");
    for (const shut of ["audit", "people", "parts", "cohorts", "calls"]) expect(menu).not.toContain(`/console/${shut}`);
    for (const path of menu) {
      await rita.go(path);
      await rita.page.getByRole("heading", { level: 1 }).waitFor();
      await rita.page.waitForFunction(() => !document.querySelector(".mantine-Skeleton-root, .loading"));
      expect(await rita.page.getByRole("alert").allTextContents(), path).toEqual([]);
      expect(await rita.page.getByText("WC-1", { exact: true }).count(), path).toBe(0);
    }
    await rita.go("/console/units/WC-9");
    await rita.page.getByRole("heading", { name: "WC-9" }).waitFor();
    await rita.page.getByText("Not for you to see").first().waitFor(); // the register of versions is the whole service's
    await fine(rita, "a unit in sight");
    await rita.go("/console/parts");
    await rita.page.getByText("bounded to some").first().waitFor();
    await rita.go("/console/units/WC-1");
    await rita.page.getByText('no unit "WC-1"').waitFor();
    await rita.context.close();
  });
});
