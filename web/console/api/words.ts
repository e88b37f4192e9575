import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../../client/client";
import { usePages } from "./pages";

export type Text = Wire["Text"];
export type PreviewOf = Wire["PreviewOf"];
export type Preview = Wire["Preview"];
export type Letter = Wire["Letter"];
export type Batch = Wire["LetterBatch"];
export type Call = Wire["Call"];
export type Plan = Wire["Plan"];
export type Outcome = "reached" | "no answer" | "voicemail" | "wrong number" | "refused" | "call back";

export function useTexts() {
  return useQuery({ queryKey: ["texts"], queryFn: () => ask(client.GET("/v1/templates")) });
}

export function usePreview(of: PreviewOf) {
  return useQuery({
    queryKey: ["preview", of],
    queryFn: () => ask(client.POST("/v1/templates/preview", { body: of })),
    placeholderData: (before) => before,
  });
}

/** The letter of a preview, as the address of a file in this window. */
export async function letterOf(of: PreviewOf): Promise<string> {
  const { data, error, response } = await client.POST("/v1/templates/letter", { body: of, parseAs: "blob" });
  if (!response.ok) await ask(Promise.resolve({ data, error, response }));
  return URL.createObjectURL(data as unknown as Blob);
}

export function useTestSend() {
  return useMutation({ mutationFn: (of: PreviewOf) => ask(client.POST("/v1/templates/test", { body: of })) });
}

export function useLadders() {
  return usePages(["ladders"], (after) =>
    ask(client.GET("/v1/declared/{kind}", { params: { path: { kind: "ladder" }, query: { after, limit: 200 } } })),
  );
}

export function usePlan(campaign: string) {
  return useQuery({
    queryKey: ["plan", campaign],
    queryFn: () => ask(client.GET("/v1/campaigns/{name}/ladder", { params: { path: { name: campaign } } })),
    enabled: campaign !== "",
  });
}

export function useReach(campaign: string) {
  return useQuery({
    queryKey: ["reach", campaign],
    queryFn: () => ask(client.GET("/v1/campaigns/{name}/reach", { params: { path: { name: campaign } } })),
    enabled: campaign !== "",
    refetchInterval: 10_000,
  });
}

export function useLetters(state: Letter["state"]) {
  return usePages(["letters", state], (after) =>
    ask(
      client.GET("/v1/letters", {
        params: { query: { after, limit: 200, state: state as "waiting" } },
      }),
    ),
  );
}

export function useBatches() {
  return usePages(["batches"], (after) =>
    ask(client.GET("/v1/letter-batches", { params: { query: { after, limit: 200 } } })),
  );
}

function useLetterChange<T>(fn: (v: T) => Promise<unknown>) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: fn,
    onSuccess: () =>
      Promise.all(["letters", "batches"].map((queryKey) => queries.invalidateQueries({ queryKey: [queryKey] }))),
  });
}

export function useMakeBatch() {
  return useLetterChange((body: { format: "din5008" | "us10"; sender: string[] }) =>
    ask(client.POST("/v1/letter-batches", { body })),
  );
}

export function useBatchSent() {
  return useLetterChange(({ id, sentAt }: { id: string; sentAt: string }) =>
    ask(client.POST("/v1/letter-batches/{id}/sent", { params: { path: { id } }, body: { sentAt } })),
  );
}

export function useReturned() {
  return useLetterChange(({ id, why }: { id: string; why: string }) =>
    ask(client.POST("/v1/letters/{id}/returned", { params: { path: { id } }, body: { why: why || undefined } })),
  );
}

export function useCalls() {
  return usePages(
    ["calls"],
    (after) => ask(client.GET("/v1/calls", { params: { query: { after, limit: 200 } } })),
    10_000,
  );
}

function useCallChange<T, R>(fn: (v: T) => Promise<R>) {
  const queries = useQueryClient();
  return useMutation({ mutationFn: fn, onSuccess: () => queries.invalidateQueries({ queryKey: ["calls"] }) });
}

export function useNextCall() {
  return useCallChange((_: undefined) => ask(client.POST("/v1/calls/next")));
}

export function useTakeCall() {
  return useCallChange((id: string) => ask(client.POST("/v1/calls/{id}/take", { params: { path: { id } } })));
}

export function useReleaseCall() {
  return useCallChange((id: string) => tell(client.POST("/v1/calls/{id}/release", { params: { path: { id } } })));
}

export function useEndCall() {
  return useCallChange(({ id, ...body }: { id: string; outcome: Outcome; note?: string; at?: string }) =>
    ask(client.POST("/v1/calls/{id}/outcome", { params: { path: { id } }, body })),
  );
}
