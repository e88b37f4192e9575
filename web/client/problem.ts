/** A refusal as the server words it (RFC 9457). */
export class Problem extends Error {
  readonly status: number;
  readonly errors: { location?: string; message?: string }[];

  constructor(status: number, body: unknown) {
    const b = (body ?? {}) as { title?: string; detail?: string; errors?: Problem["errors"] | null };
    super(b.detail || b.title || `The server answered ${status}.`);
    this.status = status;
    this.errors = b.errors ?? [];
  }
}

/** The server could not be reached at all. */
export class Unreachable extends Error {}

export function isSignedOut(error: unknown): boolean {
  return error instanceof Problem && error.status === 401;
}
