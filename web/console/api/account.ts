import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../../client/client";
import { make, show } from "../../client/passkeys";
import { Problem } from "../../client/problem";
import { usePages } from "./pages";

export type Account = Wire["OperatorAccount"];
export type Operator = Wire["Operator"];
export type OpenSession = Wire["OpenSession"];
export type Enrolment = Wire["Enrolment"];
export type Invitation = Wire["Invitation"];
export type OperatorChange = Wire["OperatorChange"];
export type Approval = Wire["Approval"];
export type Passkey = Wire["Passkey"];

// Signing in.

export function useWays() {
  return useQuery({ queryKey: ["ways"], queryFn: () => ask(client.GET("/v1/sign-in/ways")), staleTime: 60_000 });
}

/** A sign-in that ends in a session: what was known before is forgotten. */
function useDoor<In, Out>(open: (given: In) => Promise<Out>) {
  const queries = useQueryClient();
  return useMutation({ mutationFn: open, onSuccess: () => queries.clear() });
}

export function usePassword() {
  return useMutation({
    mutationFn: (body: { email: string; password: string }) => ask(client.POST("/v1/sign-in/password", { body })),
  });
}

export function useCode() {
  return useDoor((body: { ticket: string; code: string }) => ask(client.POST("/v1/sign-in/code", { body })));
}

export function useFirstEnrolment(ticket: string) {
  return useQuery({
    queryKey: ["enrol", ticket],
    queryFn: () => ask(client.POST("/v1/sign-in/enrol", { body: { ticket } })),
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
}

export function useFirstEnrolled() {
  return useMutation({
    mutationFn: (body: { ticket: string; code: string }) => ask(client.POST("/v1/sign-in/enrolled", { body })),
  });
}

export function usePasskeySignIn() {
  return useDoor(async () => {
    const { id, options } = await ask(client.POST("/v1/sign-in/passkey/begin"));
    await ask(client.POST("/v1/sign-in/passkey", { body: { id, credential: await show(options) } }));
  });
}

// One's own account.

const mine = ["account"];

export function useAccount() {
  return useQuery({ queryKey: mine, queryFn: () => ask(client.GET("/v1/account")) });
}

/** A change of one's own account, after which all of it is read anew. */
function useChange<In, Out>(change: (given: In) => Promise<Out>) {
  const queries = useQueryClient();
  return useMutation({ mutationFn: change, onSuccess: () => queries.invalidateQueries({ queryKey: mine }) });
}

export const needsProof = (e: unknown) =>
  e instanceof Problem && e.status === 403 && /second factor once more/.test(e.message);

export const useProve = () => useChange((code: string) => tell(client.POST("/v1/account/prove", { body: { code } })));
export const useSetPassword = () =>
  useChange((body: { old?: string; password: string }) => tell(client.PUT("/v1/account/password", { body })));
export const useEnrol = () => useChange(() => ask(client.POST("/v1/account/authenticator")));
export const useEnrolled = () =>
  useChange((body: { ticket: string; code: string }) =>
    ask(client.POST("/v1/account/authenticator/confirm", { body })),
  );
export const useNewRecovery = () => useChange(() => ask(client.POST("/v1/account/recovery-codes")));
export const useEndSession = () =>
  useChange((id: string) => tell(client.DELETE("/v1/sessions/{id}", { params: { path: { id } } })));
export const useEndOthers = () => useChange(() => tell(client.DELETE("/v1/sessions")));
export const useRemovePasskey = () =>
  useChange((id: string) => tell(client.DELETE("/v1/passkeys/{id}", { params: { path: { id } } })));
export const useMakePasskey = () =>
  useChange(async (name: string) => {
    const { id, options } = await ask(client.POST("/v1/passkeys/begin"));
    return ask(client.POST("/v1/passkeys", { body: { id, name, credential: await make(options) } }));
  });

export function useSessions() {
  return useQuery({ queryKey: [...mine, "sessions"], queryFn: () => ask(client.GET("/v1/sessions")) });
}

export function usePasskeys() {
  return useQuery({ queryKey: [...mine, "passkeys"], queryFn: () => ask(client.GET("/v1/passkeys")) });
}

// Everybody's.

const people = ["operators"];

export function useOperators() {
  return usePages(people, (after) => ask(client.GET("/v1/operators", { params: { query: { after, limit: 200 } } })));
}

function usePeople<In, Out>(change: (given: In) => Promise<Out>) {
  const queries = useQueryClient();
  return useMutation({ mutationFn: change, onSuccess: () => queries.invalidateQueries({ queryKey: people }) });
}

export const useInvite = () => usePeople((body: Invitation) => ask(client.POST("/v1/operators", { body })));
export const useChangeOperator = () =>
  usePeople(({ id, change }: { id: string; change: OperatorChange }) =>
    ask(client.PATCH("/v1/operators/{id}", { params: { path: { id } }, body: change })),
  );
export const useRemoveOperator = () =>
  usePeople((id: string) => tell(client.DELETE("/v1/operators/{id}", { params: { path: { id } } })));
export const useResetOperator = () =>
  usePeople((id: string) => ask(client.POST("/v1/operators/{id}/reset", { params: { path: { id } } })));
export const useEndSessionsOf = () =>
  usePeople((id: string) => tell(client.DELETE("/v1/operators/{id}/sessions", { params: { path: { id } } })));

export function useSessionsOf(id: string, open: boolean) {
  return useQuery({
    queryKey: [...people, id, "sessions"],
    queryFn: () => ask(client.GET("/v1/operators/{id}/sessions", { params: { path: { id } } })),
    enabled: open,
  });
}

export function useRoles() {
  return useQuery({ queryKey: ["roles"], queryFn: () => ask(client.GET("/v1/roles")), staleTime: 600_000 });
}

// What one asks for and another decides.

export function useApprovals() {
  return useQuery({
    queryKey: ["approvals"],
    queryFn: () => ask(client.GET("/v1/approvals")),
    refetchInterval: 30_000,
  });
}

export function useDecide() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: ({ id, approve, why }: { id: string; approve: boolean; why?: string }) =>
      ask(
        approve
          ? client.POST("/v1/approvals/{id}/approve", { params: { path: { id } }, body: { why } })
          : client.POST("/v1/approvals/{id}/reject", { params: { path: { id } }, body: { why } }),
      ),
    onSuccess: () =>
      Promise.all([
        queries.invalidateQueries({ queryKey: ["approvals"] }),
        queries.invalidateQueries({ queryKey: ["campaign"] }),
        queries.invalidateQueries({ queryKey: ["campaigns"] }),
      ]),
  });
}
