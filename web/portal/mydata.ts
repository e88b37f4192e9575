import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../client/client";

export type MyData = Wire["MyData"];
export type PurposeData = Wire["MyPurposeData"];
export type Share = Wire["Share"];
export type MadeShare = Wire["MadeShare"];
export type DataExport = Wire["DataExport"];

const unit = (id: string) => ({ params: { path: { id } } });

/** What is collected of a unit; while something is being erased it is asked for often. */
export const useMyData = (id: string) =>
  useQuery({
    queryKey: ["mydata", id],
    queryFn: () => ask(client.GET("/owner/v1/units/{id}/data", unit(id))),
    refetchInterval: (q) => (q.state.data?.withdrawals.some((w) => !w.endedAt) ? 1_000 : 30_000),
  });

const changing = ["mydata", "exports", "shares", "unit", "rights"];

/** A change after which what it may have changed is asked for anew. */
export function useData<V, T>(change: (v: V) => Promise<T>) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSuccess: () =>
      Promise.all(changing.map((key) => queries.invalidateQueries({ queryKey: [key] }))).then(() => undefined),
  });
}

export const choose = (id: string, purpose: string, notice: string, language: string) => (given: boolean) =>
  ask(
    client.PUT("/owner/v1/units/{id}/consents/{purpose}", {
      params: { path: { id, purpose } },
      body: { given, notice, language },
    }),
  );

export const useExports = () =>
  useQuery({
    queryKey: ["exports"],
    queryFn: async () => (await ask(client.GET("/owner/v1/exports"))).items,
    refetchInterval: (q) =>
      q.state.data?.some((e) => e.state === "waiting" || e.state === "running") ? 1_000 : 60_000,
  });
export const askExport = () => ask(client.POST("/owner/v1/exports", { body: {} }));

export const useShares = () =>
  useQuery({
    queryKey: ["shares"],
    queryFn: async () => (await ask(client.GET("/owner/v1/shares"))).items,
  });
/** What was fetched by a share, the newest first; asked for when it is looked at. */
export const useShareUses = (id: string, enabled: boolean) =>
  useQuery({
    queryKey: ["share uses", id],
    queryFn: async () => (await ask(client.GET("/owner/v1/shares/{id}/uses", unit(id)))).items,
    enabled,
    refetchInterval: 30_000,
  });
export const share = (id: string) => (body: Wire["ShareSpec"]) =>
  ask(client.POST("/owner/v1/units/{id}/shares", { ...unit(id), body }));
export const endShare = (id: string) => tell(client.DELETE("/owner/v1/shares/{id}", unit(id)));
