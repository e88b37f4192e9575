import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../../client/client";
import { usePages } from "./pages";

export type Message = Wire["View"];
export type BadAddress = Wire["Address"];
export type Gateway = Wire["GatewayHealth"];
export type Endpoint = Wire["Endpoint"];
export type EndpointSpec = Wire["EndpointSpec"];

export const channels = ["mail", "sms", "voice", "push", "webhook", "letter", "call"] as const;
export const kinds = ["safety", "security", "service", "feature", "tip", "account", "operations"] as const;
export const states = [
  "queued",
  "sent",
  "delivered",
  "bounced",
  "complained",
  "failed",
  "expired",
  "suppressed",
] as const;

export type MessageFilter = { channel?: string; kind?: string; state?: string; owner?: string; about?: string };

export function useMessages(filter: MessageFilter) {
  return usePages(
    ["messages", filter],
    // What stands in the address is checked by the server.
    (after) => ask(client.GET("/v1/messages", { params: { query: { ...filter, after, limit: 100 } as never } })),
    10_000,
  );
}

export function useMessage(id: string) {
  return useQuery({
    queryKey: ["message", id],
    queryFn: () => ask(client.GET("/v1/messages/{id}", { params: { path: { id } } })),
  });
}

export function useResend() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (id: string) => tell(client.POST("/v1/messages/{id}/resend", { params: { path: { id } } })),
    onSuccess: () =>
      Promise.all([
        queries.invalidateQueries({ queryKey: ["messages"] }),
        queries.invalidateQueries({ queryKey: ["message"] }),
      ]),
  });
}

export function useBadAddresses() {
  return usePages(["addresses"], (after) =>
    ask(client.GET("/v1/addresses", { params: { query: { after, limit: 200 } } })),
  );
}

export function useClearAddress() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (a: BadAddress) =>
      tell(client.DELETE("/v1/addresses", { params: { query: { channel: a.channel as "mail", address: a.address } } })),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["addresses"] }),
  });
}

export function useGateways() {
  return usePages(["gateways"], () => ask(client.GET("/v1/gateways")), 10_000);
}

export function useEndpoints() {
  return usePages(
    ["webhooks"],
    (after) => ask(client.GET("/v1/webhooks", { params: { query: { after, limit: 200 } } })),
    10_000,
  );
}

export function useEndpointActions() {
  const queries = useQueryClient();
  const done = { onSuccess: () => queries.invalidateQueries({ queryKey: ["webhooks"] }) };
  const at = (name: string) => ({ params: { path: { name } } });
  return {
    put: useMutation({
      mutationFn: ({ name, body }: { name: string; body: EndpointSpec }) =>
        ask(client.PUT("/v1/webhooks/{name}", { ...at(name), body })),
      ...done,
    }),
    remove: useMutation({
      mutationFn: (name: string) => tell(client.DELETE("/v1/webhooks/{name}", at(name))),
      ...done,
    }),
    rotate: useMutation({
      mutationFn: (name: string) => ask(client.POST("/v1/webhooks/{name}/secret", at(name))),
      ...done,
    }),
    test: useMutation({
      mutationFn: (name: string) => ask(client.POST("/v1/webhooks/{name}/test", at(name))),
      ...done,
    }),
  };
}
