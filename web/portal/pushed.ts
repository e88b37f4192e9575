// What the first page has to know of messages to this browser; the rest, in
// push.ts, is fetched by who needs it.

export const canPush = () => "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;

/** What this browser is subscribed with, if it is. */
export async function subscribed(): Promise<PushSubscription | null> {
  if (!canPush()) return null;
  const registration = await navigator.serviceWorker.getRegistration("/my/");
  return (await registration?.pushManager.getSubscription()) ?? null;
}

/** Ends what is pushed to this browser: the push service then refuses it, whoever sends. */
export async function leavePush(): Promise<void> {
  await (await subscribed())?.unsubscribe();
}

/** A browser that gets messages gets those of whoever is signed in now, or none. */
export async function renewPush(): Promise<void> {
  if (await subscribed()) await (await import("./push")).renew();
}
