import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, type Wire } from "../client/client";

export type Notice = Wire["OwnerNotice"];
export type Contact = Wire["OwnerContact"];

export function useNotices() {
  return useInfiniteQuery({
    queryKey: ["notices"],
    queryFn: ({ pageParam }) =>
      ask(client.GET("/owner/v1/notices", { params: { query: { limit: 20, after: pageParam || undefined } } })),
    initialPageParam: "",
    getNextPageParam: (last) => last.next,
    refetchInterval: 30_000,
  });
}

export function useNoteRead() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => ask(client.POST("/owner/v1/notices/{id}/read", { params: { path: { id } } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["notices"] }),
  });
}

export function useAcknowledge() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => ask(client.POST("/owner/v1/notices/{id}/acknowledge", { params: { path: { id } } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["notices"] }),
  });
}

export function useContact() {
  return useQuery({ queryKey: ["contact"], queryFn: () => ask(client.GET("/owner/v1/contact")) });
}

export function useSaveContact() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (body: Contact) => ask(client.PUT("/owner/v1/contact", { body })),
    onSuccess: (kept) => queries.setQueryData(["contact"], kept),
  });
}
