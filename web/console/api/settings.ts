import { useMutation, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../../client/client";
import { usePages } from "./pages";

export type APIToken = Wire["APIToken"];
export type NewToken = Wire["NewToken"];
export type NewRoute = Wire["NewRoute"];
export type NotifyRoute = Wire["NotifyRoute"];

export function useTokens() {
  return usePages(["tokens"], (after) => ask(client.GET("/v1/tokens", { params: { query: { after, limit: 200 } } })));
}

export function useMakeToken() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (body: NewToken) => ask(client.POST("/v1/tokens", { body })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["tokens"] }),
  });
}

export function useRevokeToken() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => tell(client.DELETE("/v1/tokens/{id}", { params: { path: { id } } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["tokens"] }),
  });
}

export function useRoutes() {
  return usePages(["routes"], (after) =>
    ask(client.GET("/v1/notify/routes", { params: { query: { after, limit: 200 } } })),
  );
}

export function usePutRoute() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: ({ name, route }: { name: string; route: NewRoute }) =>
      ask(client.PUT("/v1/notify/routes/{name}", { params: { path: { name } }, body: route })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["routes"] }),
  });
}

export function useDeleteRoute() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (name: string) => tell(client.DELETE("/v1/notify/routes/{name}", { params: { path: { name } } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["routes"] }),
  });
}
