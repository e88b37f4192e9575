// The page's side of the service worker: it is fetched when the page stands, and
// a new one takes over when the owner says so.

let waiting: ServiceWorker | null = null;
const told = new Set<() => void>();

/** Whether a newer portal is ready; asked by the bar that offers it. */
export const isNewer = () => waiting !== null;

export function onNewer(tell: () => void): () => void {
  told.add(tell);
  return () => told.delete(tell);
}

/** Changes to the newer portal: this page is loaded anew by it. */
export function changeOver(): void {
  waiting?.postMessage("change");
}

function offer(worker: ServiceWorker): void {
  waiting = worker;
  for (const tell of told) tell();
}

function keepLoaded(by: ServiceWorkerRegistration): void {
  by.active?.postMessage({
    keep: performance.getEntriesByType("resource").map((r) => new URL(r.name).pathname),
  });
}

export async function register(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  const known = navigator.serviceWorker.controller;
  const registration = await navigator.serviceWorker.register("/my/sw.js", { scope: "/my/" });
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    if (known) location.reload();
    else keepLoaded(registration); // what came while nobody was in charge yet
  });
  if (registration.waiting && known) offer(registration.waiting);
  registration.addEventListener("updatefound", () => {
    const next = registration.installing;
    next?.addEventListener("statechange", () => {
      if (next.state === "installed" && navigator.serviceWorker.controller) offer(next);
    });
  });
  // An app that stays open for weeks asks now and then.
  setInterval(() => registration.update().catch(() => {}), 6 * 3600_000);
  keepLoaded(await navigator.serviceWorker.ready);
  // The typefaces come from the second visit on, from then on from here.
  if (known) await import("./fonts.css");
}
