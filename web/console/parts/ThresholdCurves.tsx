import { useId } from "react";
import { measure, percent, span } from "../../chart/measure";
import type { BacktestResult, Threshold } from "../api/detectors";

/** A threshold as people write it. */
export function thresholdText(r: BacktestResult, t: Threshold): string {
  if (r.field && t.text.startsWith(`${r.field} `)) return t.text.slice(r.field.length + 1);
  return r.unit === "s" ? span(t.value) : measure(t.value, r.unit);
}

type Line = { name: string; className: string; of: (t: Threshold) => number | undefined };
type Chart = { title: string; write: (v: number) => string; lines: Line[]; top?: number };

const share = (v: number) => percent(v);
const plain = (v: number) => v.toLocaleString("en", { maximumSignificantDigits: 3 });

function charts(r: BacktestResult): Chart[] {
  const out: Chart[] = [];
  if (r.thresholds.some((t) => t.cost !== undefined))
    out.push({ title: "Cost", write: plain, lines: [{ name: "cost", className: "one", of: (t) => t.cost }] });
  if (r.thresholds.some((t) => t.recall !== undefined || t.precision !== undefined))
    out.push({
      title: "Precision and recall",
      write: share,
      top: 1,
      lines: [
        { name: "precision", className: "one", of: (t) => t.precision },
        { name: "recall", className: "two", of: (t) => t.recall },
      ],
    });
  out.push({
    title: "Alarms a unit-month",
    write: plain,
    lines: [{ name: "alarms", className: "one", of: (t) => t.alarmsPerUnitMonth }],
  });
  out.push({
    title: "Units flagged",
    write: plain,
    lines: [{ name: "units", className: "one", of: (t) => t.units }],
  });
  return out;
}

const width = 460;
const height = 150;
const left = 76;
const right = 12;
const top = 10;
const bottom = 24;

type Props = { result: BacktestResult; chosen: number; choose: (place: number) => void };

/** What each threshold would have given: one small chart a figure, on one axis, with the chosen threshold marked. */
export function ThresholdCurves({ result: r, chosen, choose }: Props) {
  return (
    <div className="curves">
      {charts(r).map((c) => (
        <Curve key={c.title} chart={c} result={r} chosen={chosen} choose={choose} />
      ))}
    </div>
  );
}

function Curve({ chart, result: r, chosen, choose }: Props & { chart: Chart }) {
  const id = useId();
  const list = r.thresholds;
  const values = list.map((t) => t.value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  // Settings that are tried in ratios are drawn on an axis of ratios, and so are steps in ratios from the declared one.
  const middle = list[r.declared]?.value ?? 0;
  const steps = values.map((v) => Math.abs(v - middle)).filter((v) => v > 0);
  const least = Math.min(...steps);
  const scale = (v: number) => {
    if (low > 0 && high / low > 20) return Math.log(v);
    return Math.max(...steps) / least > 50 ? Math.asinh((v - middle) / least) : v;
  };
  const x = (v: number) => left + ((scale(v) - scale(low)) / (scale(high) - scale(low) || 1)) * (width - left - right);
  const most = chart.top ?? (Math.max(0, ...list.flatMap((t) => chart.lines.map((l) => l.of(t) ?? 0))) || 1);
  const y = (v: number) => top + (1 - v / most) * (height - top - bottom);
  const at = list[chosen];
  const declared = list[r.declared];
  const said = at
    ? chart.lines
        .map((l) => `${l.name} ${((v) => (v === undefined ? "not known" : chart.write(v)))(l.of(at))}`)
        .join(", ")
    : "";
  const pick = (e: React.MouseEvent<SVGSVGElement>) => {
    const box = e.currentTarget.getBoundingClientRect();
    const px = ((e.clientX - box.left) / box.width) * width;
    let best = 0;
    for (let i = 1; i < values.length; i++)
      if (Math.abs(x(values[i] ?? 0) - px) < Math.abs(x(values[best] ?? 0) - px)) best = i;
    choose(best);
  };
  const marks = [0, most / 2, most];
  return (
    <figure className="curve" aria-labelledby={id}>
      <figcaption id={id}>
        <strong>{chart.title}</strong>
        {chart.lines.length > 1 &&
          chart.lines.map((l) => (
            <span key={l.name} className={`key ${l.className}`}>
              {l.name}
            </span>
          ))}
        <span className="value">
          {at && chart.lines.map((l) => ((v) => (v === undefined ? "–" : chart.write(v)))(l.of(at))).join(" · ")}
        </span>
      </figcaption>
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: the slider and the table above choose by keyboard */}
      <svg
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        aria-label={`${chart.title} by threshold; at ${at ? thresholdText(r, at) : "none"}: ${said}`}
        onClick={pick}
      >
        {marks.map((m) => (
          <g key={m}>
            <line className="grid" x1={left} x2={width - right} y1={y(m)} y2={y(m)} />
            <text x={left - 6} y={y(m) + 4} textAnchor="end">
              {chart.write(m)}
            </text>
          </g>
        ))}
        {declared && (
          <line className="declared" x1={x(declared.value)} x2={x(declared.value)} y1={top} y2={height - bottom} />
        )}
        {at && <line className="chosen" x1={x(at.value)} x2={x(at.value)} y1={top} y2={height - bottom} />}
        {chart.lines.map((l) => {
          const known = list.filter((t) => l.of(t) !== undefined);
          return (
            <g key={l.name} className={l.className}>
              <polyline points={known.map((t) => `${x(t.value)},${y(l.of(t) ?? 0)}`).join(" ")} />
              {known.map((t) => (
                <circle key={t.value} cx={x(t.value)} cy={y(l.of(t) ?? 0)} r={t === at ? 5 : 2.4} />
              ))}
            </g>
          );
        })}
        {[list[0], list.at(-1)].map(
          (t, i) =>
            t && (
              <text key={t.value} x={x(t.value)} y={height - 6} textAnchor={i === 0 ? "start" : "end"}>
                {thresholdText(r, t)}
              </text>
            ),
        )}
      </svg>
    </figure>
  );
}
