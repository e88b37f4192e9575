import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../../client/client";
import { usePages } from "./pages";

export type Campaign = Wire["Campaign"];
export type CampaignDetail = Wire["CampaignDetail"];
export type CampaignState = Wire["CampaignState"];
export type Wave = Wire["Wave"];
export type WaveSpec = Wire["WaveSpec"];
export type Effect = Wire["Effect"];
export type GateEvidence = Wire["GateEvidence"];
export type Task = Wire["Task"];
export type TaskState = Wire["TaskState"];
export type DryRun = Wire["DryRun"];
export type Report = Wire["Report"];
export type Cohort = Wire["Cohort"];
export type CohortDefinition = Wire["CohortDefinition"];
export type Shared = Wire["Shared"];
export type Member = Wire["Member"];
export type MemberList = Member["list"];

const live = 1_500;

export function useCampaigns(filter: { product?: string; release?: string; state?: CampaignState }) {
  return usePages(
    ["campaigns", filter],
    (after) => ask(client.GET("/v1/campaigns", { params: { query: { ...filter, after, limit: 200 } } })),
    live,
  );
}

export function useCampaign(name: string) {
  return useQuery({
    queryKey: ["campaign", name],
    queryFn: () => ask(client.GET("/v1/campaigns/{name}", { params: { path: { name } } })),
    refetchInterval: (q) => (["planning", "running"].includes(q.state.data?.state ?? "") ? live : 10_000),
  });
}

export function useTasks(name: string, filter: { state?: TaskState; wave?: number; unit?: string; code?: string }) {
  return usePages(
    ["tasks", name, filter],
    (after) =>
      ask(
        client.GET("/v1/campaigns/{name}/tasks", {
          params: { path: { name }, query: { ...filter, after, limit: 200 } },
        }),
      ),
    live * 2,
  );
}

export function useReport(name: string) {
  return useQuery({
    queryKey: ["report", name],
    queryFn: () => ask(client.GET("/v1/campaigns/{name}/report", { params: { path: { name } } })),
  });
}

export function useDryRun(name: string) {
  return useMutation({
    mutationFn: () =>
      ask(client.POST("/v1/campaigns/{name}/dry-run", { params: { path: { name }, query: { limit: 1000 } } })),
  });
}

export type CampaignAction = "start" | "pause" | "resume" | "cancel";

export function useCampaignAction(name: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: ({ action, why }: { action: CampaignAction; why?: string }) => {
      const request = { params: { path: { name } }, body: { why } };
      switch (action) {
        case "start":
          return ask(client.POST("/v1/campaigns/{name}/start", request));
        case "pause":
          return ask(client.POST("/v1/campaigns/{name}/pause", request));
        case "resume":
          return ask(client.POST("/v1/campaigns/{name}/resume", request));
        case "cancel":
          return ask(client.POST("/v1/campaigns/{name}/cancel", request));
      }
    },
    onSuccess: () => {
      queries.invalidateQueries({ queryKey: ["campaign", name] });
      queries.invalidateQueries({ queryKey: ["campaigns"] });
    },
  });
}

export function useCohorts(product?: string) {
  return usePages(
    ["cohorts", product],
    (after) => ask(client.GET("/v1/cohorts", { params: { query: { product, after, limit: 200 } } })),
    5_000,
  );
}

export function useCohort(id: string) {
  return useQuery({
    queryKey: ["cohort", id],
    queryFn: () => ask(client.GET("/v1/cohorts/{id}", { params: { path: { id } } })),
    refetchInterval: (q) => (q.state.data?.state === "computing" ? 1_000 : false),
  });
}

export function useMembers(id: string, list: MemberList, ready: boolean) {
  return usePages(["members", id, list, ready], (after) =>
    ask(client.GET("/v1/cohorts/{id}/members", { params: { path: { id }, query: { list, after, limit: 1000 } } })),
  );
}

export function useWhoElse(findingId: string | undefined) {
  return useQuery({
    queryKey: ["who-else", findingId],
    queryFn: () => ask(client.GET("/v1/findings/{id}/who-else", { params: { path: { id: findingId ?? "" } } })),
    enabled: findingId !== undefined,
    placeholderData: keepPreviousData,
    staleTime: Number.POSITIVE_INFINITY,
  });
}

export function useCreateCohort() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (definition: CohortDefinition) => ask(client.POST("/v1/cohorts", { body: { definition } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["cohorts"] }),
  });
}

export function useDeleteCohort() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => tell(client.DELETE("/v1/cohorts/{id}", { params: { path: { id } } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["cohorts"] }),
  });
}
