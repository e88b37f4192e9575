import { useEffect, useRef, useState } from "react";
import { type Finding, type Me, type Series, useSeries } from "./api";
import { converted, figure } from "./figures";
import { type Language, useLanguage } from "./language";
import { Loading, Trouble } from "./states";
import { formatTime, knownZone } from "./time";

// The signal around a finding, with the range it belongs in: drawn for those who
// see, said in a sentence and as a table for those who do not. Time runs from
// left to right in every language, as in charts everywhere.

const hour = 3600_000;

/** From when to when: the finding in the middle, with as much before it as it has lasted, within reason. */
export function around(f: Finding, now: Date): { from: Date; to: Date } {
  const since = Date.parse(f.since);
  const end = f.until ? Date.parse(f.until) : Math.max(Date.parse(f.lastAt), since);
  const lasted = Math.max(end - since, hour);
  const before = Math.min(Math.max(lasted / 2, 6 * hour), 14 * 24 * hour);
  const to = Math.min(end + before / 2, Math.max(now.getTime(), end + 1000));
  return { from: new Date(since - before), to: new Date(to) };
}

export function FoundChart({ finding, unit, me }: { finding: Finding; unit: string; me: Me }) {
  const language = useLanguage();
  const { t, locale } = language;
  const { from, to } = around(finding, new Date(me.now));
  const series = useSeries(unit, finding.signal ?? "", from.toISOString(), to.toISOString());
  const zone = knownZone(me.timeZone);
  if (series.isPending) return <Loading />;
  if (series.error) return <Trouble error={series.error} retry={() => series.refetch()} />;
  const s = series.data;
  if (s.withheld) return <p className="soft">{t("found.withheld")}</p>;
  if (s.points.length === 0) return <p className="soft">{t("found.noData")}</p>;
  const words = summary(finding, s, language, zone);
  return (
    <figure className="foundchart">
      <Drawing finding={finding} series={s} locale={locale} zone={zone} words={words} />
      <figcaption>
        <ul className="legend">
          <li className="line">{finding.signalTitle}</li>
          {s.bands.length > 0 && <li className="band">{t("found.legend.band")}</li>}
          <li className="finding">{t("found.legend.finding")}</li>
        </ul>
        <p>{words}</p>
      </figcaption>
      <details>
        <summary>{t("found.table")}</summary>
        <Table series={s} locale={locale} zone={zone} />
      </details>
    </figure>
  );
}

/** The chart in a sentence. */
function summary(f: Finding, s: Series, { t, locale }: Pick<Language, "t" | "locale">, zone: string): string {
  const low = Math.min(...s.points.map((p) => p.min));
  const high = Math.max(...s.points.map((p) => p.max));
  return t("found.summary", {
    signal: f.signalTitle ?? "",
    from: formatTime(s.from, locale, zone),
    to: formatTime(s.to, locale, zone),
    low: figure(low, s.unit, locale),
    high: figure(high, s.unit, locale),
  });
}

const height = 240;
const pad = { top: 12, bottom: 34, start: 64, end: 12 };

type DrawingProps = { finding: Finding; series: Series; locale: string; zone: string; words: string };

