/// <reference lib="webworker" />

// The portal's service worker. It keeps the shell: the page, its code, its words
// and its icons, which are the same for everybody. What the API answers is never
// kept: after a sign-out nothing of a person is left here, whoever comes next.

const worker = self as unknown as ServiceWorkerGlobalScope;
const build = "__BUILD__";
const cacheName = `shell-${build}`;
const page = "/my/";
const patience = 4000;

worker.addEventListener("install", (e) => {
  e.waitUntil(
    caches
      .open(cacheName)
      .then((c) => c.addAll([page, "/my/icons/icon-192.png"].map((u) => new Request(u, { cache: "reload" })))),
  );
});

worker.addEventListener("activate", (e) => {
  e.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name !== cacheName) await caches.delete(name);
      await worker.clients.claim();
    })(),
  );
});

worker.addEventListener("message", (e) => {
  // The page says when to change: not while somebody is in the middle of something.
  if (e.data === "change") worker.skipWaiting();
  // What the first page has loaded before this worker was there.
  if (Array.isArray(e.data?.keep)) e.waitUntil(keep(e.data.keep));
});

async function keep(paths: unknown[]): Promise<void> {
  const cache = await caches.open(cacheName);
  await Promise.all(
    paths.map(async (path) => {
      if (typeof path !== "string" || !isAsset(path) || (await cache.match(path))) return;
      await cache.add(path).catch(() => {});
    }),
  );
}

/** Files whose names hold a hash of their content, and icons. */
const isAsset = (path: string) => path.startsWith("/my/assets/") || path.startsWith("/my/icons/");

worker.addEventListener("fetch", (e) => {
  const url = new URL(e.request.url);
  if (e.request.method !== "GET" || url.origin !== location.origin) return;
  if (isAsset(url.pathname)) e.respondWith(asset(e.request));
  else if (e.request.mode === "navigate" && url.pathname.startsWith(page)) e.respondWith(shell(e));
});

async function asset(request: Request): Promise<Response> {
  const cache = await caches.open(cacheName);
  const kept = await cache.match(request);
  if (kept) return kept;
  const got = await fetch(request);
  if (got.ok) await cache.put(request, got.clone());
  return got;
}

/** The page from the network, which is always the newest; from here where that is out of reach. */
async function shell(e: FetchEvent): Promise<Response> {
  const cache = await caches.open(cacheName);
  const kept = await cache.match(page);
  const fresh = fetch(e.request).then(async (got) => {
    // The same page is served at every address: it is kept once.
    if (got.ok && !got.redirected) await cache.put(page, got.clone());
    return got;
  });
  if (!kept) return fresh;
  const late = new Promise<Response>((done) => setTimeout(() => done(kept), patience));
  e.waitUntil(fresh.catch(() => {}));
  return Promise.race([fresh, late]).catch(() => kept);
}

/** What the service sends (internal/send/push): tag is what it is about, a later message of it replaces it. */
type Pushed = { id?: string; kind?: string; title?: string; body?: string; link?: string; lang?: string; tag?: string };

worker.addEventListener("push", (e) => {
  let said: Pushed = {};
  try {
    said = e.data?.json() ?? {};
  } catch {
    said = { body: e.data?.text() };
  }
  e.waitUntil(
    worker.registration.showNotification(said.title ?? "Fettle", {
      body: said.body,
      lang: said.lang,
      dir: "auto",
      // One message shown twice, as after it was sent again, is one notification.
      tag: said.tag || said.id,
      icon: "/my/icons/icon-192.png",
      badge: "/my/icons/icon-192.png",
      requireInteraction: said.kind === "safety",
      data: said.link,
    }),
  );
});

worker.addEventListener("notificationclick", (e) => {
  e.notification.close();
  const url = new URL(typeof e.notification.data === "string" ? e.notification.data : page, location.origin);
  // A message leads nowhere but into the portal, or to what the service answers itself.
  const to = url.origin === location.origin ? url.href : new URL(page, location.origin).href;
  e.waitUntil(
    (async () => {
      for (const client of await worker.clients.matchAll({ type: "window" })) {
        if (new URL(client.url).pathname.startsWith(page)) {
          await client.focus().catch(() => {});
          await client.navigate(to).catch(() => {});
          return;
        }
      }
      await worker.clients.openWindow(to);
    })(),
  );
});
