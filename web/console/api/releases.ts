import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, type Wire } from "../../client/client";
import { Problem } from "../../client/problem";
import { usePages } from "./pages";

export type Release = Wire["Release"];
export type ReleaseSpec = Wire["ReleaseSpec"];
export type ReleaseSize = Wire["ReleaseSize"];
export type Holder = Wire["Holder"];
export type Upload = Wire["Upload"];
export type Trust = Wire["Trust"];
export type Setting = Wire["Setting"];

export function useReleases(product?: string) {
  return usePages(
    ["releases", product],
    (after) => ask(client.GET("/v1/releases", { params: { query: { product, after, limit: 200 } } })),
    10_000,
  );
}

export function useRelease(name: string) {
  return useQuery({
    queryKey: ["release", name],
    queryFn: () => ask(client.GET("/v1/releases/{name}", { params: { path: { name } } })),
    refetchInterval: 10_000,
  });
}

/** What was declared: the words for owners, what it fits, what it needs. */
export function useReleaseSpec(name: string) {
  return useQuery({
    queryKey: ["declared", "release", name],
    queryFn: async () => {
      const path = { kind: "release", name } as const;
      return (await ask(client.GET("/v1/declared/{kind}/{name}", { params: { path } }))).spec as ReleaseSpec;
    },
  });
}

export function useSizes(name: string) {
  return useQuery({
    queryKey: ["release", name, "sizes"],
    queryFn: async () => (await ask(client.GET("/v1/releases/{name}/sizes", { params: { path: { name } } }))).items,
    refetchInterval: 5_000,
  });
}

export function useHolders(name: string, holding?: Holder["holding"]) {
  return usePages(
    ["release", name, "units", holding],
    (after) =>
      ask(
        client.GET("/v1/releases/{name}/units", { params: { path: { name }, query: { holding, after, limit: 200 } } }),
      ),
    10_000,
  );
}

export function useWithdraw(name: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (why: string) =>
      ask(client.POST("/v1/releases/{name}/withdraw", { params: { path: { name } }, body: { why } })),
    onSuccess: () => {
      queries.invalidateQueries({ queryKey: ["release", name] });
      queries.invalidateQueries({ queryKey: ["releases"] });
    },
  });
}

export function useRevert(name: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (why: string) =>
      ask(client.POST("/v1/releases/{name}/revert", { params: { path: { name } }, body: { why } })),
    onSuccess: () => {
      queries.invalidateQueries({ queryKey: ["releases"] });
      queries.invalidateQueries({ queryKey: ["campaigns"] });
    },
  });
}

export function useUploads() {
  return useQuery({
    queryKey: ["uploads"],
    queryFn: async () => (await ask(client.GET("/v1/uploads"))).items,
    refetchInterval: 5_000,
  });
}

const tus = { "Tus-Resumable": "1.0.0" };
const piece = 8 << 20;

async function refuse(r: Response): Promise<never> {
  throw new Problem(r.status, await r.json().catch(() => ({})));
}

const base64 = (text: string) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

/**
 * Sends a file in pieces (tus 1.0.0). If the connection breaks, the upload goes
 * on where the server says that it stands, up to five times in a row.
 */
export async function upload(file: File, tell: (done: number) => void): Promise<Upload | undefined> {
  const begun = await fetch("/v1/uploads", {
    method: "POST",
    headers: { ...tus, "Upload-Length": String(file.size), "Upload-Metadata": `filename ${base64(file.name)}` },
  });
  if (!begun.ok) await refuse(begun);
  const at = begun.headers.get("Location") ?? "";
  let offset = Number(begun.headers.get("Upload-Offset") ?? 0);
  for (let failures = 0; offset < file.size; ) {
    tell(offset);
    try {
      const sent = await fetch(at, {
        method: "PATCH",
        headers: { ...tus, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" },
        body: file.slice(offset, offset + piece),
      });
      if (sent.status >= 400 && sent.status < 500 && sent.status !== 409) await refuse(sent);
      if (!sent.ok) throw new Error(`the server answered ${sent.status}`);
      offset = Number(sent.headers.get("Upload-Offset"));
      failures = 0;
    } catch (e) {
      if (e instanceof Problem || ++failures > 5) throw e;
      await new Promise((done) => setTimeout(done, 1000 * failures));
      const stands = await fetch(at, { method: "HEAD", headers: tus });
      if (stands.ok) offset = Number(stands.headers.get("Upload-Offset"));
    }
  }
  tell(file.size);
  const id = at.split("/").at(-1);
  return (await ask(client.GET("/v1/uploads"))).items.find((u) => u.id === id);
}

export function useTrust() {
  return useQuery({
    queryKey: ["trust"],
    queryFn: () => ask(client.GET("/v1/trust")),
    refetchInterval: 30_000,
  });
}

export function useSettings(unitId: string) {
  return useQuery({
    queryKey: ["settings", unitId],
    queryFn: async () => (await ask(client.GET("/v1/units/{id}/settings", { params: { path: { id: unitId } } }))).items,
    refetchInterval: 15_000,
  });
}

type Software = { component: string; version: string; sha256?: string };
export type RegisterEntry = {
  seq: number;
  at: string;
  event: "installed" | "failed" | "reported";
  before: Software[] | null;
  after: Software[] | null;
  release?: string;
  campaign?: string;
  why?: string;
};

/** The register's entries of a unit, the newest first. */
export function useRegister(unit: string) {
  return useQuery({
    queryKey: ["register", unit],
    queryFn: async () => {
      const rows: (RegisterEntry & { hash: string })[] = [];
      let after: number | undefined;
      do {
        const page = await ask(client.GET("/v1/register", { params: { query: { unit, after, limit: 1000 } } }));
        for (const r of page.items) rows.push({ ...(JSON.parse(r.entry) as RegisterEntry), hash: r.hash });
        after = page.next;
      } while (after && rows.length < 10_000);
      return rows.reverse();
    },
    refetchInterval: 15_000,
  });
}
