import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, type Wire } from "../../client/client";
import { usePages } from "./pages";

export type AuditEntry = Wire["AuditEntry"];
export type Verdict = Wire["AuditVerdict"];
export type Asked = Wire["Asked"];
export type Answer = Wire["AnswerInBody"];
export type Receipt = Wire["ErasureReceipt"];

export type TrailFilter = {
  kind?: string;
  actor?: string;
  person?: string;
  object?: string;
  operation?: string;
  /** Days of UTC, YYYY-MM-DD, both included. */
  from?: string;
  to?: string;
};

const day = /^\d{4}-\d{2}-\d{2}$/;

/** A filter as the API takes it: instants, the last not included. */
function queryOf({ from, to, ...rest }: TrailFilter): Record<string, string | undefined> {
  const next = to && day.test(to) ? new Date(Date.parse(`${to}T00:00:00Z`) + 24 * 3600 * 1000).toISOString() : to;
  return { ...rest, from: from && day.test(from) ? `${from}T00:00:00Z` : from, to: next };
}

export function useTrail(filter: TrailFilter) {
  return usePages(
    ["audit", filter],
    // What stands in the address is checked by the server.
    (after) => ask(client.GET("/v1/audit", { params: { query: { ...queryOf(filter), after, limit: 100 } as never } })),
  );
}

/** The address of a file with what the filter picks. */
export function trailFile(filter: TrailFilter, format: "jsonl" | "csv"): string {
  const query = new URLSearchParams({ format });
  for (const [key, value] of Object.entries(queryOf(filter))) if (value) query.set(key, value);
  return `/v1/audit/export?${query}`;
}

export function useHead() {
  return useQuery({ queryKey: ["audit-head"], queryFn: () => ask(client.GET("/v1/audit/head")) });
}

export function useVerify() {
  return useMutation({
    mutationFn: (head: string[]) => ask(client.GET("/v1/audit/verify", { params: { query: { head } } })),
  });
}

export function useRequests(filter: { state?: string; kind?: string }) {
  return usePages(
    ["rights-requests", filter],
    (after) =>
      ask(client.GET("/v1/privacy/requests", { params: { query: { ...filter, after, limit: 100 } as never } })),
    30_000,
  );
}

export function useAnswer() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: ({ id, ...body }: Answer & { id: string }) =>
      ask(client.POST("/v1/privacy/requests/{id}/answer", { params: { path: { id } }, body })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["rights-requests"] }),
  });
}

export function useErasures() {
  return usePages(
    ["erasures"],
    (after) => ask(client.GET("/v1/privacy/erasures", { params: { query: { after, limit: 100 } } })),
    3_000,
  );
}
