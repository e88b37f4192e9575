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
const scopes: string[] = ["read", "write", "admin"] satisfies Scope[];

/** What an operator may do, as internal/fleet/access/role.go has it. */
export type Permission =
  | "look"
  | "personal"
  | "findings"
  | "contact"
  | "analyse"
  | "export"
  | "declare"
  | "units"
  | "enrol"
  | "release"
  | "campaign"
  | "approve"
  | "privacy"
  | "administer";

/** Whether this session may do what needs a permission, or everything that a scope of tokens holds. */
export function useMay(needed: Permission | Scope): boolean {
  const session = useSession().data;
  if (!session) return false;
  if (scopes.includes(needed)) return scopes.indexOf(session.scope) >= scopes.indexOf(needed);
  return session.permissions?.includes(needed) ?? false;
}

export function useSendLink() {
  return useMutation({
    mutationFn: (email: string) => tell(client.POST("/v1/sign-in/link", { body: { email } })),
  });
}

export function useSignIn() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (body: { token: string; code?: string }) => ask(client.POST("/v1/sign-in", { body })),
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
