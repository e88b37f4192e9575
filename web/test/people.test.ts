import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Provider from "oidc-provider";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { axe, launch, open, overflow } from "./browser";

// Owners' journeys on the real program (FETTLE_BIN), in Chromium with a virtual
// authenticator, and with a certified OpenID provider.

const bin = process.env.FETTLE_BIN ?? "";
const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms));

let browser: Browser;
let fettle: ChildProcess;
let provider: Server;
let dir: string;
let base: string;
let said = "";

async function freePort(): Promise<number> {
  const s = createServer().listen(0, "127.0.0.1");
  await new Promise((r) => s.once("listening", r));
  const { port } = s.address() as AddressInfo;
  await new Promise((r) => s.close(r));
  return port;
}

const run = (...args: string[]) =>
  execFileSync(bin, args, { encoding: "utf8", env: { ...process.env, HOME: dir, XDG_CONFIG_HOME: dir } });

/** The newest link of a kind that was mailed, after a place in what was printed. */
async function mailed(pattern: RegExp, after = 0): Promise<string> {
  for (let i = 0; i < 100; i++) {
    const found = said.slice(after).match(pattern);
    if (found) return base + found[0];
    await sleep(100);
  }
  throw new Error(`no mail with ${pattern}`);
}

async function fine(page: Page, where: string) {
  expect(await overflow(page), where).toBe(0);
  expect(await axe(page), where).toEqual([]);
}

function serveProvider(issuer: string): Provider {
  return new Provider(issuer, {
    clients: [
      {
        client_id: "fettle",
        client_secret: "secret-of-the-test",
        redirect_uris: [`${base}/owner/v1/sign-in/oidc/test/callback`],
      },
    ],
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.org`, email_verified: id !== "mallory", name: id }),
    }),
  });
}

describe.runIf(bin)("owners", () => {
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "fettle-people-"));
    const port = await freePort();
    base = `http://localhost:${port}`;
    const issuer = `http://localhost:${await freePort()}`;
    provider = createServer(serveProvider(issuer).callback()).listen(Number(new URL(issuer).port), "localhost");
    writeFileSync(join(dir, "secret"), "secret-of-the-test");
    writeFileSync(
      join(dir, "providers.yaml"),
      `providers:\n  - {name: test, title: Test ID, issuer: "${issuer}", clientId: fettle, secretFile: ${dir}/secret}\n`,
    );
    fettle = spawn(bin, [
      "serve",
      "--dev",
      ...["--data", join(dir, "data"), "--listen", `127.0.0.1:${port}`, "--mqtt", "", "--public-url", base],
      ...["--oidc", join(dir, "providers.yaml")],
    ]);
    fettle.stderr?.on("data", (d) => {
      said += d;
    });
    for (let i = 0; i < 200; i++) {
      if (
        await fetch(`${base}/readyz`).then(
          (r) => r.ok,
          () => false,
        )
      )
        break;
      await sleep(100);
    }
    run("login", base, "--link", readFileSync(join(dir, "data/first-operator-link"), "utf8").trim());
    run("apply", "-f", "../docs/tutorials/ambient");
    browser = await launch();
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
    fettle?.kill();
    provider?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  test("claim by a scanned code, sign up, make a passkey, sign in by it; a copy of it opens nothing", async () => {
    const scanned = run("unit", "code", "create", "RS-000001", "--format", "csv").split("\n")[1]?.split(",")[4] ?? "";
    const { page, context, errors } = await open(browser, { viewport: { width: 320, height: 720 }, locale: "en" });
    await page.goto(scanned);
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByLabel("E-mail address").fill("eva@example.org");
    await fine(page, "claim");
    await page.getByRole("button", { name: "Send me a link" }).click();
    await page.goto(await mailed(/\/my\/claim#fek_[\w-]+/));
    await page.reload();
    await page.getByRole("button", { name: "Register and sign in" }).click();
    await page.getByText("It is yours").waitFor();
    await fine(page, "claimed");

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
      await page.goto(`${base}/my/account`);
      await page.getByRole("button", { name: "Sign out", exact: true }).last().click();
      await page.getByRole("button", { name: "Sign in with a passkey" }).waitFor();
    };
    await page.goto(`${base}/my/account`);
    await page.getByLabel("What to call it").fill("My phone");
    await page.getByRole("button", { name: "Add a passkey" }).click();
    await page.getByText("You can sign in with it").waitFor();
    await fine(page, "account");
    await signOut();
    await fine(page, "sign in");
    await page.getByRole("button", { name: "Sign in with a passkey" }).click();
    await page.waitForURL((u) => !u.pathname.includes("sign-in"));

    const { credentials } = await cdp.send("WebAuthn.getCredentials", { authenticatorId });
    const [key] = credentials;
    if (!key) throw new Error("no passkey was made");
    await cdp.send("WebAuthn.removeCredential", { authenticatorId, credentialId: key.credentialId });
    await cdp.send("WebAuthn.addCredential", { authenticatorId, credential: { ...key, signCount: 0 } });
    await signOut();
    await page.getByRole("button", { name: "Sign in with a passkey" }).click();
    await page.getByText("may have been copied").waitFor();
    expect(errors).toEqual([]);
    await context.close();
  }, 60_000);

  test("an account elsewhere signs in; one whose address is not verified, and answers that were changed, do not", async () => {
    const visit = async (who: string, change?: (u: URL) => void) => {
      const { page, context } = await open(browser, { locale: "en" });
      if (change)
        await page.route("**/owner/v1/sign-in/oidc/test?*", async (route) => {
          const response = await route.fetch({ maxRedirects: 0 });
          const to = new URL(response.headers().location ?? "");
          change(to);
          await route.fulfill({ response, headers: { ...response.headers(), location: to.href } });
        });
      await page.goto(`${base}/my/sign-in`);
      await page.getByRole("link", { name: "Sign in with Test ID" }).click();
      await page.fill("input[name=login]", who);
      await page.fill("input[name=password]", "any");
      await page.click("button[type=submit]");
      await page.getByRole("button", { name: /continue/i }).click();
      await page.waitForURL((u) => u.origin === base && u.pathname.startsWith("/my/"));
      await page.getByRole("heading", { level: 1 }).waitFor();
      const signedIn = (await context.cookies()).some((c) => c.name === "fettle_owner");
      const why = (await page.getByRole("alert").allInnerTexts()).join();
      await context.close();
      return { signedIn, why };
    };
    expect(await visit("ulla")).toEqual({ signedIn: true, why: "" });
    for (const [who, change, why] of [
      ["mallory", undefined, "has not verified a mail address"],
      ["ulla", (u: URL) => u.searchParams.set("nonce", "another"), "belongs to another sign-in"],
      ["ulla", (u: URL) => u.searchParams.set("state", "feq_another"), "was not begun in this browser"],
      [
        "ulla",
        (u: URL) => u.searchParams.set("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        "code was not",
      ],
    ] as const) {
      const got = await visit(who, change);
      expect(got.signedIn, why).toBe(false);
      expect(got.why).toContain(why);
    }
  }, 90_000);
});
