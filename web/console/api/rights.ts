import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, type Wire } from "../../client/client";

// What owners read and chose: notices by version, consent, data sheets; and the
// erasure of a person that an officer begins.

export type PublishedNotice = Wire["PublishedNotice"];
export type NoticeVersion = Wire["NoticeVersion"];
export type NoticeDraft = Wire["NoticeDraft"];
export type Widening = Wire["Widening"];
export type Rate = Wire["ConsentRate"];
export type UnitConsents = Wire["UnitConsents"];
export type DataSheet = Wire["DataSheet"];
export type Person = Wire["DataSubject"];

const name = (product: string) => ({ path: { name: product } });

export function useNotices(product: string) {
  return useQuery({
    queryKey: ["notices", product],
    queryFn: async () =>
      (await ask(client.GET("/v1/products/{name}/notices", { params: name(product) }))).items as PublishedNotice[],
    enabled: product !== "",
  });
}

export function useNotice(product: string, version: string) {
  return useQuery({
    queryKey: ["notices", product, version],
    queryFn: () =>
      ask(client.GET("/v1/products/{name}/notices/{version}", { params: { path: { name: product, version } } })),
    enabled: product !== "" && version !== "",
  });
}

/** Tries a draft, or publishes it. */
export function usePublish(product: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (body: NoticeDraft) => ask(client.POST("/v1/products/{name}/notices", { params: name(product), body })),
    onSuccess: async (done) => {
      if (done.dryRun) return;
      await Promise.all(
        [["notices"], ["declared"], ["rates"], ["datasheet"]].map((queryKey) =>
          queries.invalidateQueries({ queryKey }),
        ),
      );
    },
  });
}

export function useRates(product: string) {
  return useQuery({
    queryKey: ["rates", product],
    queryFn: async () => (await ask(client.GET("/v1/products/{name}/consents", { params: name(product) }))).items,
    enabled: product !== "",
    refetchInterval: 30_000,
  });
}

export function useUnitConsents(unit: string) {
  return useQuery({
    queryKey: ["unit-consents", unit],
    queryFn: () => ask(client.GET("/v1/units/{id}/consents", { params: { path: { id: unit } } })),
    enabled: unit !== "",
    retry: false,
  });
}

export function useDataSheet(product: string, lang?: string) {
  return useQuery({
    queryKey: ["datasheet", product, lang],
    queryFn: () =>
      ask(client.GET("/v1/products/{name}/datasheet", { params: { path: { name: product }, query: { lang } } })),
    placeholderData: (before) => before,
  });
}

export function usePerson(email: string) {
  return useQuery({
    queryKey: ["person", email],
    queryFn: () => ask(client.GET("/v1/privacy/person", { params: { query: { email } } })),
    enabled: email !== "",
    retry: false,
    // Each look at a person is entered in the trail.
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
  });
}

export function useErase() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: ({ id, email }: { id: string; email: string }) =>
      ask(client.POST("/v1/owners/{id}/erase", { params: { path: { id } }, body: { email } })),
    onSuccess: () =>
      Promise.all([["erasures"], ["rights-requests"]].map((queryKey) => queries.invalidateQueries({ queryKey }))),
  });
}
