import { ask, client } from "../client/client";
import { make, show } from "../client/passkeys";

export { gaveUp, known, passkeysWork } from "../client/passkeys";

export async function signInByPasskey(): Promise<void> {
  const { id, options } = await ask(client.POST("/owner/v1/sign-in/passkey/begin"));
  await ask(client.POST("/owner/v1/sign-in/passkey", { body: { id, credential: await show(options) } }));
}

export async function makePasskey(name: string): Promise<void> {
  const { id, options } = await ask(client.POST("/owner/v1/passkeys/begin"));
  await ask(client.POST("/owner/v1/passkeys", { body: { id, name, credential: await make(options) } }));
}