function Drawing({ finding, series, locale, zone, words }: DrawingProps) {
  const host = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(600);
  useEffect(() => {
    const box = host.current;
    if (!box) return;
    const resized = new ResizeObserver(() => setWidth(Math.max(240, box.clientWidth)));
    resized.observe(box);
    return () => resized.disconnect();
  }, []);

  const from = Date.parse(series.from);
  const to = Date.parse(series.to);
  const values = series.points.flatMap((p) => [p.min, p.max]);
  const limits = series.bands.flatMap((b) => [b.min, b.max]).filter((v) => v !== undefined);
  const [low, high] = [Math.min(...values, ...limits), Math.max(...values, ...limits)];
  const air = (high - low || Math.abs(high) || 1) * 0.08;
  const [bottom, top] = [low - air, high + air];
  const x = (at: number) => pad.start + ((at - from) / (to - from)) * (width - pad.start - pad.end);
  const y = (v: number) => pad.top + ((top - v) / (top - bottom)) * (height - pad.top - pad.bottom);

  // Round in the unit that is read.
  const [zero, one] = [converted(0, series.unit, locale), converted(1, series.unit, locale)];
  const marks = ticks(zero + bottom * (one - zero), zero + top * (one - zero)).map((v) => (v - zero) / (one - zero));
  const days = timeTicks(from, to, width < 420 ? 3 : 5);
  const format = new Intl.DateTimeFormat(
    locale,
    to - from > 2 * 24 * hour
      ? { day: "numeric", month: "short", timeZone: zone }
      : { weekday: "short", hour: "numeric", minute: "2-digit", timeZone: zone },
  );
  const since = Math.max(from, Date.parse(finding.since));
  const until = finding.until ? Math.min(to, Date.parse(finding.until)) : to;
  return (
    <div ref={host} className="drawing" dir="ltr">
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={words}>
        {series.bands.map((b) => (
          <rect
            key={`${b.tolerance} ${b.from} ${b.when ?? ""}`}
            className="band"
            x={x(Math.max(from, Date.parse(b.from)))}
            width={Math.max(0, x(Math.min(to, Date.parse(b.to))) - x(Math.max(from, Date.parse(b.from))))}
            y={b.max === undefined ? pad.top : y(b.max)}
            height={Math.max(
              0,
              (b.min === undefined ? height - pad.bottom : y(b.min)) - (b.max === undefined ? pad.top : y(b.max)),
            )}
          />
        ))}
        <rect
          className="finding"
          x={x(since)}
          width={Math.max(2, x(until) - x(since))}
          y={pad.top}
          height={height - pad.top - pad.bottom}
        />
        {marks.map((v) => (
          <g key={v}>
            <line className="grid" x1={pad.start} x2={width - pad.end} y1={y(v)} y2={y(v)} />
            <text x={pad.start - 8} y={y(v) + 4} textAnchor="end">
              {figure(v, series.unit, locale)}
            </text>
          </g>
        ))}
        {days.map((at) => (
          <text key={at} x={x(at)} y={height - 12} textAnchor="middle">
            {format.format(at)}
          </text>
        ))}
        {paths(series, x, y).map((d) => (
          <path key={d.line} className="reach" d={d.reach} />
        ))}
        {paths(series, x, y).map((d) => (
          <path key={d.line} className="line" d={d.line} />
        ))}
      </svg>
    </div>
  );
}

/** The mean as a line, lowest to highest as an area; broken wherever nothing was measured for long. */
function paths(s: Series, x: (at: number) => number, y: (v: number) => number): { line: string; reach: string }[] {
  const times = s.points.map((p) => Date.parse(p.at));
  const gaps = times
    .slice(1)
    .map((at, i) => at - (times[i] ?? at))
    .sort((a, b) => a - b);
  const usual = gaps[Math.floor(gaps.length / 2)] ?? 0;
  const runs: (typeof s.points)[] = [[]];
  s.points.forEach((p, i) => {
    const before = times[i - 1];
    if (before !== undefined && (times[i] ?? 0) - before > 4 * usual) runs.push([]);
    runs.at(-1)?.push(p);
  });
  return runs
    .filter((run) => run.length > 0)
    .map((run) => {
      const at = (v: (typeof run)[number], n: number) => `${x(Date.parse(v.at)).toFixed(1)} ${y(n).toFixed(1)}`;
      const line = run.map((p) => at(p, p.mean)).join("L");
      return {
        // A single reading is a dot: a line of no length with round ends.
        line: `M${line}${run.length === 1 ? "h.01" : ""}`,
        reach: `M${run.map((p) => at(p, p.max)).join("L")}L${run
          .toReversed()
          .map((p) => at(p, p.min))
          .join("L")}Z`,
      };
    });
}

/** A few round values between two. */
export function ticks(low: number, high: number): number[] {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((m) => m * power >= rough) ?? 10) * power;
  const out: number[] = [];
  for (let v = Math.ceil(low / step) * step; v <= high; v += step) out.push(Number(v.toPrecision(12)));
  return out;
}

function timeTicks(from: number, to: number, most: number): number[] {
  return Array.from({ length: most }, (_, i) => from + ((i + 0.5) / most) * (to - from));
}

const rows = 24;

function Table({ series, locale, zone }: Omit<DrawingProps, "words" | "finding">) {
  const { t } = useLanguage();
  const step = Math.max(1, Math.ceil(series.points.length / rows));
  const parts = Array.from({ length: Math.ceil(series.points.length / step) }, (_, i) =>
    series.points.slice(i * step, (i + 1) * step),
  );
  return (
    <div className="readings">
      <table>
        <thead>
          <tr>
            <th scope="col">{t("found.table.from")}</th>
            <th scope="col">{t("found.table.lowest")}</th>
            <th scope="col">{t("found.table.highest")}</th>
          </tr>
        </thead>
        <tbody>
          {parts.map((part) => (
            <tr key={part[0]?.at}>
              <th scope="row">{formatTime(part[0]?.at ?? series.from, locale, zone)}</th>
              <td>{figure(Math.min(...part.map((p) => p.min)), series.unit, locale)}</td>
              <td>{figure(Math.max(...part.map((p) => p.max)), series.unit, locale)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
