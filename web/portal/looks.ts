import { useInfiniteQuery } from "@tanstack/react-query";
import { ask, client, type Wire } from "../client/client";

export type Look = Wire["LookAtMine"];

export function useLooks() {
  return useInfiniteQuery({
    queryKey: ["looks"],
    queryFn: ({ pageParam }) =>
      ask(client.GET("/owner/v1/looks", { params: { query: { limit: 30, after: pageParam || undefined } } })),
    initialPageParam: "",
    getNextPageParam: (last) => last.next,
  });
}

/** What an operation of the API is for, in words of the catalogue (looks.why.…). */
const reasons = {
  health: [
    "getUnit",
    "getLatest",
    "getSeries",
    "listUnitEvents",
    "listUnitSettings",
    "getFinding",
    "listForecasts",
    "comparePeers",
    "getUnitPrognosis",
  ],
  update: ["listTasks", "getAssignmentLog"],
  reach: [
    "getContact",
    "listClimbs",
    "listLetters",
    "returnLetter",
    "listCalls",
    "nextCall",
    "takeCall",
    "listMessages",
    "getMessage",
  ],
  rights: ["findPerson", "listRightsRequests", "answerRightsRequest", "listAudit", "exportAudit", "erasePerson"],
  study: ["exportHistory"],
  backup: ["backup"],
} as const;

export type Reason = keyof typeof reasons;

/** Why data was looked at; undefined where the service has only its own English for it. */
export function reasonFor(operation: string): Reason | undefined {
  return (Object.keys(reasons) as Reason[]).find((r) => (reasons[r] as readonly string[]).includes(operation));
}

const roles = ["viewer", "service agent", "engineer", "release manager", "privacy officer", "admin"] as const;

/** The role of an operator as a part of a key, "other" for one that has no words. */
export function roleOf(role: string | undefined): string {
  return (roles as readonly string[]).includes(role ?? "") ? (role ?? "").replace(" ", "_") : "other";
}
