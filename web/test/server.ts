import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import type { Wire } from "../client/client";
import * as c from "./fixtures/campaign";
import * as rightsData from "./fixtures/data";
import * as d from "./fixtures/detectors";
import * as f from "./fixtures/fleet";
import * as outlook from "./fixtures/outlook";
import * as o from "./fixtures/owner";
import * as people from "./fixtures/people";
import * as rights from "./fixtures/privacy";
import * as r from "./fixtures/releases";
import * as chosen from "./fixtures/rights";
import * as sent from "./fixtures/sent";
import { feeds, tip, tips } from "./fixtures/tips";
import * as w from "./fixtures/wear";
import * as said from "./fixtures/words";

// A server of the API that answers from fixtures, so that every screen can be
// looked at in every state without a fleet. It serves the built pages under
// the very policy that pages.go sets.

const root = join(import.meta.dirname, "..");
const policy = [
  ...(/const policy = ([\s\S]*?)\n\n/.exec(readFileSync(join(root, "pages.go"), "utf8"))?.[1] ?? "").matchAll(
    /"([^"]*)"/g,
  ),
]
  .map((m) => m[1])
  .join("");

const types: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
  ".png": "image/png",
  ".webmanifest": "application/manifest+json",
};

export type Mock = {
  url: string;
  /** What the owner has been shown and has answered; tests set and read it. */
  owner: {
    signedIn: boolean;
    updates: Wire["MyUpdate"][];
    findings: Wire["MyFinding"][];
    given: Record<string, boolean>;
    choices: unknown[];
    preferences: Wire["UpdatePreferences"];
  };
  operator: { signedIn: boolean; posts: { path: string; body: unknown }[] };
  /** Paths that fail, with the status to answer. */
  failing: Map<string, number>;
  /** What the service says of itself when it is not well. */
  short?: { ready: boolean; engines: Record<string, string>; notes?: { name: string; note: string }[] };
  /** A backtest runs. */
  running: boolean;
  /** Lists that are empty. */
  empty: boolean;
  /** Whoever is signed in sees less than everything. */
  bounded?: Partial<Wire["Session"]>;
  /** Too little has failed for a prognosis. */
  waiting?: boolean;
  /** How many pieces of an upload break off. */
  cut?: number;
  /** The one token of an owner's app that is good, from any origin. */
  appToken?: string;
  /** Another build of the portal has replaced this one. */
  newer?: boolean;
  /** Nobody reaches it: every connection breaks. */
  down?: boolean;
  /** What has been uploaded. */
  uploaded: { bytes: number; filename: string };
  /** What the owner shares with third parties. */
  shares: Wire["Share"][];
  /** Forgets all that it was told, at the same address. */
  renew: () => void;
  close: () => Promise<void>;
};

/** How a mock stands before a test has told it anything. */
const begun = () => ({
  owner: {
    signedIn: true,
    updates: [o.offered],
    findings: [o.finding],
    given: { care: true, improvement: false },
    choices: [],
    preferences: {},
  },
  operator: { signedIn: true, posts: [] },
  failing: new Map(),
  short: undefined,
  running: false,
  empty: false,
  bounded: undefined,
  waiting: undefined,
  cut: undefined,
  appToken: undefined,
  newer: undefined,
  down: undefined,
  uploaded: { bytes: 0, filename: "" },
  shares: rightsData.shares,
});

