import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../../client/client";

export type Scope = Wire["Scope"];

export function useSession() {
  return useQuery({
    queryKey: ["session"],
    queryFn: () => ask(client.GET("/v1/session")),
    staleTime: 60_000,
  });
}

/** Whether this session may do what needs a scope. */
export function useMay(scope: Scope): boolean {
  return useSession().data?.scopes.includes(scope) ?? false;
}

export function useSendLink() {
  return useMutation({
    mutationFn: (email: string) => tell(client.POST("/v1/sign-in/link", { body: { email } })),
  });
}

export function useSignIn() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (token: string) => ask(client.POST("/v1/sign-in", { body: { token } })),
    onSuccess: () => queries.clear(),
  });
}

export function useSignOut() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: () => tell(client.POST("/v1/sign-out")),
    onSuccess: () => queries.clear(),
  });
}
