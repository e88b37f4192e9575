// Messages to this browser (Push API, W3C; RFC 8030). Loaded by those who use
// it: signing out and renewing are in pushed.ts.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../client/client";
import { browserOf } from "./account";
import { canPush, subscribed } from "./pushed";

export type Browser = Wire["Subscription"];

/**
 * Whether messages come to this browser: "unsupported" it cannot show any,
 * "denied" it was told not to, "off" nobody asked it yet, "on".
 */
export type State = "unsupported" | "denied" | "off" | "on";

export type Pushing = { state: State; own?: string; others: Browser[] };

const bytes = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));

const same = (a: ArrayBuffer | null, b: Uint8Array) =>
  a !== null && a.byteLength === b.length && new Uint8Array(a).every((v, i) => v === b[i]);

/** The worker, once it is there; the page registers it a moment after it stands. */
async function worker(): Promise<ServiceWorkerRegistration> {
  const late = new Promise<never>((_, fail) => setTimeout(() => fail(new Error("no service worker")), 10_000));
  return Promise.race([navigator.serviceWorker.ready, late]);
}

// Which of the owner's subscriptions is this browser's: the server tells no
// endpoints, for whoever knows one can write to it.
const place = "fettle.push";
type Kept = { id: string; endpoint: string };

function kept(): Kept | undefined {
  try {
    return JSON.parse(localStorage.getItem(place) ?? "null") ?? undefined;
  } catch {
    return undefined;
  }
}

/** Subscribes this browser, and gives its id at the server. */
async function subscribe(key: string): Promise<string> {
  const { pushManager } = await worker();
  const own = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: bytes(key) });
  const { endpoint = "", keys } = own.toJSON();
  const body = {
    endpoint,
    keys: { p256dh: keys?.p256dh ?? "", auth: keys?.auth ?? "" },
    device: browserOf(navigator.userAgent),
  };
  const { id } = await ask(client.POST("/owner/v1/push", { body }));
  localStorage.setItem(place, JSON.stringify({ id, endpoint } satisfies Kept));
  return id;
}

/**
 * What this browser's subscription is worth: its id, if the server has it among
 * those of whoever is signed in. One that it has not was ended from elsewhere,
 * or is another person's, and ends here too. One that the browser has replaced,
 * or that was made for another key of the service (as after its records were
 * restored), is made anew.
 */
async function settle({ key, browsers }: Wire["Push"]): Promise<string | undefined> {
  const own = await subscribed();
  if (!own) return undefined;
  const was = kept();
  if (!was || !browsers.some((b) => b.id === was.id)) {
    await own.unsubscribe();
    localStorage.removeItem(place);
    return undefined;
  }
  const good = same(own.options.applicationServerKey, bytes(key));
  if (good && own.endpoint === was.endpoint) return was.id;
  if (!good) await own.unsubscribe();
  const id = await subscribe(key);
  if (id !== was.id) await end(was.id);
  return id;
}

// One after the other: what is being subscribed must not be taken for a stray.
let last: Promise<unknown> = Promise.resolve();
function inTurn<T>(deed: () => Promise<T>): Promise<T> {
  const next = last.then(deed, deed);
  last = next.catch(() => {});
  return next;
}

const asked = () => ask(client.GET("/owner/v1/push"));

async function look(): Promise<Pushing> {
  const now = await asked();
  const others = now.browsers;
  if (!canPush()) return { state: "unsupported", others };
  if (Notification.permission === "denied") return { state: "denied", others };
  const own = Notification.permission === "granted" ? await settle(now) : undefined;
  return own ? { state: "on", own, others: others.filter((b) => b.id !== own) } : { state: "off", others };
}

export const usePushing = () => useQuery({ queryKey: ["push"], queryFn: () => inTurn(look) });

export function usePush<V>(change: (v: V) => Promise<void>) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (v: V) => inTurn(() => change(v)),
    onSettled: () => queries.invalidateQueries({ queryKey: ["push"] }),
  });
}

/** Turns messages on; only after a click: the browser asks the owner now. */
export async function turnOn(): Promise<void> {
  if ((await Notification.requestPermission()) !== "granted") return; // what it is now is said by its state
  await subscribe((await asked()).key);
}

/** Turns them off here, and at the server. */
export async function turnOff(own: string): Promise<void> {
  await (await subscribed())?.unsubscribe();
  localStorage.removeItem(place);
  await end(own);
}

export const end = (id: string) => tell(client.DELETE("/owner/v1/push/{id}", { params: { path: { id } } }));

/** Brings in order what this browser has, for whoever is signed in now. */
export const renew = () => inTurn(async () => settle(await asked()));
