import { type QueryClient, useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { ask, client, tell, type Wire } from "../client/client";
import { go } from "./address";
import { leavePush } from "./pushed";

export type Me = Wire["Me"];
export type Condition = Wire["Condition"];
export type OwnersUnit = Wire["MyUnit"];
export type OwnersUpdate = Wire["MyUpdate"];
export type Purpose = Wire["MyPurpose"];
export type Signal = Wire["MySignal"];
export type Choice = Wire["Choice"];
export type Finding = Wire["MyFinding"];
export type Series = Wire["Series"];
export type Event = Wire["MyEvent"];
export type Preferences = Wire["UpdatePreferences"];

/** Asks for answers in the language that the page is in; what the maker has words for comes in it. */
client.use({
  onRequest({ request }) {
    request.headers.set("Accept-Language", document.documentElement.lang);
    return request;
  },
});

/** What runs or is about to changes within seconds; the rest within minutes. */
const lively = new Set<OwnersUpdate["state"]>(["accepted", "retrying", "installing", "claimed"]);
const soon = 2_000;
const seldom = 30_000;

const me = { queryKey: ["me"], queryFn: () => ask(client.GET("/owner/v1/me")) };

/** Asks who is here before there is anything to draw. */
export const meetMe = (queries: QueryClient) => queries.prefetchQuery(me);

export function useMe() {
  return useQuery({ ...me, refetchInterval: seldom });
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

export function useFindings(unit: string) {
  return useQuery({
    queryKey: ["findings", unit],
    queryFn: async () =>
      (
        await ask(
          client.GET("/owner/v1/units/{id}/findings", { params: { path: { id: unit }, query: { state: "open" } } }),
        )
      ).items,
    refetchInterval: seldom,
  });
}

export function useFinding(unit: string, finding: string) {
  return useQuery({
    queryKey: ["finding", unit, finding],
    queryFn: () =>
      ask(client.GET("/owner/v1/units/{id}/findings/{finding}", { params: { path: { id: unit, finding } } })),
  });
}

export function useSeries(unit: string, signal: string, from: string, to: string) {
  return useQuery({
    // To the minute: the end is now, which would make each look another one.
    queryKey: ["series", unit, signal, from, to.slice(0, 16)],
    queryFn: () =>
      ask(client.GET("/owner/v1/units/{id}/series", { params: { path: { id: unit }, query: { signal, from, to } } })),
    staleTime: 60_000,
  });
}

export function useHistory(unit: string) {
  return useInfiniteQuery({
    queryKey: ["history", unit],
    queryFn: ({ pageParam }) =>
      ask(
        client.GET("/owner/v1/units/{id}/history", {
          params: { path: { id: unit }, query: { limit: 20, after: pageParam || undefined } },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next,
  });
}

export function useHelp(unit: string) {
  return useQuery({
    queryKey: ["help", unit],
    queryFn: () => ask(client.GET("/owner/v1/units/{id}/help", { params: { path: { id: unit } } })),
    staleTime: 60_000,
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

/** Other windows of this browser: they hold the same session, and lose it together. */
const others = "BroadcastChannel" in globalThis ? new BroadcastChannel("fettle.session") : undefined;

/** Forgets all that the server told, and goes to the door. */
function leave(queries: QueryClient): void {
  go({ name: "sign-in" });
  queries.clear();
}

/** Leaves with the window in which the owner signs out. */
export function useLeaving(): void {
  const queries = useQueryClient();
  useEffect(() => {
    const hear = () => leave(queries);
    others?.addEventListener("message", hear);
    return () => others?.removeEventListener("message", hear);
  }, [queries]);
}

export function useSignOut() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: async () => {
      // What is pushed to this browser from now on would be read by whoever uses it next.
      await leavePush().catch(() => {});
      await tell(client.POST("/owner/v1/sign-out"));
    },
    onSuccess: () => {
      others?.postMessage("signed out");
      leave(queries);
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
