import { useQuery } from "@tanstack/react-query";
import { ask, client, type Wire } from "../../client/client";

export type Forecast = Wire["Forecast"];
export type Comparison = Wire["Comparison"];
type Detector = { name: string; version: number };

/** When a unit's signals will reach their limits, as seen now. */
export function useForecasts(id: string) {
  return useQuery({
    queryKey: ["unit", id, "forecasts"],
    queryFn: async () => (await ask(client.GET("/v1/units/{id}/forecasts", { params: { path: { id } } }))).items,
    // It is made from the unit’s whole history.
    staleTime: 600_000,
  });
}

/** What one detector foresaw of a unit at a time. */
export function useForecastAt(id: string, detector: Detector, at: string) {
  return useQuery({
    queryKey: ["unit", id, "forecasts", detector, at],
    queryFn: async () =>
      (
        await ask(
          client.GET("/v1/units/{id}/forecasts", {
            params: { path: { id }, query: { detector: detector.name, version: detector.version, at } },
          }),
        )
      ).items[0] ?? null,
  });
}

/** How a unit stood among its peers. */
export function useComparison(id: string, detector: Detector, from: string, to: string) {
  return useQuery({
    queryKey: ["unit", id, "peers", detector, from, to],
    queryFn: () =>
      ask(
        client.GET("/v1/units/{id}/peers", {
          params: { path: { id }, query: { detector: detector.name, version: detector.version, from, to } },
        }),
      ),
  });
}
