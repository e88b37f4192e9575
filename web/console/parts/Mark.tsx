import type { CampaignState } from "../api/campaigns";
import type { Finding, Severity } from "../api/findings";
import type { Condition } from "../api/fleet";

// A mark is a shape and a word; the colour only agrees with them.

const conditionShapes: Record<Condition, string> = {
  normal: "M3.5 8.5l3 3 6-7",
  degraded: "M8 3.5v5.5M8 12v.6",
  failed: "M4.5 4.5l7 7M11.5 4.5l-7 7",
  silent: "M3.5 8h9",
  unknown: "M5.8 6c.2-2.9 4.6-2.6 4.3.2-.2 1.700-2.100 1.700-2.100 3.500M8 12.400v.3",
};

function Shape({ path }: { path: string }) {
  return (
    <svg viewBox="0 0 16 16" width="13" height="13" aria-hidden="true">
      <path d={path} fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round" />
    </svg>
  );
}

export function ConditionMark({ condition }: { condition: Condition }) {
  return (
    <span className={`mark ${condition}`}>
      <Shape path={conditionShapes[condition]} />
      {condition}
    </span>
  );
}

const severitySteps: Record<Severity, number> = { warning: 1, minor: 2, major: 3, critical: 4 };

export function SeverityMark({ severity }: { severity: Severity }) {
  const steps = severitySteps[severity];
  return (
    <span className={`severity ${severity}`}>
      <svg viewBox="0 0 20 14" width="18" height="13" aria-hidden="true">
        {[1, 2, 3, 4].map((n) => (
          <rect
            key={n}
            x={n * 5 - 4.5}
            y={12 - n * 2.8}
            width="3.6"
            height={n * 2.8}
            fill="currentColor"
            opacity={n <= steps ? 1 : 0.25}
          />
        ))}
      </svg>
      {severity}
    </span>
  );
}

export function FindingMark({ finding, now }: { finding: Finding; now: Date }) {
  const shelved = finding.shelvedUntil && new Date(finding.shelvedUntil) > now;
  if (finding.state === "cleared") return <span className="mark normal">cleared</span>;
  if (shelved) return <span className="mark silent">shelved</span>;
  return (
    <span className={`mark ${finding.ackBy ? "degraded" : "failed"}`}>{finding.ackBy ? "acknowledged" : "open"}</span>
  );
}

const campaignTones: Record<CampaignState, Condition | "acting"> = {
  draft: "unknown",
  planning: "acting",
  running: "acting",
  paused: "degraded",
  canceled: "unknown",
  finished: "normal",
};

export function CampaignMark({ state }: { state: CampaignState }) {
  return <span className={`mark ${campaignTones[state]}`}>{state}</span>;
}
