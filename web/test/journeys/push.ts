import { execFileSync } from "node:child_process";
import { createECDH, type ECDH, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import ece from "http_ece";
import type { Page } from "playwright-core";
import { type Person, until } from "./ground";

// A push service (RFC 8030) and the browser's half of a subscription. Chromium
// reaches its own service alone, which tests may not: what it would have
// subscribed with is given to the page in its place, and what arrives here is
// decrypted by another implementation of RFC 8291 and delivered to the page's
// service worker as Chromium would.

export type Pushed = { headers: Record<string, unknown>; text: string };

export class PushService {
  readonly pushed: Pushed[] = [];
  readonly keys: ECDH = createECDH("prime256v1");
  readonly auth = randomBytes(16);
  gone = false;
  private server?: Server;

  constructor(private readonly dir: string) {
    this.keys.generateKeys();
  }

  /** Where its certificate is, which the service must trust. */
  get certificate(): string {
    return join(this.dir, "push.crt");
  }

  async open(): Promise<void> {
    const key = join(this.dir, "push.key");
    const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    const made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "400"];
    execFileSync("openssl", ["req", "-x509", ...made, "-keyout", key, "-out", this.certificate, ...names], {
      stdio: "ignore",
    });
    this.server = createServer({ key: readFileSync(key), cert: readFileSync(this.certificate) }, async (req, res) => {
      const body = await buffer(req);
      const text = ece.decrypt(body, {
        version: "aes128gcm",
        privateKey: this.keys,
        authSecret: this.auth.toString("base64url"),
      });
      this.pushed.push({ headers: req.headers, text: text.toString() });
      res.writeHead(this.gone ? 410 : 201).end();
    });
    await new Promise<void>((listening) => this.server?.listen(0, "127.0.0.1", listening));
  }

  close = () => this.server?.close();

  /** What PushManager gives in this browser from now on. */
  async within(page: Page): Promise<void> {
    const own = {
      endpoint: `https://localhost:${(this.server?.address() as AddressInfo).port}/push/1`,
      keys: { p256dh: this.keys.getPublicKey("base64url"), auth: this.auth.toString("base64url") },
    };
    await page.addInitScript((subscription) => {
      // Kept as a browser keeps it: across pages.
      const place = "test.subscription";
      const current = () => {
        const key = localStorage.getItem(place);
        if (!key) return null;
        const applicationServerKey = Uint8Array.from(atob(key), (c) => c.charCodeAt(0)).buffer;
        return {
          endpoint: subscription.endpoint,
          options: { userVisibleOnly: true, applicationServerKey },
          toJSON: () => subscription,
          unsubscribe: async () => localStorage.removeItem(place),
        };
      };
      PushManager.prototype.getSubscription = async () => current() as unknown as PushSubscription;
      PushManager.prototype.subscribe = async (o) => {
        if (!o?.userVisibleOnly) throw new DOMException("must be visible", "NotAllowedError");
        localStorage.setItem(
          place,
          btoa(String.fromCharCode(...new Uint8Array(o.applicationServerKey as ArrayBuffer))),
        );
        return current() as unknown as PushSubscription;
      };
    }, own);
  }

  next = (n: number) => until(`push message ${n + 1}`, () => this.pushed[n]);
}

/** Delivers what was pushed to the portal's service worker, and waits until it is shown. */
export async function deliver({ page, context }: Person, text: string): Promise<Shown> {
  const cdp = await context.newCDPSession(page);
  let registrationId = "";
  cdp.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
    registrationId = registrations.find((r) => r.scopeURL.endsWith("/my/"))?.registrationId ?? registrationId;
  });
  await cdp.send("ServiceWorker.enable");
  await until("the service worker", () => registrationId);
  const origin = new URL(page.url()).origin;
  let sent = 0;
  return until("the notification", async () => {
    // A worker that was just ending loses it: it is sent again, as services do, and is one notification all the same.
    if (Date.now() - sent > 10_000) {
      sent = Date.now();
      await cdp.send("ServiceWorker.deliverPushMessage", { origin, registrationId, data: text });
    }
    return page.evaluate(async () => {
      const [n] = await (await navigator.serviceWorker.ready).getNotifications();
      return n && { title: n.title, body: n.body, tag: n.tag, lang: n.lang };
    });
  });
}

type Shown = { title: string; body: string; tag: string; lang: string };

/** Clicks on the notification that is shown: nobody can but the system, so the worker is told as by it. */
export async function click({ context }: Person): Promise<void> {
  const worker = await until("the service worker", () => context.serviceWorkers()[0]);
  await worker.evaluate(async () => {
    const self = globalThis as unknown as ServiceWorkerGlobalScope;
    const [notification] = await self.registration.getNotifications();
    if (!notification) throw new Error("nothing is shown");
    const clicked = new NotificationEvent("notificationclick", { notification });
    const deeds: Promise<unknown>[] = [];
    clicked.waitUntil = (deed) => deeds.push(deed as Promise<unknown>);
    self.dispatchEvent(clicked);
    await Promise.all(deeds);
  });
}
