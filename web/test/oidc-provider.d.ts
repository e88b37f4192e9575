/** What the tests use of it; the package comes without types. */
declare module "oidc-provider" {
  import type { RequestListener } from "node:http";

  type Account = { accountId: string; claims: () => Record<string, unknown> };
  export default class Provider {
    constructor(
      issuer: string,
      config: { findAccount: (ctx: unknown, id: string) => Account } & Record<string, unknown>,
    );
    callback(): RequestListener;
  }
}
