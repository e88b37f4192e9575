import { Group } from "@mantine/core";
import type { OpenSession } from "../api/account";
import { Time } from "../clock";
import { Confirm } from "./Confirm";

const ways: Record<string, string> = {
  link: "a link",
  password: "password and code",
  passkey: "passkey",
  oidc: "another account",
  "mail and code": "a link by mail and a code",
};

/** What browsers call themselves is long: the part that people know. */
function browser(agent = ""): string {
  const name = /(Edg|OPR|Firefox|Chrome|Safari|fettle)[/ ]?[\d.]*/.exec(agent)?.[1] ?? "";
  const on = /(Windows|Android|iPhone|iPad|Mac OS X|Linux)/.exec(agent)?.[1] ?? "";
  return [{ Edg: "Edge", OPR: "Opera" }[name] ?? name, on].filter(Boolean).join(" on ") || agent || "a browser";
}

export function Sessions({ sessions, end }: { sessions: OpenSession[]; end?: (id: string) => Promise<unknown> }) {
  return (
    <ul className="plain">
      {sessions.map((s) => (
        <li key={s.id}>
          <Group justify="space-between" gap="xs">
            <span>
              <strong>{browser(s.agent)}</strong>
              {s.current && " (here)"} {s.address && `from ${s.address}`}
              <br />
              <small>
                by {ways[s.way ?? ""] ?? s.way ?? "a link"}, <Time at={s.createdAt} />; last used <Time at={s.usedAt} />
              </small>
            </span>
            {end && !s.current && (
              <Confirm size="xs" danger label="Sign out" title="Sign out there?" confirm={() => end(s.id)}>
                {browser(s.agent)} has to sign in again.
              </Confirm>
            )}
          </Group>
        </li>
      ))}
    </ul>
  );
}
