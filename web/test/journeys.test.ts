import { writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import Provider from "oidc-provider";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { kept } from "./browser";
import { fleet, remedy, titles } from "./journeys/charger";
import { bin, fine, freePort, Ground, Unit, until } from "./journeys/ground";
import { click, deliver, PushService } from "./journeys/push";

// Owners' journeys on the real program (FETTLE_BIN), in Chromium, each once:
// signing in by mail, passkey and account elsewhere, claiming, updates from
// offer to proof, consent, notices, people, rights, sharing, what is set,
// languages, offline, messages to the browser. One server for all of them, so
// each has an owner of its own.

const owners = {
  "WC-1": "ada@example.org", // takes the safety update
  "WC-2": "ben@example.org", // puts it off, and declines
  "WC-3": "dan@example.org", // is asked by push, and lets the time pass
  "WC-4": "eve@example.org", // decides on her data, and shares it
  "WC-5": "fay@example.org", // has people
  "WC-6": "gus@example.org", // is erased
};

describe.runIf(bin)("an owner", () => {
  const ground = new Ground();
  const push = new PushService(ground.dir);
  const units = new Map<string, Unit>();
  const unit = (id: string) => units.get(id) as Unit;
  let provider: Server;

  beforeAll(async () => {
    await push.open();
    await ground.begin(async (base) => {
      const issuer = `http://localhost:${await freePort()}`;
      const redirect = `${base}/owner/v1/sign-in/oidc/test/callback`;
      const client = { client_id: "fettle", client_secret: "secret-of-the-test", redirect_uris: [redirect] };
      const oidc = new Provider(issuer, {
        clients: [client],
        claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
        conformIdTokenClaims: false,
        findAccount: (_, id) => ({
          accountId: id,
          claims: () => ({ sub: id, email: `${id}@example.org`, email_verified: id !== "mallory", name: id }),
        }),
      });
      provider = createServer(oidc.callback()).listen(Number(new URL(issuer).port), "localhost");
      writeFileSync(join(ground.dir, "secret"), client.client_secret);
      const one = `{name: test, title: Test ID, issuer: "${issuer}", clientId: fettle, secretFile: ${ground.dir}/secret}`;
      writeFileSync(join(ground.dir, "providers.yaml"), `providers:\n  - ${one}\n`);
      return { args: ["--oidc", join(ground.dir, "providers.yaml")], env: { SSL_CERT_FILE: push.certificate } };
    });
    ground.apply(`${fleet(owners)}---
apiVersion: fettle.dev/v1
kind: Unit
metadata: {name: WC-7}
spec: {product: wall-charger, serial: S-WC-7}
`);
    const ids = [...Object.keys(owners), "WC-7"];
    const { items } = await ground.call<{ items: { unitId: string; token: string }[] }>("POST", "/v1/unit-tokens", {
      units: ids,
    });
    for (const { unitId, token } of items) units.set(unitId, new Unit(ground, unitId, token));
    await Promise.all(
      ids.slice(0, 4).map(async (id) => {
        await unit(id).attributes("1.0.0");
        await unit(id).charge(id === "WC-1" || id === "WC-2" ? 95 : 45, 6);
      }),
    );
  });

  beforeEach(({ onTestFailed }) => onTestFailed(() => ground.report()));

  afterAll(async () => {
    await ground.end();
    push.close();
    provider?.close();
  });

  test("claims a unit by its code, signs up, makes a passkey and signs in by it; a copy of it opens nothing", async () => {
    const scanned = ground.run("unit", "code", "create", "WC-7", "--format", "csv").split("\n")[1]?.split(",")[4] ?? "";
    const zoe = await ground.person({ viewport: { width: 320, height: 720 } });
    const { page, context } = zoe;
    await page.goto(scanned);
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByLabel("E-mail address").fill("zoe@example.org");
    await page.getByRole("button", { name: "Send me a link" }).click();
    await page.goto(await ground.post.link("zoe@example.org", /http\S+claim#fek_[\w-]+/));
    await page.reload();
    await page.getByRole("button", { name: "Register and sign in" }).click();
    await page.getByText("It is yours").waitFor();
    await fine(zoe, "claimed");

    const cdp = await context.newCDPSession(page);
    await cdp.send("WebAuthn.enable");
    const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", {
      options: {
        protocol: "ctap2",
        transport: "internal",
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    });
    const signOut = async () => {
      await page.getByRole("button", { name: "Sign out", exact: true }).last().click();
      await page.getByRole("button", { name: "Sign in with a passkey" }).waitFor();
    };
    await zoe.go("/my/account");
    await page.getByLabel("What to call it").fill("My phone");
    await page.getByRole("button", { name: "Add a passkey" }).click();
    await page.getByText("You can sign in with it").waitFor();
    await fine(zoe, "account");
    await signOut();
    await page.getByRole("button", { name: "Sign in with a passkey" }).click();
    await page.waitForURL((u) => !u.pathname.includes("sign-in"));

    const { credentials } = await cdp.send("WebAuthn.getCredentials", { authenticatorId });
    const [key] = credentials;
    if (!key) throw new Error("no passkey was made");
    await cdp.send("WebAuthn.removeCredential", { authenticatorId, credentialId: key.credentialId });
    await cdp.send("WebAuthn.addCredential", { authenticatorId, credential: { ...key, signCount: 0 } });
    await zoe.go("/my/account");
    await signOut();
    await page.getByRole("button", { name: "Sign in with a passkey" }).click();
    await page.getByText("may have been copied").waitFor();
    await context.close();
  });

  test("signs in by an account elsewhere; one whose address is not verified, and answers that were changed, do not", async () => {
    const visit = async (who: string, change?: (u: URL) => void) => {
      const { page, context, go } = await ground.person();
      if (change)
        await page.route("**/owner/v1/sign-in/oidc/test?*", async (route) => {
          const response = await route.fetch({ maxRedirects: 0 });
          const to = new URL(response.headers().location ?? "");
          change(to);
          await route.fulfill({ response, headers: { ...response.headers(), location: to.href } });
        });
      await go("/my/sign-in");
      await page.getByRole("link", { name: "Sign in with Test ID" }).click();
      await page.fill("input[name=login]", who);
      await page.fill("input[name=password]", "any");
      await page.click("button[type=submit]");
      await page.getByRole("button", { name: /continue/i }).click();
      await page.waitForURL((u) => u.origin === ground.base && u.pathname.startsWith("/my/"));
      await page.getByRole("heading", { level: 1 }).waitFor();
      const signedIn = (await context.cookies()).some((c) => c.name === "fettle_owner");
      const why = (await page.getByRole("alert").allInnerTexts()).join();
      await context.close();
      return { who, signedIn, why };
    };
    const changed = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    const [good, ...bad] = await Promise.all([
      visit("ulla"),
      visit("mallory"),
      visit("ulla", (u) => u.searchParams.set("nonce", "another")),
      visit("ulla", (u) => u.searchParams.set("state", "feq_another")),
      visit("ulla", (u) => u.searchParams.set("code_challenge", changed)),
    ]);
    expect(good).toEqual({ who: "ulla", signedIn: true, why: "" });
    expect(bad.filter((b) => b?.signedIn)).toEqual([]);
    const why = [
      "has not verified a mail address",
      "belongs to another sign-in",
      "was not begun in this browser",
      "code was not",
    ];
    for (const [i, words] of why.entries()) expect(bad[i]?.why).toContain(words);
  });

  test("is told of a fault, starts the update, sees it go, and the proof", async () => {
    const finding = await until("the findings", async () => {
      const { items } = await ground.call<{ items: { id: string }[] }>("GET", "/v1/findings?product=wall-charger");
      return items.length === 2 && items[0]?.id;
    });
    ground.run("cohort", "create", "--finding", finding, "--name", "hot-plugs");
    writeFileSync(join(ground.dir, "charger-2.0.0.swu"), "the safety update");
    ground.apply(remedy("safety", "hot-plugs", "2.0.0", "21d"));
    ground.run("campaign", "start", "hot-plugs", "--yes");

    // The notice comes by mail, and its link leads into the portal.
    const mail = await until("the offer by mail", () =>
      ground.post.mails.find((m) => m.to === owners["WC-1"] && m.subject.includes(titles.safety)),
    );
    expect(mail.text).toContain(`${ground.base}/my/`);
    const ada = await ground.owner(owners["WC-1"]);
    const { page } = ada;
    await page.getByRole("heading", { name: "Wall charger", exact: true }).waitFor();
    for (const told of [
      "about 45 minutes",
      "can become too hot",
      "Charging pauses",
      "never starts by itself",
      "95 °C",
      "80 °C or below",
    ])
      await page.getByText(told).first().waitFor();
    await fine(ada, "offered");
    await page.getByRole("button", { name: "Start now" }).click();
    await page.getByText("About to start").waitFor();

    const id = await unit("WC-1").fetches();
    await unit("WC-1").tells(id, "proceeding", "none", 40);
    await page.reload();
    await page.getByText("Installing", { exact: true }).first().waitFor();
    expect(await page.getByRole("button", { name: "Start now" }).count()).toBe(0);
    await unit("WC-1").tells(id, "closed", "success");
    await unit("WC-1").attributes("2.0.0");
    await page.getByText("Quiet for").or(page.getByText("It has not been used since the update")).first().waitFor();
    await page.getByText("Installed, and safe to use").waitFor();

    await ground.step(24);
    await unit("WC-1").charge(45, 3);
    await until("the proof", async () => {
      const { items } = await ground.call<{ items: { unitId: string; state: string }[] }>(
        "GET",
        "/v1/campaigns/hot-plugs/tasks",
      );
      return items.find((i) => i.unitId === "WC-1")?.state === "verified";
    });
    await page.reload();
    await page.getByText("Done, and safe to use").waitFor();
    await page.getByText("the fault did not come back").waitFor();
    await fine(ada, "proved");
    await page.getByRole("link", { name: "History" }).first().click();
    await page.getByText(titles.safety).first().waitFor();
    await fine(ada, "history");

    // It stands among the notices, and is acknowledged there.
    await ada.go("/my/notices");
    const notice = page.locator("details.notice", { hasText: titles.safety }).last();
    await notice.locator("summary").click();
    await notice.getByRole("button", { name: "I have read it" }).click();
    await notice.getByText("that you have read this").waitFor();
    await page.reload();
    await page.locator("details.notice", { hasText: titles.safety }).last().locator("summary").click();
    await page.getByText("that you have read this").waitFor();
    await fine(ada, "notices");
    await ada.context.close();
  });

  test("sets a time, postpones, and declines after being asked once more", async () => {
    const ben = await ground.owner(owners["WC-2"]);
    const { page } = ben;
    await page.getByRole("button", { name: "Tonight" }).click();
    await page.getByText(/^Planned for/).waitFor();
    await page.getByRole("button", { name: "Set a time" }).click();
    const at = page.getByLabel("Day and time (Europe/London)");
    await at.fill("2014-01-01T20:00");
    await page.getByRole("button", { name: "Set this time" }).click();
    await page.getByText("That time has passed").waitFor();
    const later = new Date(ground.now() + 3 * 24 * 3600_000);
    await at.fill(`${later.toISOString().slice(0, 10)}T21:30`);
    await page.getByRole("button", { name: "Set this time" }).click();
    await page.getByText(/^Planned for .*21:30/).waitFor();
    await page.getByRole("button", { name: "Not now" }).click();
    await page.getByText("Postponed").waitFor();
    expect(await (await page.request.get(`${ground.base}/owner/v1/updates`)).json()).toMatchObject({
      items: [{ state: "snoozed" }],
    });
    await page.getByRole("button", { name: "I don’t want this update" }).click();
    await page.getByText("The safety problem described above will remain").waitFor();
    await fine(ben, "declining");
    await page.getByRole("button", { name: "Decline", exact: true }).click();
    await page.getByText("Declined", { exact: true }).waitFor();
    await expect(unit("WC-2").collects()).resolves.toContain("current"); // what was consented to goes on
    await ben.context.close();
  });

  test("gets messages pushed to the browser after a click, which open the page; and lets an offer's time pass", async () => {
    const dan = await ground.owner(owners["WC-3"]);
    const { page, context } = dan;
    await push.within(page);
    let asked = 0;
    await page.exposeFunction("asked", () => asked++);
    await page.addInitScript(() => {
      const real = Notification.requestPermission.bind(Notification);
      Notification.requestPermission = async () => {
        await (globalThis as unknown as { asked: () => Promise<void> }).asked();
        return real();
      };
    });
    await dan.go("/my/notices");
    await page.getByText("Push messages are off for this device").waitFor();
    expect(asked).toBe(0);
    await context.grantPermissions(["notifications"]); // what a person does when the browser asks
    await page.getByRole("button", { name: "Turn on push messages" }).click();
    await page.getByText("Push messages are on for this device").waitFor();
    await page.getByText("You still get messages another way first").waitFor();
    expect(asked).toBe(1);
    await page.getByLabel("Messages come by").selectOption({ label: "Push message" });
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved.").waitFor();
    await fine(dan, "push");

    const definition = { name: "night", product: "wall-charger", attributes: { batch: ["WC-3"] } };
    await ground.call("POST", "/v1/cohorts", { definition });
    writeFileSync(join(ground.dir, "charger-3.0.0.swu"), "the feature");
    await until("the cohort", async () => {
      const { items } = await ground.call<{ items: { state: string }[] }>("GET", "/v1/cohorts?name=night");
      return items[0]?.state === "ready";
    });
    ground.apply(remedy("feature", "night", "3.0.0", "2d"));
    ground.run("campaign", "start", "night", "--yes");

    const { headers, text } = await push.next(0);
    expect(headers).toMatchObject({
      "content-encoding": "aes128gcm",
      authorization: expect.stringMatching(/^vapid t=/),
    });
    const said = JSON.parse(text);
    expect(said).toMatchObject({
      title: expect.stringContaining(titles.feature),
      lang: "en",
      link: expect.stringContaining("/my/"),
    });
    const shown = await deliver(dan, text);
    expect(shown).toEqual({ title: said.title, body: said.body, lang: "en", tag: said.tag || said.id });
    await click(dan);
    await page.waitForURL(said.link);
    await page.getByRole("heading", { name: titles.feature }).waitFor();

    await page.getByRole("button", { name: "Not now" }).click();
    await page.getByText("Postponed").waitFor();
    await ground.step(49);
    await page.reload();
    await page.getByText("The offer has ended").waitFor();
    await fine(dan, "expired");

    // Whoever leaves takes it along: nothing more is pushed here.
    await dan.go("/my/account");
    await page.getByRole("button", { name: "Sign out", exact: true }).last().click();
    await page.getByLabel("E-mail address").waitFor();
    expect(await page.evaluate(() => localStorage.getItem("test.subscription"))).toBeNull();
    await context.close();
  });

  test("withdraws consent and gives it again by the same switch; the unit is told and nothing more is taken", async () => {
    const eve = await ground.owner(owners["WC-4"]);
    const { page } = eve;
    await page.getByRole("link", { name: "My data" }).first().click();
    const care = page.getByRole("switch", { name: "Looking after your charger" });
    expect(await care.getAttribute("aria-checked")).toBe("true");
    expect(await unit("WC-4").collects()).toContain("plug_temperature");
    await care.click();
    await page.getByText(/Receipt number \S+/).waitFor();
    expect(await unit("WC-4").collects()).toEqual(["charging"]);
    expect(await unit("WC-4").charge(45, 0.1)).toEqual({ kept: 4, notConsented: 8 });
    await page.getByText("Erased: Current, Plug temperature").waitFor();
    await fine(eve, "withdrawn");
    await care.focus();
    await page.keyboard.press("Space");
    await until("the consent", async () => (await unit("WC-4").collects()).includes("plug_temperature"));
    expect(await care.getAttribute("aria-checked")).toBe("true");

    // She shares, sees what was fetched, and ends it.
    await page.getByRole("textbox", { name: "Who" }).fill("Garage Lind");
    await page.getByRole("textbox", { name: "Their email or web address" }).fill("garage@lind.example");
    await page.getByRole("checkbox", { name: "Plug temperature" }).check();
    await page
      .getByLabel("Until", { exact: true })
      .fill(new Date(ground.now() + 30 * 24 * 3600_000).toISOString().slice(0, 10));
    await page.getByRole("button", { name: "Share", exact: true }).click();
    const token = await page.locator("code.words").innerText();
    await unit("WC-4").charge(46.5, 0);
    const fetched = () => fetch(`${ground.base}/share/v1/samples`, { headers: { authorization: `Bearer ${token}` } });
    const shared = await until("the shared values", async () => {
      const { items } = (await (await fetched()).json()) as { items?: { values: unknown }[] };
      return items?.[0]?.values;
    });
    expect(shared).toEqual({ plug_temperature: 46.5 });
    await page.getByText("What Garage Lind has fetched").click();
    await page.getByRole("cell", { name: "Stored measurements" }).first().waitFor();
    await fine(eve, "shared");
    await page.getByRole("button", { name: "Stop sharing with Garage Lind" }).click();
    await page.getByText(/^Ended/).waitFor();
    expect((await fetched()).status).toBe(401);

    // Somebody looked.
    await ground.call(
      "GET",
      "/v1/units/WC-4/series?signal=plug_temperature&from=2014-01-01T00:00:00Z&to=2100-01-01T00:00:00Z",
    );
    await page.getByRole("link", { name: "See the list" }).click();
    await page.getByText("What your product measured").first().waitFor();
    await fine(eve, "looks");
    await eve.context.close();
  });

  test("invites a driver, hands the unit over, and the next owner says farewell", async () => {
    const fay = await ground.owner(owners["WC-5"]);
    await fay.go("/my/units/WC-5/people");
    const invite = fay.page.locator("form", { hasText: "Invite somebody to use it" });
    await invite.getByLabel("Their e-mail address").fill("hal@example.org");
    await invite.getByRole("button", { name: "Send the invitation" }).click();
    await fay.page.getByText("An invitation is on its way to hal@example.org").waitFor();

    const hal = await ground.person();
    await hal.page.goto(await ground.post.link("hal@example.org", /http\S+invitation#\S+/));
    await hal.page.getByText("Fay invites you").waitFor();
    await fine(hal, "invitation");
    await hal.page.getByRole("button", { name: "Accept" }).click();
    await hal.page.getByRole("link", { name: "See how it is doing" }).click();
    await hal.page.getByRole("heading", { name: "Wall charger", exact: true }).waitFor();
    expect(await hal.page.getByRole("link", { name: "My data" }).count()).toBe(0);
    expect((await hal.page.request.get(`${ground.base}/owner/v1/units/WC-5/data`)).status()).toBe(403);

    await fay.page.reload();
    await fay.page.getByText("hal@example.org").first().waitFor();
    await fine(fay, "people");
    await fay.page.getByLabel("E-mail address of the new owner").fill("ida@example.org");
    await fay.page.getByRole("button", { name: "Offer it by e-mail" }).click();
    await fay.page.getByText("It is yours until they accept").waitFor();
    const ida = await ground.person();
    await ida.page.goto(await ground.post.link("ida@example.org", /http\S+invitation#\S+/));
    await ida.page.getByText("hands their Wall charger over to you").waitFor();
    await ida.page.getByRole("button", { name: "Accept" }).click();
    await ida.page.getByRole("link", { name: "Decide about my data" }).click();
    expect(await ida.page.getByRole("switch").first().getAttribute("aria-checked")).toBe("false");
    expect((await fay.page.request.get(`${ground.base}/owner/v1/units/WC-5`)).status()).toBe(404);
    expect((await hal.page.request.get(`${ground.base}/owner/v1/units/WC-5`)).status()).toBe(404);

    await ida.go("/my/units/WC-5/people");
    await ida.page.getByRole("button", { name: "Say farewell" }).click();
    await ida.page.getByRole("button", { name: "Yes, farewell" }).click();
    await ida.page.getByText("No product is registered to you yet").waitFor();
    await fine(ida, "after the farewell");
    for (const p of [fay, hal, ida]) await p.context.close();
  });

  test("restricts the use of the data, ends that, and is erased, with a receipt", async () => {
    const gus = await ground.owner(owners["WC-6"]);
    const { page } = gus;
    await gus.go("/my/units/WC-6/data");
    await page.getByLabel("What do you ask for?").selectOption({ label: "Keep my data, but do not use it" });
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.getByText("It has arrived").waitFor();
    await page.getByText("this data is kept and not used").waitFor();
    expect(await unit("WC-6").collects()).toEqual([]);
    await page.getByRole("button", { name: "End this" }).click();
    await until("the end of the restriction", async () => (await unit("WC-6").collects()).includes("current"));
    await page.getByText("Erase everything about me").click();
    const address = page.getByLabel("Type your e-mail address once more");
    await address.fill("guz@example.org");
    await page.getByRole("button", { name: "Erase for good" }).click();
    await page.getByRole("alert").first().waitFor();
    await fine(gus, "rights");
    await address.fill(owners["WC-6"]);
    await page.getByRole("button", { name: "Erase for good" }).click();
    await page.getByText("Everything that named you was erased").waitFor();
    expect(new URL(page.url()).pathname).toBe("/my/erased");
    await fine(gus, "erased");
    await gus.go("/my/");
    await page.getByLabel("E-mail address").waitFor();
    await gus.context.close();
  });

  test("sets languages, hours and addresses, which stay; and opens the app offline", async () => {
    const ada = await ground.owner(owners["WC-1"], { viewport: { width: 320, height: 640 } });
    const { page, context } = ada;
    await ada.go("/my/settings");
    await page.getByLabel("From").first().fill("20:30");
    await page.getByLabel("Start them by themselves").uncheck();
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved.").waitFor();
    await ada.go("/my/notices");
    await page.getByRole("checkbox", { name: "Tips" }).uncheck();
    await page.getByLabel("Mobile phone").fill("+44 7700 900123");
    await page.getByLabel("Language of messages").selectOption("de");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved.").waitFor();
    await page.reload();
    expect(await page.getByLabel("Mobile phone").inputValue()).toBe("+447700900123");
    expect(await page.getByRole("checkbox", { name: "Tips" }).isChecked()).toBe(false);
    const preferences = await (await page.request.get(`${ground.base}/owner/v1/preferences`)).json();
    expect(preferences).toMatchObject({
      language: "de",
      off: ["tip"],
      manual: true,
      quiet: [{ from: "20:30", to: "08:00" }],
    });

    // What the maker has words for is said anew, too.
    await ada.go("/my/units/WC-1/data");
    await page.getByLabel("Language").selectOption("de");
    await page.getByRole("switch", { name: "Nach Ihrem Ladegerät sehen" }).waitFor();
    await page.getByRole("heading", { name: "Daten Ihres Ladegeräts" }).waitFor();
    expect(await page.evaluate(() => document.documentElement.lang)).toBe("de");
    await fine(ada, "in German");
    await kept(page);
    await context.setOffline(true);
    await page.reload();
    await page.getByText("Sie sind offline").first().waitFor();
    expect(await page.getByText("S-WC-1").count()).toBe(0);
    await context.setOffline(false);
    await context.close();
  });
});
