import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../client/client";

export type OnUnit = Wire["OnUnit"];
export type Person = Wire["Person"];
export type Invited = Wire["MyInvitation"];
export type Claimed = Wire["Claimed"];
export type Ways = Wire["Ways"];

const here = () => ({
  locale: document.documentElement.lang,
  timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
});

export const useWays = () =>
  useQuery({ queryKey: ["ways"], queryFn: () => ask(client.GET("/owner/v1/sign-in/ways")), staleTime: 60_000 });

/** What waits for the person: invitations to them, requests for their products, their own requests. */
export const useInbox = () =>
  useQuery({
    queryKey: ["inbox"],
    queryFn: async () => (await ask(client.GET("/owner/v1/invitations"))).items,
  });

export const usePeople = (id: string) =>
  useQuery({
    queryKey: ["people", id],
    queryFn: () => ask(client.GET("/owner/v1/units/{id}/people", { params: { path: { id } } })),
  });

/** A change after which whatever was shown is asked for anew. */
export function useChange<V, T>(change: (v: V) => Promise<T>, then?: (out: T) => void) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSuccess: async (out: T) => {
      await queries.invalidateQueries();
      then?.(out);
    },
  });
}

const unitPath = (id: string) => ({ params: { path: { id } } });

export const invite = (id: string) => (body: Wire["NewInvitation"]) =>
  ask(client.POST("/owner/v1/units/{id}/invitations", { ...unitPath(id), body }));
export const answer = ({ id, accept }: { id: string; accept: boolean }) =>
  ask(client.POST("/owner/v1/invitations/{id}", { ...unitPath(id), body: { accept } }));
export const withdraw = (id: string) => tell(client.DELETE("/owner/v1/invitations/{id}", unitPath(id)));
export const permit =
  (id: string) =>
  ({ person, mayUpdate }: { person: string; mayUpdate: boolean }) =>
    tell(
      client.PATCH("/owner/v1/units/{id}/drivers/{person}", {
        params: { path: { id, person } },
        body: { mayUpdate },
      }),
    );
export const removeDriver = (id: string) => (person: string) =>
  tell(client.DELETE("/owner/v1/units/{id}/drivers/{person}", { params: { path: { id, person } } }));
export const makeCode = (id: string) => () => ask(client.POST("/owner/v1/units/{id}/code", unitPath(id)));
export const dropCode = (id: string) => () => tell(client.DELETE("/owner/v1/units/{id}/code", unitPath(id)));
export const farewell = (id: string) => () => tell(client.POST("/owner/v1/units/{id}/farewell", unitPath(id)));

export const look = (code: string) => ask(client.POST("/owner/v1/claims/look", { body: { code } }));
export const claim = (code: string) => ask(client.POST("/owner/v1/claims", { body: { code } }));
export const askClaimLink = ({ code, email }: { code: string; email: string }) =>
  tell(client.POST("/owner/v1/claims/link", { body: { code, email, ...here() } }));
export const claimByLink = (token: string) => ask(client.POST("/owner/v1/claims/confirm", { body: { token } }));
export const lookAtInvitation = (token: string) => ask(client.POST("/owner/v1/invitations/look", { body: { token } }));
export const answerByLink = ({ token, accept }: { token: string; accept: boolean }) =>
  ask(client.POST("/owner/v1/invitations/answer", { body: { token, accept, ...here() } }));
export const confirmEmail = (token: string) => ask(client.POST("/owner/v1/account/email/confirm", { body: { token } }));
