import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, type Wire } from "../../client/client";
import { usePages } from "./pages";

export type Finding = Wire["Finding"];
export type FindingDetail = Wire["FindingDetail"];
export type Severity = Wire["Severity"];
export type Assessment = Wire["Assessment"];

export const severities: Severity[] = ["critical", "major", "minor", "warning"];

export type FindingFilter = {
  product?: string;
  unit?: string;
  detector?: string;
  state?: Wire["FindingState"];
  severity?: Severity;
  shelved?: boolean;
  from?: string;
  to?: string;
};

export function useFindings(filter: FindingFilter) {
  return usePages(
    ["findings", filter],
    (after) => ask(client.GET("/v1/findings", { params: { query: { ...filter, after, limit: 200 } } })),
    5_000,
  );
}

export function useFinding(id: string) {
  return useQuery({
    queryKey: ["finding", id],
    queryFn: () => ask(client.GET("/v1/findings/{id}", { params: { path: { id } } })),
    refetchInterval: 5_000,
  });
}

export type FindingChange =
  | { do: "ack" }
  | { do: "unack" }
  | { do: "shelve"; until?: string }
  | { do: "assess"; assessment: Assessment }
  | { do: "comment"; text: string };

export function useChangeFinding(id: string) {
  const queries = useQueryClient();
  const params = { path: { id } };
  return useMutation({
    mutationFn: async (change: FindingChange): Promise<unknown> => {
      switch (change.do) {
        case "ack":
          return ask(client.POST("/v1/findings/{id}/ack", { params }));
        case "unack":
          return ask(client.POST("/v1/findings/{id}/unack", { params }));
        case "shelve":
          return ask(client.POST("/v1/findings/{id}/shelve", { params, body: { until: change.until } }));
        case "assess":
          return ask(client.POST("/v1/findings/{id}/assess", { params, body: { assessment: change.assessment } }));
        case "comment":
          return ask(client.POST("/v1/findings/{id}/comments", { params, body: { text: change.text } }));
      }
    },
    onSuccess: () => {
      queries.invalidateQueries({ queryKey: ["finding", id] });
      queries.invalidateQueries({ queryKey: ["findings"] });
    },
  });
}
