import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import type { Browser, BrowserContext, Page } from "playwright-core";
import PostalMime from "postal-mime";
import { SMTPServer } from "smtp-server";
import { expect } from "vitest";
import { axe, launch, open, overflow } from "../browser";

// What the journeys go over: the real program with a mail server, a fleet of
// chargers whose units speak its public doors, and people at browsers.

export const bin = process.env.FETTLE_BIN ?? "";
const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms));

export async function freePort(): Promise<number> {
  const s = createServer().listen(0, "127.0.0.1");
  await new Promise((r) => s.once("listening", r));
  const { port } = s.address() as AddressInfo;
  await new Promise((r) => s.close(r));
  return port;
}

/** Asks again until there is something, for two minutes: the machine may do much else. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  for (const began = Date.now(); Date.now() - began < 120_000; await sleep(50)) {
    const got = await look();
    if (got) return got;
  }
  throw new Error(`waited in vain for ${what}`);
}

export type Mail = { to: string; subject: string; text: string };

/** A mail server that keeps what it takes; mails are read as any client reads them. */
export class PostOffice {
  readonly mails: Mail[] = [];
  private readonly server = new SMTPServer({
    disabledCommands: ["AUTH", "STARTTLS"],
    onData: async (stream, session, done) => {
      const read = await PostalMime.parse(await buffer(stream));
      for (const { address } of session.envelope.rcptTo)
        this.mails.push({ to: address, subject: read.subject ?? "", text: read.text ?? "" });
      done();
    },
  });

  async open(): Promise<string> {
    await new Promise<void>((listening) => this.server.listen(0, "127.0.0.1", listening));
    return `smtp://127.0.0.1:${(this.server.server.address() as AddressInfo).port}`;
  }

  close = () => new Promise<void>((closed) => this.server.close(closed));

  /** The first mail to somebody, after so many mails, that holds a link as described; and the link. */
  link(to: string, pattern: RegExp, after = 0): Promise<string> {
    return until(`a mail to ${to} with ${pattern}`, () => {
      for (const m of this.mails.slice(after)) {
        const found = m.to === to && m.text.match(pattern);
        if (found) return found[0];
      }
      return undefined;
    });
  }
}

type Env = Record<string, string>;

/** A running service, its operator, its mail and its clock. */
export class Ground {
  readonly dir = mkdtempSync(join(tmpdir(), "fettle-journeys-"));
  readonly post = new PostOffice();
  base = "";
  browser!: Browser;
  private fettle?: ChildProcess;
  private said = "";
  private token = "";
  private off = 0;

  /** Starts everything; more arguments and environment are the server's. `before` is told its address. */
  async begin(before: (base: string) => Promise<{ args: string[]; env?: Env }>): Promise<void> {
    const port = await freePort();
    this.base = `http://localhost:${port}`;
    // At noon nobody has quiet hours.
    this.set(12 - new Date().getUTCHours());
    const { args, env } = await before(this.base);
    const place = ["--data", join(this.dir, "data"), "--listen", `127.0.0.1:${port}`, "--public-url", this.base];
    const mail = ["--smtp", await this.post.open(), "--mail-from", "Nordlys <care@nordlys.example>"];
    const clock = ["--dev", "--clock-step", join(this.dir, "clock")];
    this.fettle = spawn(bin, ["serve", ...place, "--mqtt", "", ...mail, ...clock, "--log-level", "warn", ...args], {
      env: { ...process.env, ...env },
    });
    this.fettle.stderr?.on("data", (d) => {
      this.said += d;
    });
    const started = launch();
    await until("the service", () => {
      if (this.fettle?.exitCode !== null) throw new Error(`the service ended:\n${this.said}`);
      return fetch(`${this.base}/readyz`).then(
        (r) => r.ok,
        () => false,
      );
    });
    this.browser = await started;
    this.run("login", this.base, "--link", readFileSync(join(this.dir, "data/first-operator-link"), "utf8").trim());
    this.token = this.run("token", "create", "--scope", "admin", "--expires", "366d").match(/fet_[\w-]+/)?.[0] ?? "";
  }

