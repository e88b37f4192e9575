import { useMutation, useQuery } from "@tanstack/react-query";
import { ask, client } from "../../client/client";

export function useTipNames() {
  return useQuery({
    queryKey: ["tips"],
    queryFn: async () => {
      const page = await ask(
        client.GET("/v1/declared/{kind}", { params: { path: { kind: "tip" }, query: { limit: 1000 } } }),
      );
      return page.items.map((d) => d.metadata.name);
    },
  });
}

export function useTipPreview(name: string) {
  return useQuery({
    queryKey: ["tip-preview", name],
    queryFn: async () => (await ask(client.GET("/v1/tips/{name}/preview", { params: { path: { name } } }))).items,
  });
}

export function useTipEffect(name: string) {
  return useQuery({
    queryKey: ["tip-effect", name],
    queryFn: () => ask(client.GET("/v1/tips/{name}/effect", { params: { path: { name } } })),
  });
}

export function useTryTip() {
  return useMutation({ mutationFn: (name: string) => ask(client.POST("/v1/tips/try", { body: { name } })) });
}

export function useFeeds() {
  return useQuery({
    queryKey: ["feeds"],
    queryFn: async () => (await ask(client.GET("/v1/feeds"))).items,
    refetchInterval: 30_000,
  });
}
