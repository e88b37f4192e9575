import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../../client/client";
import { usePages } from "./pages";

export type Prediction = Wire["Prediction"];
export type RiskState = Wire["RiskState"];
export type Prognosis = Wire["Prognosis"];
export type Model = Wire["PrognosisModel"];
export type PartLife = Wire["PartLife"];
export type LifeGroup = Wire["LifeGroup"];
export type MaintenanceRecord = Wire["MaintenanceRecord"];
export type MaintenanceEntry = Wire["MaintenanceEntry"];

export const riskStates: RiskState[] = ["heading", "watch", "ok", "unknown"];

export type RiskFilter = { product?: string; detector?: string; state?: RiskState };

export function useRisks(filter: RiskFilter) {
  return usePages(
    ["risks", filter],
    (after) => ask(client.GET("/v1/risks", { params: { query: { ...filter, after, limit: 200 } } })),
    30_000,
  );
}

export function usePrognoses(product?: string) {
  return useQuery({
    queryKey: ["prognoses", product],
    queryFn: async () => (await ask(client.GET("/v1/prognoses", { params: { query: { product } } }))).items,
    refetchInterval: 30_000,
  });
}

export function useModels(name: string, wanted: boolean) {
  return useQuery({
    queryKey: ["models", name],
    queryFn: async () => (await ask(client.GET("/v1/prognoses/{name}/models", { params: { path: { name } } }))).items,
    enabled: wanted,
  });
}

export function useUnitPrognosis(id: string) {
  return useQuery({
    queryKey: ["unit", id, "prognosis"],
    queryFn: () => ask(client.GET("/v1/units/{id}/prognosis", { params: { path: { id }, query: { limit: 400 } } })),
    refetchInterval: 30_000,
  });
}

export function useParts(product: string | undefined) {
  return useQuery({
    queryKey: ["parts", product],
    queryFn: async () =>
      (await ask(client.GET("/v1/products/{name}/parts", { params: { path: { name: product ?? "" } } }))).items,
    enabled: !!product,
  });
}

export function usePartLife(product: string | undefined, part: string, by: Wire["LifeBy"], months: number) {
  return useQuery({
    queryKey: ["life", product, part, by, months],
    queryFn: () =>
      ask(
        client.GET("/v1/products/{name}/part-life", {
          params: { path: { name: product ?? "" }, query: { part, by, months } },
        }),
      ),
    enabled: !!product,
    placeholderData: (before) => before,
  });
}

export function useMaintenance(unit: string) {
  return usePages(["maintenance", unit], (after) =>
    ask(client.GET("/v1/maintenance", { params: { query: { unit, after, limit: 50 } } })),
  );
}

export function useRecordMaintenance(unit: string) {
  const queries = useQueryClient();
  const renew = () => {
    queries.invalidateQueries({ queryKey: ["maintenance", unit] });
    queries.invalidateQueries({ queryKey: ["unit", unit] });
  };
  const add = useMutation({
    mutationFn: (e: MaintenanceEntry) => ask(client.POST("/v1/maintenance", { body: { records: [e] } })),
    onSuccess: renew,
  });
  const remove = useMutation({
    mutationFn: (id: string) => tell(client.DELETE("/v1/maintenance/{id}", { params: { path: { id } } })),
    onSuccess: renew,
  });
  return { add, remove };
}
