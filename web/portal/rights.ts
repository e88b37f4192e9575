import { useQuery } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../client/client";

export type Asked = Wire["Request"];
export type Limit = Wire["Limit"];
export type Erased = Wire["ErasureReceipt"];

/** What may be asked for here; erasure has a way of its own. */
export const kinds = ["access", "rectification", "restriction", "objection"] as const;
export type Kind = (typeof kinds)[number];

export const useRights = () =>
  useQuery({ queryKey: ["rights"], queryFn: () => ask(client.GET("/owner/v1/rights")), refetchInterval: 60_000 });

export const askFor = (body: { kind: Kind; unitId: string; purpose?: string; text?: string }) =>
  ask(client.POST("/owner/v1/rights/requests", { body }));

export const lift = (limit: Limit) =>
  tell(client.DELETE("/owner/v1/rights/limits", { params: { query: { unit: limit.unitId, purpose: limit.purpose } } }));

export const eraseMe = (email: string) => ask(client.POST("/owner/v1/erasure", { body: { email } }));

/** How far an erasure is; it is asked for often until it has ended. */
export const useErasure = (id: string) =>
  useQuery({
    queryKey: ["erasure", id],
    enabled: id !== "",
    queryFn: () => ask(client.GET("/owner/v1/erasures/{id}", { params: { path: { id } } })),
    refetchInterval: (q) => (q.state.data?.endedAt ? false : 1_000),
  });
