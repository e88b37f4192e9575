import createClient from "openapi-fetch";
import { Problem, Unreachable } from "./problem";
import type { components, paths } from "./schema";

/** The types of the wire, generated from api/openapi.yaml. */
export type Wire = components["schemas"];

export const client = createClient<paths>({ credentials: "same-origin" });

client.use({
  onError: () => new Unreachable("The server cannot be reached."),
});

type Answer<T> = { data?: T; error?: unknown; response: Response };

/** The body of an answer, or the server's refusal as a Problem. */
export async function ask<T>(answer: Promise<Answer<T>>): Promise<NonNullable<T>> {
  const { data, error, response } = await answer;
  if (!response.ok) throw new Problem(response.status, error);
  return data as NonNullable<T>;
}

/** The same for operations that answer with nothing. */
export async function tell(answer: Promise<Answer<unknown>>): Promise<void> {
  const { error, response } = await answer;
  if (!response.ok) throw new Problem(response.status, error);
}
