import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../client/client";
import { go } from "./address";

export type Me = Wire["Me"];
export type Condition = Wire["Condition"];
export type OwnersUnit = Wire["MyUnit"];
export type OwnersUpdate = Wire["MyUpdate"];
export type Purpose = Wire["MyPurpose"];
export type Signal = Wire["MySignal"];
export type Choice = Wire["Choice"];
export type Preferences = Wire["UpdatePreferences"];

/** What runs or is about to changes within seconds; the rest within minutes. */
const lively = new Set<OwnersUpdate["state"]>(["accepted", "retrying", "installing", "claimed"]);
const soon = 2_000;
const seldom = 30_000;

export function useMe() {
  return useQuery({ queryKey: ["me"], queryFn: () => ask(client.GET("/owner/v1/me")), refetchInterval: seldom });
}

export function useUnit(id: string) {
  return useQuery({
    queryKey: ["unit", id],
    queryFn: () => ask(client.GET("/owner/v1/units/{id}", { params: { path: { id } } })),
    refetchInterval: seldom,
  });
}

export function useUpdates() {
  return useQuery({
    queryKey: ["updates"],
    queryFn: async () => (await ask(client.GET("/owner/v1/updates"))).items,
    refetchInterval: (q) => (q.state.data?.some((u) => lively.has(u.state)) ? soon : seldom),
  });
}

export function useSendLink() {
  return useMutation({
    mutationFn: (email: string) => tell(client.POST("/owner/v1/sign-in/link", { body: { email } })),
  });
}

export function useSignIn(then: () => void) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (token: string) => ask(client.POST("/owner/v1/sign-in", { body: { token } })),
    onSuccess: () => {
      queries.clear();
      then();
    },
  });
}

export function useSignOut() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: () => tell(client.POST("/owner/v1/sign-out")),
    onSuccess: () => {
      go({ name: "sign-in" });
      queries.clear();
    },
  });
}

export function useConsent(unit: OwnersUnit, purpose: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (given: boolean) =>
      ask(
        client.PUT("/owner/v1/units/{id}/consents/{purpose}", {
          params: { path: { id: unit.id, purpose } },
          body: { given, notice: unit.notice },
        }),
      ),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["unit", unit.id] }),
  });
}

export function usePreferences() {
  return useQuery({ queryKey: ["preferences"], queryFn: () => ask(client.GET("/owner/v1/preferences")) });
}

export function useSavePreferences() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (body: Preferences) => ask(client.PUT("/owner/v1/preferences", { body })),
    onSuccess: (kept) => queries.setQueryData(["preferences"], kept),
  });
}

export function useChoose(id: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (body: { choice: Choice; at?: string }) =>
      ask(client.POST("/owner/v1/updates/{id}", { params: { path: { id } }, body })),
    // Also after a refusal: it may have begun meanwhile, and the card should say so.
    onSettled: () => queries.invalidateQueries({ queryKey: ["updates"] }),
  });
}
