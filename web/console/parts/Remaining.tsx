import type { Prediction, RiskState } from "../api/wear";

const marks: Record<RiskState, { tone: string; words: string }> = {
  heading: { tone: "failed", words: "heading for failure" },
  watch: { tone: "degraded", words: "watch" },
  ok: { tone: "normal", words: "ok" },
  unknown: { tone: "unknown", words: "cannot tell" },
};

export const riskWords = (s: RiskState) => marks[s].words;

export function RiskMark({ state }: { state: RiskState }) {
  return <span className={`mark ${marks[state].tone}`}>{marks[state].words}</span>;
}

/** A length of time in days, as people say it. */
export function daysWritten(days: number): string {
  const write = (v: number, unit: string) =>
    `${v.toLocaleString("en", { maximumFractionDigits: v < 10 ? 1 : 0 })} ${unit}`;
  if (days < 2) return write(days * 24, "h");
  return days < 730 ? write(days, "d") : write(days / 365.25, "y");
}

/** A remaining life with its interval: in words, and as a bar on the scale that the rows of a table share. */
export function Remaining({ of: p, top }: { of: Prediction; top: number }) {
  if (p.state === "unknown") return <span className="soft">{p.why}</span>;
  const x = (v: number) => `${Math.min(100, (100 * v) / top)}%`;
  const width = `${Math.max(1, Math.min(100, (100 * p.high) / top) - Math.min(100, (100 * p.low) / top))}%`;
  return (
    <span className="remaining">
      <span>
        <strong>{daysWritten(p.median)}</strong>{" "}
        <span className="soft">
          {daysWritten(p.low)} to {daysWritten(p.high)}
        </span>
      </span>
      <svg width="100%" height="12" aria-hidden="true" className={p.state}>
        <rect x="0" y="5" width="100%" height="2" className="rail" />
        <rect x={x(p.low)} y="3" width={width} height="6" rx="3" className="span" />
        <line x1={x(p.horizon)} x2={x(p.horizon)} y1="0" y2="12" className="horizon" />
        <circle cx={x(p.median)} cy="6" r="4" className="point" />
      </svg>
    </span>
  );
}
