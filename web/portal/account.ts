import { useQuery } from "@tanstack/react-query";
import { ask, client, tell, type Wire } from "../client/client";

export type Account = Wire["MyAccount"];
export type Passkey = Wire["Passkey"];
export type App = Wire["Token"];

export const useAccount = () =>
  useQuery({ queryKey: ["account"], queryFn: () => ask(client.GET("/owner/v1/account")) });
export const usePasskeys = () =>
  useQuery({ queryKey: ["passkeys"], queryFn: async () => (await ask(client.GET("/owner/v1/passkeys"))).items });
export const useIdentities = () =>
  useQuery({ queryKey: ["identities"], queryFn: async () => (await ask(client.GET("/owner/v1/identities"))).items });
export const useSessions = () =>
  useQuery({ queryKey: ["sessions"], queryFn: async () => (await ask(client.GET("/owner/v1/sessions"))).items });
export const useApps = () =>
  useQuery({ queryKey: ["apps"], queryFn: async () => (await ask(client.GET("/owner/v1/apps"))).items });

const of = (id: string) => ({ params: { path: { id } } });

export const saveAccount = (body: Wire["MyAccountChange"]) => ask(client.PATCH("/owner/v1/account", { body }));
export const changeEmail = (email: string) => tell(client.POST("/owner/v1/account/email", { body: { email } }));
export const renamePasskey = ({ id, name }: { id: string; name: string }) =>
  ask(client.PATCH("/owner/v1/passkeys/{id}", { ...of(id), body: { name } }));
export const removePasskey = (id: string) => tell(client.DELETE("/owner/v1/passkeys/{id}", of(id)));
export const linkIdentity = (provider: string) => ask(client.POST("/owner/v1/identities", { body: { provider } }));
export const unlinkIdentity = (id: string) => tell(client.DELETE("/owner/v1/identities/{id}", of(id)));
export const endSession = (id: string) => tell(client.DELETE("/owner/v1/sessions/{id}", of(id)));
export const endOthers = () => tell(client.DELETE("/owner/v1/sessions"));
export const makeApp = (body: Wire["NewApp"]) => ask(client.POST("/owner/v1/apps", { body }));
export const dropApp = (id: string) => tell(client.DELETE("/owner/v1/apps/{id}", of(id)));

/** What a browser calls itself, shortened to what people know: "Firefox, Android". */
export function browserOf(agent: string): string {
  const pick = (all: [RegExp, string][]) => all.find(([r]) => r.test(agent))?.[1];
  const browser = pick([
    [/Edg\//, "Edge"],
    [/Firefox\//, "Firefox"],
    [/(Chrome|Chromium|CriOS)\//, "Chrome"],
    [/Safari\//, "Safari"],
  ]);
  const system = pick([
    [/Android/, "Android"],
    [/iPhone|iPad/, "iOS"],
    [/Windows/, "Windows"],
    [/Mac OS/, "macOS"],
    [/Linux|X11/, "Linux"],
  ]);
  return [browser, system].filter(Boolean).join(", ") || agent.slice(0, 60);
}
