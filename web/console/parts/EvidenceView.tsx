import { counted, percent } from "../../chart/measure";
import type { CampaignDetail, GateEvidence } from "../api/campaigns";

const titles: Record<GateEvidence["what"], string> = {
  failed: "Installations that fail",
  relapsed: "The fault coming back",
  harm: "New findings, against units not offered yet",
};

/** How far the evidence has come on its way to what pauses the campaign: 0 to 1, on an axis of ratios. */
function come(e: GateEvidence): number {
  if (e.evidence <= 1 || !e.stopsAt) return 0;
  return Math.min(1, Math.log(e.evidence) / Math.log(e.stopsAt));
}

const times = (v: number) => v.toLocaleString("en", { maximumSignificantDigits: 2 });

/** What says that the release does worse than a good one: in words, as a scale, and failures as a chart. */
export function EvidenceView({ campaign: c }: { campaign: CampaignDetail }) {
  const list = c.evidence ?? [];
  const fails = list.find((e) => e.what === "failed");
  return (
    <div>
      <p className="soft">
        A release as good as before comes to an evidence of x in at most one of x campaigns, however often it is looked
        at. Where it comes to the end of its scale, the campaign pauses.
      </p>
      <ul className="plain">
        {list.map((e) => (
          <li key={e.what}>
            <div className="spread">
              <h3>{titles[e.what]}</h3>
              <Verdict of={e} />
            </div>
            <p>{e.why}.</p>
            {e.stopsAt > 0 && (
              <div className="scale">
                <div
                  className={`meter ${e.stops ? "failed" : come(e) > 0.5 ? "degraded" : ""}`}
                  role="img"
                  aria-label={`evidence ${times(e.evidence)} of the ${times(e.stopsAt)} that pause it`}
                >
                  <span style={{ width: `${100 * come(e)}%` }} />
                </div>
                <span className="soft">
                  {times(e.evidence)} of {times(e.stopsAt)}
                </span>
              </div>
            )}
          </li>
        ))}
      </ul>
      {fails && <FailureChart of={fails} />}
    </div>
  );
}

function Verdict({ of: e }: { of: GateEvidence }) {
  if (e.stops) return <span className="mark failed">paused by it</span>;
  if (e.observed) return <span className="mark unknown">observed only</span>;
  if (e.stopsAt === 0) return <span className="mark unknown">switched off</span>;
  if (e.of === 0) return <span className="mark unknown">nothing yet</span>;
  return come(e) > 0.5 ? (
    <span className="mark degraded">growing</span>
  ) : (
    <span className="mark normal">as good as before</span>
  );
}

const width = 560;
const height = 220;
const left = 52;
const right = 16;
const top = 14;
const bottom = 44;

/** Failures among units begun, and the line above which the campaign pauses; both axes in ratios. */
function FailureChart({ of: e }: { of: GateEvidence }) {
  const line = e.limits ?? [];
  const last = line.at(-1);
  if (!last) return null;
  const mostBegun = Math.max(last.begun, e.of, 2);
  const mostFailed = Math.max(last.failed, e.bad, 2) * 1.3;
  const x = (n: number) => left + (Math.log(Math.max(1, n)) / Math.log(mostBegun)) * (width - left - right);
  // Zero has no place on an axis of ratios: it stands half a step below one.
  const low = Math.log(0.5);
  const y = (n: number) =>
    top + (1 - (Math.log(Math.max(0.5, n)) - low) / (Math.log(mostFailed) - low)) * (height - top - bottom);
  const usualFrom = Math.max(1, 0.5 / e.expected);
  // The number that pauses it grows in steps.
  const steps = line.flatMap((l, i) => {
    const before = line[i - 1];
    return before
      ? [`${x(l.begun)},${y(before.failed)}`, `${x(l.begun)},${y(l.failed)}`]
      : [`${x(l.begun)},${y(l.failed)}`];
  });
  const first = line[0] ?? last;
  return (
    <figure className="curve evidence">
      <figcaption>
        <strong>Failures among units begun</strong>
        <span className="key stop">pauses</span>
        {usualFrom < mostBegun && <span className="key usual">usual, {percent(e.expected)}</span>}
        <span className="value">
          {e.bad.toLocaleString("en")} of {e.of.toLocaleString("en")}
        </span>
      </figcaption>
      <svg
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        aria-label={`${counted(e.bad, "unit")} failed of ${e.of} begun; the campaign pauses at ${line
          .filter((_, i) => i % 4 === 0)
          .map((l) => `${l.failed} of ${l.begun}`)
          .join(", ")}`}
      >
        {ticks(mostFailed).map((n) => (
          <g key={n}>
            <line className="grid" x1={left} x2={width - right} y1={y(n)} y2={y(n)} />
            <text x={left - 6} y={y(n) + 4} textAnchor="end">
              {n.toLocaleString("en")}
            </text>
          </g>
        ))}
        {ticks(mostBegun).map((n) => (
          <text key={n} x={x(n)} y={height - 24} textAnchor={n === 1 ? "start" : "middle"}>
            {n.toLocaleString("en")}
          </text>
        ))}
        <text x={(left + width - right) / 2} y={height - 4} textAnchor="middle">
          units begun
        </text>
        <polygon className="stopped" points={`${x(first.begun)},${top} ${steps.join(" ")} ${x(last.begun)},${top}`} />
        {usualFrom < mostBegun && (
          <line
            className="usual"
            x1={x(usualFrom)}
            y1={y(e.expected * usualFrom)}
            x2={x(mostBegun)}
            y2={y(e.expected * mostBegun)}
          />
        )}
        <polyline className="stop" points={steps.join(" ")} />
        {e.of > 0 && <circle className="now" cx={x(e.of)} cy={y(e.bad)} r="6" />}
      </svg>
    </figure>
  );
}

/** 1, 2, 5, 10, 20, 50 ... up to the most; decades alone where those are many. */
function ticks(most: number): number[] {
  const out: number[] = [];
  for (let n = 1; n <= most; n *= 10) out.push(...(most > 1000 ? [n] : [n, 2 * n, 5 * n].filter((v) => v <= most)));
  return out;
}