  async end(): Promise<void> {
    await this.browser?.close();
    this.fettle?.kill();
    await this.post.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** For whoever looks why a test failed: what the service logged, and what each window shows. */
  async report(): Promise<void> {
    const texts = this.browser
      .contexts()
      .flatMap((c) =>
        c.pages().map(async (p) => `${p.url()}\n${await p.locator("body").innerText({ timeout: 5000 }).catch(String)}`),
      );
    process.stderr.write([this.said, ...(await Promise.all(texts)), ""].join("\n"));
  }

  /** An operator's command. */
  run(...args: string[]): string {
    return execFileSync(bin, args, {
      encoding: "utf8",
      env: { ...process.env, HOME: this.dir, XDG_CONFIG_HOME: this.dir },
    });
  }

  /** An operator's call. */
  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const r = await fetch(this.base + path, {
      method,
      headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await r.text();
    if (!r.ok) throw new Error(`${method} ${path}: ${r.status} ${text}`);
    return (text ? JSON.parse(text) : undefined) as T;
  }

  /** Declares documents, given as YAML. */
  apply(yaml: string): void {
    const file = join(this.dir, "declared.yaml");
    writeFileSync(file, yaml);
    this.run("apply", "-f", file);
  }

  private set(hours: number): void {
    this.off += hours;
    writeFileSync(join(this.dir, "clock"), `${this.off}h`);
  }

  /** Lets so many hours pass at once. */
  async step(hours: number): Promise<void> {
    this.set(hours);
    await until("the service's clock", async () => {
      const { now } = await this.call<{ now: string }>("GET", "/v1/session");
      return Math.abs(Date.parse(now) - this.now()) < 600_000;
    });
  }

  /** What the service's clock shows. */
  now = (): number => Date.now() + this.off * 3600_000;

  /** Somebody at a browser of their own. */
  async person(options: Parameters<typeof open>[1] = {}): Promise<Person> {
    const opened = await open(this.browser, { viewport: { width: 390, height: 844 }, locale: "en-GB", ...options });
    return { ...opened, go: (path) => opened.page.goto(this.base + path) };
  }

  /** An owner who signs in by the link that is mailed. */
  async owner(email: string, options?: Parameters<typeof open>[1]): Promise<Person> {
    const p = await this.person(options);
    const before = this.post.mails.length;
    await p.go("/my/sign-in");
    await p.page.getByLabel("E-mail address").fill(email);
    await p.page.getByRole("button", { name: "Send me a link" }).click();
    await p.page.goto(await this.post.link(email, /http\S+#fel_[\w-]+/, before));
    await p.page.getByRole("button", { name: "Sign in" }).click();
    await p.page.waitForURL((u) => !u.pathname.includes("sign-in"));
    return p;
  }
}

export type Person = {
  page: Page;
  context: BrowserContext;
  errors: string[];
  go: (path: string) => Promise<unknown>;
};

/** Nothing wrong with the page as it stands. */
export async function fine({ page, errors }: Person, where: string): Promise<void> {
  expect(await overflow(page), where).toBe(0);
  expect(await axe(page), where).toEqual([]);
  expect(errors, where).toEqual([]);
}

/** A unit: it reports over HTTPS and updates as clients of hawkBit do. */
export class Unit {
  constructor(
    private readonly ground: Ground,
    readonly id: string,
    private readonly token: string,
  ) {}

  private async send(path: string, body: unknown, authorization: string): Promise<Response> {
    const r = await fetch(path.startsWith("http") ? path : this.ground.base + path, {
      method: body === undefined ? "GET" : "POST",
      headers: { authorization, "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (!r.ok) throw new Error(`${this.id}: ${path}: ${r.status} ${await r.text()}`);
    return r;
  }

  private own = (path: string, body?: unknown) => this.send(path, body, `Bearer ${this.id}:${this.token}`);
  private ddi = (path: string, body?: unknown) => this.send(path, body, `TargetToken ${this.token}`);

  attributes = (software: string) => this.own("/fettle/v1/attributes", { versions: { software } });

  /** Charging for some hours, up to the service's now, a row each two minutes. */
  async charge(plug: number, hours: number): Promise<{ kept: number; notConsented: number }> {
    const rows = [];
    const now = this.ground.now();
    for (let at = now - hours * 3600_000; at <= now; at += 120_000)
      rows.push({ ts: Math.floor(at), values: { charging: true, current: 16.5, plug_temperature: plug } });
    const { results } = (await (await this.own("/fettle/v1/telemetry", rows)).json()) as {
      results: { kept?: number; notConsented?: number }[];
    };
    const sum = (of: "kept" | "notConsented") => results.reduce((n, r) => n + (r[of] ?? 0), 0);
    return { kept: sum("kept"), notConsented: sum("notConsented") };
  }

  /** What the service lets it collect. */
  async collects(): Promise<string[]> {
    return ((await (await this.own("/fettle/v1/desired")).json()) as { collect: string[] }).collect;
  }

  /** The deployment that it is to install, fetched. */
  async fetches(): Promise<string> {
    const href = await until(`a deployment for ${this.id}`, async () => {
      const poll = (await (await this.ddi(`/DEFAULT/controller/v1/${this.id}`)).json()) as {
        _links?: { deploymentBase?: { href: string } };
      };
      return poll._links?.deploymentBase?.href;
    });
    const d = (await (await this.ddi(href)).json()) as {
      id: string;
      deployment: { chunks: { artifacts: { _links: Record<string, { href: string }> }[] }[] };
    };
    const links = d.deployment.chunks[0]?.artifacts[0]?._links;
    await (await this.ddi(links?.["download-http"]?.href ?? links?.download?.href ?? "")).arrayBuffer();
    return d.id;
  }

  tells = (id: string, execution: string, finished: string, done?: number) =>
    this.ddi(`/DEFAULT/controller/v1/${this.id}/deploymentBase/${id}/feedback`, {
      id,
      status: {
        execution,
        result: { finished, ...(done === undefined ? {} : { progress: { cnt: done, of: 100 } }) },
        details: [],
      },
    });
}
