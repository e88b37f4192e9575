import type { ReactNode } from "react";
import { type Condition, conditions } from "../api/fleet";

export type Share = { key: string; label: string; n: number; className: string; link?: ReactNode };

/** Shares of a whole as one bar, with the same numbers written below it. */
export function ShareBar({ shares, label, empty }: { shares: Share[]; label: string; empty: string }) {
  const total = shares.reduce((sum, s) => sum + s.n, 0);
  if (total === 0) return <p className="soft">{empty}</p>;
  const some = shares.filter((s) => s.n > 0);
  return (
    <div className="share">
      <div className="bar" role="img" aria-label={`${label}: ${some.map((s) => `${s.n} ${s.label}`).join(", ")}`}>
        {some.map((s) => (
          <span key={s.key} className={`piece ${s.className}`} style={{ flexGrow: s.n }} />
        ))}
      </div>
      <ul className="legend">
        {some.map((s) => (
          <li key={s.key}>
            <span className={`swatch ${s.className}`} aria-hidden="true" />
            <strong>{s.n.toLocaleString("en")}</strong> {s.link ?? s.label}
          </li>
        ))}
      </ul>
    </div>
  );
}

export function conditionShares(counts: Record<string, number>, link: (c: Condition) => ReactNode): Share[] {
  return conditions.map((c) => ({ key: c, label: c, n: counts[c] ?? 0, className: c, link: link(c) }));
}

// Nineteen states of a task are too many to tell apart in a bar: they are
// drawn in the groups in which one thinks of them, and counted one by one.
export const taskGroups = [
  { key: "waiting", label: "not offered yet", className: "waiting", states: ["planned", "blocked"] },
  { key: "owner", label: "with the owner", className: "owner", states: ["offered", "scheduled", "snoozed"] },
  { key: "way", label: "under way", className: "way", states: ["accepted", "retrying", "installing", "claimed"] },
  { key: "verifying", label: "installed, being verified", className: "checking", states: ["verifying"] },
  { key: "verified", label: "verified", className: "normal", states: ["verified"] },
  { key: "bad", label: "relapsed or failed", className: "failed", states: ["relapsed", "failed"] },
  {
    key: "closed",
    label: "ended without proof",
    className: "unknown",
    states: ["not judgeable", "declined", "expired", "canceled", "unreachable", "superseded"],
  },
] as const;

export function taskShares(counts: Record<string, number>): Share[] {
  return taskGroups.map((g) => ({
    key: g.key,
    label: g.label,
    className: g.className,
    n: g.states.reduce((sum, s) => sum + (counts[s] ?? 0), 0),
  }));
}
