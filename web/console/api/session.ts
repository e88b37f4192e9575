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

// Each includes those before it.
const scopes: Scope[] = ["read", "write", "admin"];

/** Whether this session may do what needs a scope. */
export function useMay(needed: Scope): boolean {
  const scope = useSession().data?.scope;
  return scope !== undefined && scopes.indexOf(scope) >= scopes.indexOf(needed);
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
