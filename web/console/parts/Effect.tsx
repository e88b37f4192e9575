import { percent } from "../../chart/measure";
import type { Effect } from "../api/campaigns";
import { useClock } from "../clock";

const tones: Record<Effect["verdict"], string> = {
  demonstrated: "normal",
  "not demonstrated": "degraded",
  "no comparison": "unknown",
  observational: "silent",
};

/** What the comparison of waves says, with its interval, in words and as a line. */
export function EffectView({ effect: e, final }: { effect: Effect; final: boolean }) {
  const { time } = useClock();
  const compared = e.offered.units > 0 && e.notOffered.units > 0;
  const rate = (a: Effect["offered"]) => (a.units ? percent(a.breached / a.units) : "–");
  return (
    <div>
      <p className="verdict">
        <span className={`mark ${tones[e.verdict]}`}>{e.verdict}</span>
        <span>{e.why}</span>
      </p>
      {!final && <p className="soft">For information: the comparison that decides is made at the gate.</p>}
      {compared && (
        <>
          <table className="table narrow">
            <caption>
              Waves as drawn, whether or not the remedy was taken
              {e.from && e.to && ` · ${time(e.from)} to ${time(e.to)}`}
            </caption>
            <thead>
              <tr>
                <th scope="col">Waves</th>
                <th scope="col" className="numeric">
                  Units judged
                </th>
                <th scope="col" className="numeric">
                  With the fault
                </th>
                <th scope="col" className="numeric">
                  Share
                </th>
              </tr>
            </thead>
            <tbody>
              <tr>
                <th scope="row">Not yet offered</th>
                <td className="numeric">{e.notOffered.units.toLocaleString("en")}</td>
                <td className="numeric">{e.notOffered.breached.toLocaleString("en")}</td>
                <td className="numeric">{rate(e.notOffered)}</td>
              </tr>
              <tr>
                <th scope="row">Offered</th>
                <td className="numeric">{e.offered.units.toLocaleString("en")}</td>
                <td className="numeric">{e.offered.breached.toLocaleString("en")}</td>
                <td className="numeric">{rate(e.offered)}</td>
              </tr>
            </tbody>
          </table>
          {e.verdict !== "no comparison" && (
            <>
              <p>
                Fewer by <strong>{(100 * e.difference).toFixed(1)} percentage points</strong>, 95 % interval{" "}
                {(100 * e.low).toFixed(1)} to {(100 * e.high).toFixed(1)}; p{" "}
                {e.p < 0.0001 ? "< 0.0001" : `= ${e.p.toPrecision(2)}`}.
              </p>
              <Interval effect={e} />
            </>
          )}
        </>
      )}
    </div>
  );
}

function Interval({ effect: e }: { effect: Effect }) {
  const low = Math.min(-0.1, Math.floor(e.low * 10) / 10);
  const high = Math.max(0.1, Math.ceil(e.high * 10) / 10);
  const width = 520;
  const x = (v: number) => 20 + ((v - low) / (high - low)) * (width - 40);
  const marks = [low, 0, high];
  return (
    <svg
      viewBox={`0 0 ${width} 68`}
      className="interval"
      role="img"
      aria-label={`Interval of the difference: ${percent(e.low)} to ${percent(e.high)}, ${e.low <= 0 ? "over" : "clear of"} zero`}
    >
      <line x1={x(low)} x2={x(high)} y1="40" y2="40" stroke="var(--line-strong)" />
      {marks.map((m) => (
        <g key={m}>
          <line
            x1={x(m)}
            x2={x(m)}
            y1={m === 0 ? 8 : 36}
            y2="44"
            stroke="var(--line-strong)"
            strokeDasharray={m === 0 ? "3 3" : undefined}
          />
          <text x={x(m)} y="62" textAnchor="middle" fontSize="12" fill="var(--ink-soft)">
            {Math.round(100 * m)}
          </text>
        </g>
      ))}
      <line x1={x(e.low)} x2={x(e.high)} y1="22" y2="22" stroke="var(--accent)" strokeWidth="4" strokeLinecap="round" />
      <circle cx={x(e.difference)} cy="22" r="6" fill="var(--accent)" />
    </svg>
  );
}
