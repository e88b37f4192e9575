// Messages to this browser (Push API, W3C; RFC 8030).

export const canPush = () => "serviceWorker" in navigator && "PushManager" in window;

async function subscription(): Promise<PushSubscription | null> {
  if (!canPush()) return null;
  const registration = await navigator.serviceWorker.getRegistration("/my/");
  return (await registration?.pushManager.getSubscription()) ?? null;
}

/** Ends what is pushed to this browser: the push service then refuses it, whoever sends. */
export async function leavePush(): Promise<void> {
  await (await subscription())?.unsubscribe();
}
