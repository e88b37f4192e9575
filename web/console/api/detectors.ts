import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../../client/client";
import { usePages } from "./pages";

export type Detector = Wire["Detector"];
export type DetectorDetail = Wire["DetectorDetail"];
export type Backtest = Wire["Backtest"];
export type BacktestResult = Wire["BacktestResult"];
export type Threshold = Wire["BacktestThreshold"];
export type BacktestUnit = Wire["BacktestUnit"];
export type BacktestRequest = Wire["BacktestRequest"];
export type DetectorSpec = Wire["DetectorSpec"];

export function useDetectorList(product?: string) {
  return usePages(
    ["detectors", product],
    (after) => ask(client.GET("/v1/detectors", { params: { query: { product, after, limit: 200 } } })),
    30_000,
  );
}

export function useDetector(name: string) {
  return useQuery({
    queryKey: ["detector", name],
    queryFn: () => ask(client.GET("/v1/detectors/{name}", { params: { path: { name } } })),
    refetchInterval: 30_000,
  });
}

export const ended = (j: Backtest) => j.state !== "waiting" && j.state !== "running";

/** The backtests of a detector, newest first; looked at often while one runs. */
export function useBacktests(detector: string) {
  return useQuery({
    queryKey: ["backtests", detector],
    queryFn: async () => (await ask(client.GET("/v1/backtests", { params: { query: { detector } } }))).items,
    refetchInterval: (q) => (q.state.data?.some((j) => !ended(j)) ? 1_000 : 30_000),
  });
}

export function useBacktest(id: string | undefined) {
  return useQuery({
    queryKey: ["backtest", id],
    queryFn: () => ask(client.GET("/v1/backtests/{id}", { params: { path: { id: id ?? "" } } })),
    enabled: id !== undefined,
    refetchInterval: (q) => (q.state.data && ended(q.state.data) ? false : 700),
  });
}

/** Units with their alarms under every threshold: those that failed first, then those with most alarms. */
export function useBacktestUnits(id: string, limit: number) {
  return useQuery({
    queryKey: ["backtest-units", id, limit],
    queryFn: async () =>
      (await ask(client.GET("/v1/backtests/{id}/units", { params: { path: { id }, query: { limit } } }))).items,
    staleTime: Number.POSITIVE_INFINITY,
  });
}

export function useStartBacktest() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (body: BacktestRequest) => ask(client.POST("/v1/backtests", { body })),
    onSuccess: (j) => queries.invalidateQueries({ queryKey: ["backtests", j.detector.name] }),
  });
}

export function useCancelBacktest(detector: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => tell(client.DELETE("/v1/backtests/{id}", { params: { path: { id } } })),
    onSuccess: (_, id) => {
      queries.invalidateQueries({ queryKey: ["backtests", detector] });
      queries.invalidateQueries({ queryKey: ["backtest", id] });
    },
  });
}

/** Applies a changed definition, as fettle apply does: it becomes the next version. */
export function useApplyDetector(name: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (spec: DetectorSpec) =>
      ask(
        client.POST("/v1/apply", {
          body: { documents: [{ apiVersion: "fettle.dev/v1", kind: "Detector", metadata: { name }, spec }] },
        }),
      ),
    onSuccess: () => {
      queries.invalidateQueries({ queryKey: ["detector", name] });
      queries.invalidateQueries({ queryKey: ["detectors"] });
      queries.invalidateQueries({ queryKey: ["declared"] });
    },
  });
}
