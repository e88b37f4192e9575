import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../client/client";

export type Tip = Wire["Shown"];
export type Switch = Wire["Switch"];
export type Tips = Wire["Mine"];

/** Tips have their moment: looked for every half minute. */
export function useTips() {
  return useQuery({
    queryKey: ["tips"],
    queryFn: () => ask(client.GET("/owner/v1/tips")),
    refetchInterval: 30_000,
  });
}

type Event = Wire["Said"]["event"];

export function useReportTip() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: ({ id, event }: { id: string; event: Event }) =>
      tell(client.POST("/owner/v1/tips/{id}", { params: { path: { id } }, body: { event } })),
    onSuccess: (_, { event }) => {
      if (event !== "shown") return queries.invalidateQueries({ queryKey: ["tips"] });
    },
  });
}

export function useSwitchTip() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (body: { tip: string; on: boolean }) => tell(client.PUT("/owner/v1/tips/switches", { body })),
    onSettled: () => queries.invalidateQueries({ queryKey: ["tips"] }),
  });
}