export async function startMock(): Promise<Mock> {
  const mock: Mock = {
    url: "",
    ...begun(),
    renew: () => void Object.assign(mock, begun()),
    close: () => new Promise((done) => server.close(() => done())),
  };
  const server = createServer((req, res) => {
    if (mock.down) return void req.socket.destroy();
    answer(mock, req, res).catch((e) => send(res, 500, { title: "mock failed", detail: String(e) }));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  server.unref();
  mock.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return mock;
}

function send(res: ServerResponse, status: number, body?: unknown): void {
  res.writeHead(status, { "content-type": status < 400 ? "application/json" : "application/problem+json" });
  res.end(body === undefined ? undefined : JSON.stringify(body));
}

async function answer(mock: Mock, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const url = new URL(req.url ?? "/", "http://mock");
  const isAPI = url.pathname.startsWith("/v1/") || url.pathname.startsWith("/owner/v1/");
  if (url.pathname === "/readyz") return send(res, mock.short ? 503 : 200, mock.short ?? { ready: true, engines: {} });
  if (!isAPI) return page(url.pathname, res, mock);
  // As frame.CrossOrigin answers.
  if (mock.appToken && req.headers.origin) {
    res.setHeader("access-control-allow-origin", req.headers.origin);
    if (req.method === "OPTIONS") {
      res.setHeader("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE");
      res.setHeader("access-control-allow-headers", "Authorization, Content-Type");
      return send(res, 204);
    }
  }
  if (mock.appToken) mock.owner.signedIn = req.headers.authorization === `Bearer ${mock.appToken}`;
  const failing = mock.failing.get(url.pathname);
  if (failing)
    return send(res, failing, { status: failing, title: "Refused", detail: "the mock was told to refuse this" });
  if (url.pathname.startsWith("/v1/uploads") && req.method !== "GET") return uploads(mock, req, res);
  let text = "";
  for await (const chunk of req) text += chunk;
  const body = text ? JSON.parse(text) : undefined;
  const found = url.pathname.startsWith("/owner/")
    ? ownerAnswer(mock, req.method ?? "GET", url, body)
    : operatorAnswer(mock, req.method ?? "GET", url, body);
  if (found === undefined)
    return send(res, 404, { status: 404, title: "Not Found", detail: `no fixture for ${url.pathname}` });
  if (found === signedOut) return send(res, 401, { status: 401, title: "Unauthorized", detail: "sign in first" });
  if (found === null) return send(res, 204);
  send(res, 200, found);
}

/** As much of tus 1.0.0 as an upload needs. */
async function uploads(mock: Mock, req: IncomingMessage, res: ServerResponse): Promise<void> {
  let size = 0;
  for await (const chunk of req) size += (chunk as Buffer).length;
  if (req.method === "POST") {
    const name = /filename (\S+)/.exec(String(req.headers["upload-metadata"]))?.[1] ?? "";
    mock.uploaded = { bytes: 0, filename: Buffer.from(name, "base64").toString() };
    res.writeHead(201, { location: "/v1/uploads/u-9", "upload-offset": "0" });
    res.end();
    return;
  }
  if (req.method === "PATCH") {
    if (mock.cut) {
      mock.cut--;
      mock.uploaded.bytes += 1000; // a part of it had arrived
      res.destroy();
      return;
    }
    if (Number(req.headers["upload-offset"]) !== mock.uploaded.bytes) return send(res, 409, { title: "Conflict" });
    mock.uploaded.bytes += size;
  }
  res.writeHead(req.method === "HEAD" ? 200 : 204, { "upload-offset": String(mock.uploaded.bytes) });
  res.end();
}

const signedOut = Symbol("signed out");

function page(path: string, res: ServerResponse, mock: Mock): void {
  const [, base, ...rest] = path.split("/");
  const dir = { console: "console", my: "portal" }[base ?? ""];
  if (!dir) {
    send(res, 404, {});
    return;
  }
  const isFile =
    rest[0] === "assets" ||
    rest[0] === "icons" ||
    /^(sw\.js|widget\.js|manifest\.\w+\.webmanifest)$/.test(rest.join("/"));
  const name = isFile ? rest.join("/") : "index.html";
  res.writeHead(200, {
    "content-type": types[extname(name)] ?? "",
    "content-security-policy": policy,
    // As pages.go has it: what has a hash in its name is kept.
    "cache-control": rest[0] === "assets" ? "public, max-age=31536000, immutable" : "no-cache",
  });
  const file = readFileSync(join(root, "dist", dir, name));
  res.end(mock.newer && name === "sw.js" ? file.toString().replace(/shell-\w+/, "shell-newer") : file);
}

function ownerAnswer(mock: Mock, method: string, url: URL, body: Record<string, unknown>): unknown {
  const path = url.pathname.slice("/owner/v1/".length);
  const owner = mock.owner;
  if (path === "sign-in/link") return null;
  if (path === "sign-in") {
    owner.signedIn = true;
    return o.me;
  }
  if (!owner.signedIn) return signedOut;
  if (path === "sign-out") {
    owner.signedIn = false;
    return null;
  }
  if (path === "me") return mock.empty ? { ...o.me, units: [] } : o.me;
  if (path === "preferences") {
    if (method === "PUT") mock.owner.preferences = body;
    return mock.owner.preferences;
  }
  if (path === "updates") return { items: owner.updates };
  if (path === "notices") return { items: mock.empty ? [] : said.notices };
  if (path === "tips") return tips(o.me.units[1]?.id ?? "", f.now);
  if (path.startsWith("tips/")) return null;
  if (path === "looks") return paged(rights.looks, url, mock.empty);
  if (path === "contact") return method === "PUT" ? body : { phone: "+4712345678" };
  const notice = /^notices\/([^/]+)\/(read|acknowledge)$/.exec(path);
  if (notice) {
    const one = said.notices.find((n) => n.id === notice[1]);
    if (one) Object.assign(one, { readAt: f.now }, notice[2] === "acknowledge" ? { ackedAt: f.now } : {});
    return one;
  }
  const consent = /^units\/([^/]+)\/consents\/([^/]+)$/.exec(path);
  if (consent && method === "PUT") {
    owner.given[consent[2] ?? ""] = body.given === true;
    const receipt: Wire["Receipt"] = {
      id: "R-2014-000731",
      unitId: consent[1] ?? "",
      purpose: consent[2] ?? "",
      given: body.given === true,
      at: f.now,
      by: "owner:o-1",
    };
    return receipt;
  }
  const about = /^units\/([^/]+)\/(data|shares)$/.exec(path);
  if (about?.[2] === "data") return rightsData.data(about[1] ?? "", owner.given, mock.empty);
  if (about?.[2] === "shares") {
    const one = { ...rightsData.shares[0], ...body, id: "sh-2", token: "fts_only-shown-now", address: "/share/v1" };
    mock.shares.push(one as unknown as Wire["Share"]);
    return one;
  }
  if (path === "exports")
    return method === "POST" ? rightsData.exports[0] : { items: mock.empty ? [] : rightsData.exports };
  if (path === "rights") return mock.empty ? { requests: [], limits: [] } : rights.mine;
  if (path === "rights/requests") return rights.mine.requests[0];
  if (path === "rights/limits") return null;
  if (path === "erasure") return { receipt: rights.erasing, secret: "0f1e2d3c" };
  if (path.startsWith("erasures/")) return path.endsWith(rights.erased.id) ? rights.erased : rights.erasing;
  if (path === "shares") return { items: mock.empty ? [] : mock.shares };
  if (/^shares\/[^/]+\/uses$/.test(path)) return { items: mock.empty ? [] : rightsData.uses };
  if (path === "push")
    return method === "POST"
      ? rightsData.browsers[0]
      : { key: rightsData.pushKey, browsers: mock.empty ? [] : rightsData.browsers };
  const ended = /^shares\/([^/]+)$/.exec(path);
  if (ended && method === "DELETE") {
    mock.shares = mock.shares.map((x) => (x.id === ended[1] ? { ...x, endedAt: f.now } : x));
    return null;
  }
  const part = /^units\/([^/]+)\/(findings|history|help|series)(?:\/([^/]+))?$/.exec(path);
  if (part) return ownersUnit(mock, part[1] ?? "", part[2] ?? "", url);
  const unit = /^units\/([^/]+)$/.exec(path);
  if (unit) return o.unit(unit[1] ?? "", owner.given);
  if (/^updates\/[^/]+$/.test(path) && method === "POST") {
    owner.choices.push(body);
    const state = (
      { now: "accepted", tonight: "scheduled", at: "scheduled", "not now": "snoozed", decline: "declined" } as const
    )[body.choice as Wire["Choice"]];
    const at =
      body.choice === "at" ? String(body.at) : state === "accepted" || state === "declined" ? undefined : f.ahead(0.7);
    owner.updates = owner.updates.map((u) => ({ ...u, state, at }));
    return owner.updates[0];
  }
  return undefined;
}

function ownersUnit(mock: Mock, id: string, part: string, url: URL): unknown {
  const q = url.searchParams;
  if (part === "findings") return { items: id === "WC-000010" && !mock.empty ? mock.owner.findings : [] };
  if (part === "history") return paged(o.history, url, mock.empty);
  if (part === "help") return mock.empty ? { serial: o.help.serial, questions: [] } : o.help;
  return f.series(q.get("signal") ?? "", new Date(q.get("from") ?? ""), new Date(q.get("to") ?? ""));
}

type Rows = readonly unknown[];

function paged(rows: Rows, url: URL, empty: boolean): unknown {
  if (empty) return { items: [] };
  const limit = Number(url.searchParams.get("limit") ?? 100);
  const from = Number(url.searchParams.get("after") ?? 0);
  return { items: rows.slice(from, from + limit), next: from + limit < rows.length ? String(from + limit) : undefined };
}

function matching<T extends object>(rows: readonly T[], url: URL, ...keys: (keyof T & string)[]): T[] {
  return rows.filter((r) => keys.every((k) => !url.searchParams.get(k) || String(r[k]) === url.searchParams.get(k)));
}

function wordsAnswer(path: string, method: string, list: (rows: Rows) => unknown): unknown {
  if (path === "templates") return { items: said.texts };
  if (path === "templates/preview") return said.preview;
  if (path === "templates/letter") return {};
  if (path === "templates/test")
    return { to: "kari@maker.example", subject: "[Test] Product safety recall", language: "en" };
  if (/^campaigns\/[^/]+\/ladder$/.test(path)) return said.plan;
  if (/^campaigns\/[^/]+\/reach$/.test(path)) return said.reach;
  if (path === "tips/try") return tip.trial;
  if (/^tips\/[^/]+\/preview$/.test(path)) return { items: tip.preview };
  if (/^tips\/[^/]+\/effect$/.test(path)) return tip.effect;
  if (path === "feeds") return list(feeds);
  if (path === "messages") return list(sent.messages);
  if (path.startsWith("messages/")) return sent.message;
  if (path === "addresses") return list(sent.addresses);
  if (path === "webhooks") return list(sent.endpoints);
  if (path === "gateways") return list(sent.gateways);
  if (path === "letters") return list(said.letters);
  if (path === "letter-batches") return method === "POST" ? said.batches[0] : list(said.batches);
  if (path === "calls") return list(said.calls);
  if (path === "calls/next") return said.calls[0];
  if (/^calls\/[^/]+\/(take|outcome)$/.test(path)) return said.calls[0];
  if (/^calls\/[^/]+\/release$/.test(path)) return null;
  return undefined;
}

function operatorAnswer(mock: Mock, method: string, url: URL, body: Record<string, unknown>): unknown {
  const path = url.pathname.slice("/v1/".length);
  const list = (rows: Rows) => paged(rows, url, mock.empty);
  const operator = mock.operator;
  const session: Wire["Session"] = {
    email: "kari@maker.example",
    scope: "admin",
    role: "admin",
    permissions: people.all,
    via: "session",
    now: f.now,
    speed: 1,
    ...mock.bounded,
  };
  const told = wordsAnswer(path, method, list);
  if (told !== undefined) return told;
  if (path === "sign-in/ways") return people.ways;
  if (path === "sign-in/password") {
    const { email } = body as { email: string };
    return { ticket: "fek_example", next: email.startsWith("new") ? "enrol" : "code" };
  }
  if (path === "sign-in/enrol") return people.enrolment;
  if (path === "sign-in/enrolled") {
    mock.operator.signedIn = true;
    return { session, codes: people.codes };
  }
  if (path === "sign-in/code") {
    mock.operator.signedIn = true;
    return session;
  }
  if (path === "sign-in/link") return null;
  if (path === "sign-in") {
    operator.signedIn = true;
    return session;
  }
  if (!operator.signedIn) return signedOut;
  if (method !== "GET") operator.posts.push({ path, body });
  const [kind, id, part] = path.split("/").map(decodeURIComponent);
  switch (kind) {
    case "session":
      return session;
    case "sign-out":
      operator.signedIn = false;
      return null;
    case "overview":
      return mock.empty ? { at: f.now, products: [] } : overview();
    case "units":
      if (!id) return list(matching(f.units, url, "product", "condition", "state", "batch", "hardware", "region"));
      return unitAnswer(id, part, url);
    case "findings":
      return findingAnswer(id, part, url, list);
    case "cohorts":
      if (method === "POST") return c.cohort;
      if (!id) return list([c.cohort]);
      if (part === "members") return list(c.members((url.searchParams.get("list") ?? "in") as Wire["Member"]["list"]));
      return method === "DELETE" ? null : c.cohort;
    case "campaigns": {
      if (!id) {
        const release = url.searchParams.get("release");
        return list(c.campaigns.filter((x) => !release || x.spec.release === release));
      }
      const campaign = c.campaigns.find((x) => x.name === id);
      if (part === "tasks") return list(campaign?.state === "draft" ? [] : matching(c.tasks, url, "state"));
      if (part === "dry-run") return c.dryRun;
      if (part === "report") return c.report;
      return campaign;
    }
    case "releases": {
      if (!id) return list(matching(r.releases, url, "product"));
      const release = r.releases.find((x) => x.name === id);
      if (part === "sizes") return { items: id === "charger-2.0.0" ? r.sizes : [] };
      if (part === "units") return list(matching(r.holders, url, "holding"));
      if (part === "withdraw") return { canceled: 210, asked: 14, tooLate: 3 };
      if (part === "revert")
        return {
          release: "charger-1.4.2-back",
          counter: 13,
          campaign: "back-charger-1.4.2-back",
          cohort: "on-charger-2.0.0",
        };
      return release;
    }
    case "uploads":
      return { items: mock.empty ? [] : [...r.uploads, ...(mock.uploaded.bytes ? [r.uploaded] : [])] };
    case "trust":
      return mock.empty
        ? { ...r.trust, roots: [], pending: [], required: [], warnings: [], targets: undefined }
        : r.trust;
    case "register":
      return { items: url.searchParams.get("unit") === "WC-000010" ? r.register : [] };
    case "detectors":
      return id ? d.detail(id) : list(matching(d.list, url, "product"));
    case "backtests": {
      const jobs = mock.running ? [d.running, ...d.jobs] : d.jobs;
      if (method === "POST") {
        mock.running = true;
        return d.running;
      }
      if (method === "DELETE") {
        mock.running = false;
        return null;
      }
      if (!id)
        return { items: mock.empty ? [] : jobs.filter((j) => j.detector.name === url.searchParams.get("detector")) };
      if (part === "units") return { items: d.units };
      const job = jobs.find((j) => j.id === id);
      return job?.state === "done" ? { ...job, result: d.result } : job;
    }
    case "audit":
      if (id === "head") return mock.empty ? { seq: 0, hash: "0".repeat(64) } : rights.head;
      if (id === "verify") return mock.running ? rights.broken : rights.whole;
      return list(matching(rights.trail, url, "kind", "operation"));
    case "privacy":
      if (method === "POST") return rights.requests[0];
      if (id === "person") return url.searchParams.get("email") === chosen.person.email ? chosen.person : undefined;
      return list(id === "erasures" ? rights.erasures : matching(rights.requests, url, "state", "kind"));
    case "owners":
      return part === "erase" ? { receipt: rights.erasing, secret: "0f1e2d3c4b5a69788796a5b4c3d2e1f0" } : undefined;
    case "apply":
      return { changes: [] };
    case "declared":
      return declaredAnswer(id, part, list);
    case "claims":
      return id ? claims[0] : list(claims);
    case "risks":
      return list(mock.waiting ? [] : matching(w.risks, url, "product", "detector", "state"));
    case "prognoses":
      if (part === "models") return { items: mock.waiting ? [] : w.models };
      return { items: mock.empty ? [] : mock.waiting ? w.waiting : w.prognoses };
    case "maintenance":
      if (method === "POST") return { added: 1, known: 0 };
      return method === "DELETE" ? null : list(url.searchParams.get("unit") === "WC-000010" ? w.records : []);
    case "products":
      if (part === "notices") {
        if (method === "POST") return chosen.published(body as Wire["NoticeDraft"]);
        const version = path.split("/")[3];
        return version ? chosen.notice(decodeURIComponent(version)) : { items: mock.empty ? [] : chosen.notices };
      }
      if (part === "consents")
        return {
          items: mock.empty ? chosen.rates.map(({ units: _, given: __, share: ___, ...r }) => r) : chosen.rates,
        };
      if (part === "datasheet") return chosen.datasheet(url.searchParams.get("lang") ?? "en");
      if (part === "parts") return { items: mock.empty ? [] : w.parts };
      if (part === "part-life") return w.life;
      return { id: "ct-1", product: id, token: "claim_7f3e2a", maxUses: 1000, expiresAt: f.ahead(7) };
    case "account":
      if (path === "account") return people.account;
      if (path === "account/authenticator") return people.enrolment;
      return path.endsWith("confirm") || path.endsWith("codes") ? { codes: people.codes } : null;
    case "sessions":
      return method === "GET" ? { items: people.sessions } : null;
    case "passkeys":
      return method === "GET" ? { items: people.passkeys } : null;
    case "roles":
      return { items: people.roles };
    case "operators":
      if (path.endsWith("/sessions")) return method === "GET" ? { items: people.sessions } : null;
      if (method === "POST")
        return {
          operator: people.operators[2],
          link: "https://fettle.example/console/sign-in#fel_example",
          mailed: true,
        };
      if (method === "DELETE") return null;
      return method === "PATCH" ? people.operators[1] : list(people.operators);
    case "approvals":
      return method === "GET" ? { items: mock.empty ? [] : people.approvals } : people.approvals[1];
    case "tokens":
      if (method === "POST") return { ...tokens[0], token: "fet_example" };
      return method === "DELETE" ? null : list(tokens);
    case "notify":
      return method === "DELETE" ? null : method === "PUT" ? routes[0] : list(routes);
  }
  return undefined;
}

function overview(): Wire["Overview"] {
  const count = (of: (u: Wire["Unit"]) => string) => {
    const n: Record<string, number> = {};
    for (const u of f.units) n[of(u)] = (n[of(u)] ?? 0) + 1;
    return n;
  };
  const product: Wire["ProductOverview"] = {
    name: "wall-charger",
    title: "Wall charger",
    units: f.units.length,
    conditions: count((u) => u.condition),
    states: count((u) => u.state),
    versions: Object.entries(count((u) => u.versions?.software ?? "")).map(([version, units]) => ({ version, units })),
    openFindings: { critical: 31, major: 34, warning: 36 },
    campaigns: c.campaigns.filter((x) => x.state === "running"),
  };
  return { at: f.now, products: [product] };
}

function unitAnswer(id: string, part: string | undefined, url: URL): unknown {
  const unit = f.units.find((u) => u.id === id);
  if (!unit) return undefined;
  const q = url.searchParams;
  switch (part) {
    case "forecasts":
      return { items: outlook.forecasts.filter((x) => !q.get("detector") || x.detector.name === q.get("detector")) };
    case "peers":
      return outlook.comparison(new Date(q.get("from") ?? ""), new Date(q.get("to") ?? ""));
    case "series":
      if (q.get("signal") === "contact_resistance")
        return outlook.series(new Date(q.get("from") ?? ""), new Date(q.get("to") ?? ""));
      return f.series(q.get("signal") ?? "", new Date(q.get("from") ?? ""), new Date(q.get("to") ?? ""));
    case "events":
      return { items: f.events.filter((e) => !q.get("kind") || e.kind === q.get("kind")) };
    case "latest": {
      const values = [0, 23.4, 17.9, undefined, 0];
      return {
        items: f.product.signals.map((s, i): Wire["LatestValue"] => ({
          signal: s.name,
          title: s.title,
          type: s.type,
          unit: s.unit,
          number: values[i],
          at: values[i] === undefined ? undefined : f.ago(0.01),
          withheld: s.name === "energy",
        })),
      };
    }
    case "consents":
      return id === "WC-000010"
        ? chosen.consents
        : { ...chosen.consents, unitId: id, owned: false, choices: [], withdrawals: [] };
    case "settings":
      return { items: id === "WC-000010" ? r.settings : [] };
    case "prognosis":
      return { current: w.risks.filter((p) => p.unitId === id), history: w.history(id) };
    case "accounting":
      return {
        unitId: id,
        acknowledged: 51_840,
        stored: 41_472,
        notConsented: 10_368,
        undeclared: 0,
        duplicate: 0,
        invalid: 0,
      };
    case "token":
      return { unitId: id, token: "unit_example" };
    case "revoke":
    case "retire":
    case "restore":
      return unit;
  }
  const detail: Wire["UnitDetail"] = {
    ...unit,
    conditionWhy:
      unit.condition === "normal"
        ? "Nothing is found, and it was judged within the last day."
        : "An open finding of severity critical: Plug overheats.",
    judgedAt: f.ago(0.02),
    lastContact: f.ago(0.02),
    owner: { email: "ola@example.org", name: "Ola Nordmann", locale: "nb", timeZone: "Europe/Oslo" },
    credential: "token",
    permitted: f.product.purposes.map((p) => ({
      name: p.name,
      title: p.title,
      basis: p.basis,
      permitted: p.name !== "improvement",
    })),
    exposures: [
      { detector: { name: "plug-overheat", version: 2 }, since: f.ago(40), hours: 163.4, lastAt: f.ago(0.02) },
    ],
    open: f.findings.filter((x) => x.unitId === id && x.state === "open"),
  };
  return detail;
}

function findingAnswer(
  id: string | undefined,
  part: string | undefined,
  url: URL,
  list: (rows: Rows) => unknown,
): unknown {
  if (!id) {
    const unit = url.searchParams.get("unit");
    return list(matching(f.findings, url, "state", "severity").filter((x) => !unit || x.unitId === unit));
  }
  if (outlook.findings[id] && !part) return outlook.findings[id];
  const finding = f.findings.find((x) => x.id === id);
  if (!finding) return undefined;
  if (part === "who-else") return c.suggestion;
  if (part) return finding;
  const detail: Wire["FindingDetail"] = {
    ...finding,
    comments: [
      {
        id: "1",
        findingId: id,
        by: "kari@maker.example",
        at: f.ago(2.5),
        text: "Same contact as on the unit from Bergen.\nAsked for a photo of the plug.",
      },
    ],
    rule: f.detectors[0]?.spec ?? ({} as Wire["DetectorSpec"]),
    bands: f.product.tolerances?.[0]?.bands ?? [],
  };
  return detail;
}

function declaredAnswer(kind: string | undefined, name: string | undefined, list: (rows: Rows) => unknown): unknown {
  const document = (n: string, spec: unknown) => ({ apiVersion: "fettle.dev/v1", kind, metadata: { name: n }, spec });
  if (kind === "release") return document(name ?? "", { ...r.spec, ...r.releases.find((x) => x.name === name) });
  if (kind === "product") return name ? document(name, chosen.told) : list([document("wall-charger", f.product)]);
  if (kind === "tip") return list([document("sun-now", {})]);
  return list(f.detectors.map((d) => document(d.name, d.spec)));
}

const claims: Wire["Claim"][] = (["pending", "approved", "rejected"] as const).map((state, i) => ({
  id: `cl-${i}`,
  product: "wall-charger",
  serial: `SN-2014-0${77 + i}`,
  unitId: `WC-0007${77 + i}`,
  keyFingerprint: "SHA256:9f2c41d07be85a3366c1f0aa7d5e4b1298e37f6014cc5b2d8a90e1f3",
  remoteAddress: "203.0.113.17",
  state,
  why: state === "rejected" ? "the fingerprint on the unit is another" : undefined,
  createdAt: f.ago(1 + i),
  decidedBy: state === "pending" ? undefined : "kari@maker.example",
}));

const tokens: Wire["APIToken"][] = [
  {
    id: "t1",
    name: "deployment pipeline",
    scope: "write",
    operatorId: "op-1",
    createdAt: f.ago(20),
    expiresAt: f.ahead(70),
    lastUsedAt: f.ago(0.1),
  },
];

const routes: Wire["NotifyRoute"][] = [
  { name: "on-call", product: "wall-charger", severity: "major", channel: "mail", to: "oncall@maker.example" },
  { name: "tickets", channel: "webhook", to: "https://tickets.maker.example/hooks/fettle" },
];
