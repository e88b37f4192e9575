import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, type Wire } from "../../client/client";
import { usePages } from "./pages";

export type Unit = Wire["Unit"];
export type UnitDetail = Wire["UnitDetail"];
export type Condition = Wire["Condition"];
export type ProductOverview = Wire["ProductOverview"];
export type ProductSpec = Wire["ProductSpec"];
export type DetectorSpec = Wire["DetectorSpec"];
export type Series = Wire["Series"];
export type Claim = Wire["Claim"];
export type Declared<Spec> = { name: string; spec: Spec };

export const conditions: Condition[] = ["normal", "degraded", "failed", "silent", "unknown"];

export type UnitFilter = {
  product?: string;
  state?: Wire["UnitState"];
  batch?: string;
  hardware?: string;
  region?: string;
  version?: string;
  condition?: Condition;
  q?: string;
};

const live = 3_000;
const seldom = 30_000;
const large = 500;

export function useOverview() {
  return useQuery({
    queryKey: ["overview"],
    queryFn: () => ask(client.GET("/v1/overview")),
    refetchInterval: live,
    placeholderData: keepPreviousData,
  });
}

export function useUnits(filter: UnitFilter) {
  return usePages(
    ["units", filter],
    (after) => ask(client.GET("/v1/units", { params: { query: { ...filter, after, limit: large } } })),
    10_000,
  );
}

export function useUnit(id: string) {
  return useQuery({
    queryKey: ["unit", id],
    queryFn: () => ask(client.GET("/v1/units/{id}", { params: { path: { id } } })),
    refetchInterval: 5_000,
  });
}

export function useLatest(id: string) {
  return useQuery({
    queryKey: ["latest", id],
    queryFn: async () => (await ask(client.GET("/v1/units/{id}/latest", { params: { path: { id } } }))).items,
    refetchInterval: 5_000,
  });
}

export function useAccounting(id: string) {
  return useQuery({
    queryKey: ["accounting", id],
    queryFn: () => ask(client.GET("/v1/units/{id}/accounting", { params: { path: { id } } })),
    refetchInterval: 5_000,
  });
}

/** A signal over time; while another range is fetched, the one before stays. */
export function useSeries(id: string, signal: string, from: Date, to: Date, buckets: number) {
  const range = { from: from.toISOString(), to: to.toISOString(), buckets };
  return useQuery({
    queryKey: ["series", id, signal, range],
    queryFn: () => ask(client.GET("/v1/units/{id}/series", { params: { path: { id }, query: { signal, ...range } } })),
    placeholderData: keepPreviousData,
    staleTime: seldom,
    gcTime: seldom,
  });
}

export type UnitEvent = Wire["Event"];

/** A unit's events in a range, the newest first. */
export function useEvents(id: string, from: Date, to: Date, kind?: UnitEvent["kind"]) {
  const range = { from: from.toISOString(), to: to.toISOString(), kind };
  return usePages(["events", id, range], (after) =>
    ask(client.GET("/v1/units/{id}/events", { params: { path: { id }, query: { ...range, after, limit: 200 } } })),
  );
}

export type UnitAction = "revoke" | "retire" | "restore";

export function useUnitAction(id: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (action: UnitAction) => {
      const params = { params: { path: { id } } };
      switch (action) {
        case "revoke":
          return ask(client.POST("/v1/units/{id}/revoke", params));
        case "retire":
          return ask(client.POST("/v1/units/{id}/retire", params));
        case "restore":
          return ask(client.POST("/v1/units/{id}/restore", params));
      }
    },
    onSuccess: () => queries.invalidateQueries({ queryKey: ["unit", id] }),
  });
}

export function useIssueUnitToken(id: string) {
  return useMutation({
    mutationFn: () => ask(client.POST("/v1/units/{id}/token", { params: { path: { id } } })),
  });
}

function useDeclared<Spec>(kind: "product" | "detector") {
  return usePages<Declared<Spec>>(["declared", kind], async (after) => {
    const page = await ask(
      client.GET("/v1/declared/{kind}", { params: { path: { kind }, query: { after, limit: large } } }),
    );
    return { items: page.items.map((d) => ({ name: d.metadata.name, spec: d.spec as Spec })), next: page.next };
  });
}

export const useProducts = () => useDeclared<ProductSpec>("product");
export const useDetectors = () => useDeclared<DetectorSpec>("detector");

export function useProduct(name: string) {
  return useQuery({
    queryKey: ["declared", "product", name],
    queryFn: async () => {
      const path = { kind: "product", name } as const;
      return (await ask(client.GET("/v1/declared/{kind}/{name}", { params: { path } }))).spec as ProductSpec;
    },
    staleTime: seldom,
    enabled: name !== "",
  });
}

export function useClaims(state?: Claim["state"]) {
  return usePages(
    ["claims", state],
    (after) => ask(client.GET("/v1/claims", { params: { query: { state: state as "pending", after, limit: large } } })),
    5_000,
  );
}

export function useDecideClaim() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: ({ id, approve, why }: { id: string; approve: boolean; why?: string }) =>
      approve
        ? ask(client.POST("/v1/claims/{id}/approve", { params: { path: { id } } }))
        : ask(client.POST("/v1/claims/{id}/reject", { params: { path: { id } }, body: { why } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["claims"] }),
  });
}

export function useMakeClaimToken() {
  return useMutation({
    mutationFn: (product: string) =>
      ask(client.POST("/v1/products/{name}/claim-token", { params: { path: { name: product } }, body: {} })),
  });
}
