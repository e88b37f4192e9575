// Passkeys: what Web Authentication has in bytes travels as base64url. Not every
// browser has PublicKeyCredential.parseCreationOptionsFromJSON yet.

const bytes = (text: string): ArrayBuffer => {
  const raw = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(raw, (c) => c.charCodeAt(0)).buffer;
};

const text = (raw: ArrayBuffer | null): string | undefined =>
  raw === null
    ? undefined
    : btoa(String.fromCharCode(...new Uint8Array(raw)))
        .replace(/\+/g, "-")
        .replace(/\//g, "_")
        .replace(/=+$/, "");

type Descriptor = { id: string; type: "public-key"; transports?: AuthenticatorTransport[] };
type Options = { publicKey: Record<string, unknown> & { challenge: string } };
const ids = (all: unknown) => ((all ?? []) as Descriptor[]).map((d) => ({ ...d, id: bytes(d.id) }));

export const passkeysWork = () => "PublicKeyCredential" in window;

/** The person closed the browser's window, or took too long. */
export const gaveUp = (e: unknown) =>
  e instanceof DOMException && (e.name === "NotAllowedError" || e.name === "AbortError");

/** This device has a passkey of the account already. */
export const known = (e: unknown) => e instanceof DOMException && e.name === "InvalidStateError";

/** Lets the browser answer a challenge with a passkey that it has. */
export async function show(options: unknown) {
  const { publicKey } = options as Options;
  const got = (await navigator.credentials.get({
    publicKey: {
      ...publicKey,
      challenge: bytes(publicKey.challenge),
      allowCredentials: ids(publicKey.allowCredentials),
    } as PublicKeyCredentialRequestOptions,
  })) as PublicKeyCredential;
  const r = got.response as AuthenticatorAssertionResponse;
  return {
    id: got.id,
    rawId: text(got.rawId),
    type: got.type,
    clientExtensionResults: got.getClientExtensionResults(),
    authenticatorAttachment: got.authenticatorAttachment ?? undefined,
    response: {
      clientDataJSON: text(r.clientDataJSON),
      authenticatorData: text(r.authenticatorData),
      signature: text(r.signature),
      userHandle: text(r.userHandle),
    },
  };
}

/** Lets the browser make a passkey. */
export async function make(options: unknown) {
  const { publicKey } = options as Options & { publicKey: { user: { id: string } } };
  const made = (await navigator.credentials.create({
    publicKey: {
      ...publicKey,
      challenge: bytes(publicKey.challenge),
      user: { ...publicKey.user, id: bytes(publicKey.user.id) },
      excludeCredentials: ids(publicKey.excludeCredentials),
    } as unknown as PublicKeyCredentialCreationOptions,
  })) as PublicKeyCredential;
  const r = made.response as AuthenticatorAttestationResponse;
  return {
    id: made.id,
    rawId: text(made.rawId),
    type: made.type,
    clientExtensionResults: made.getClientExtensionResults(),
    authenticatorAttachment: made.authenticatorAttachment ?? undefined,
    response: {
      clientDataJSON: text(r.clientDataJSON),
      attestationObject: text(r.attestationObject),
      transports: r.getTransports?.() ?? [],
    },
  };
}
