import { useEffect, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { type Bounds, type Point, toColumns, valueRange } from "./columns";
import { drawFan, type Fan } from "./fan";
import { colourOf, timeFormats } from "./ink";
import { measure, unitName } from "./measure";

export type Band = Bounds & { from: string; to: string };
/** A time in which a finding was open. */
export type Breach = { id: string; from: string; to: string };
export type Range = { from: Date; to: Date };

type Props = {
  title: string;
  unit?: string;
  boolean?: boolean;
  points: Point[];
  bands: Band[];
  breaches: Breach[];
  /** Times of known failures. */
  failures?: string[];
  /** Where it was foreseen to go. */
  fan?: Fan;
  range: Range;
  /** Whether the time is written below it: only below the last of a stack. */
  last: boolean;
  /** Charts of one axis share their cursor by this name. */
  axis: string;
  utc: boolean;
  /** Which of the theme's plot colours. */
  colour: 1 | 2 | 3 | 4;
  scheme: string;
  onZoom: (range: Range) => void;
};

const boundsOf = ({ bands, fan }: { bands: Band[]; fan?: Fan }): Bounds[] =>
  fan ? [...bands, { min: fan.level, max: fan.limit }] : bands;

const seconds = (d: string | Date) => new Date(d).getTime() / 1000;

/** Draws what lies behind the line: bands the signal belongs in, and times of findings. */
function drawBehind(
  u: uPlot,
  bands: Band[],
  breaches: Breach[],
  failures: string[],
  colours: { band: string; edge: string; breach: string; onset: string; ink: string },
) {
  const { ctx, bbox } = u;
  const clamp = (v: number, low: number, high: number) => Math.min(Math.max(v, low), high);
  const x = (t: number) => clamp(u.valToPos(t, "x", true), bbox.left, bbox.left + bbox.width);
  const y = (v: number) => clamp(u.valToPos(v, "y", true), bbox.top, bbox.top + bbox.height);
  ctx.save();
  for (const b of bands) {
    const [left, right] = [x(seconds(b.from)), x(seconds(b.to))];
    const top = b.max === undefined ? bbox.top : y(b.max);
    const bottom = b.min === undefined ? bbox.top + bbox.height : y(b.min);
    ctx.fillStyle = colours.band;
    ctx.fillRect(left, top, right - left, bottom - top);
    ctx.fillStyle = colours.edge;
    const line = uPlot.pxRatio;
    if (b.max !== undefined) ctx.fillRect(left, top, right - left, line);
    if (b.min !== undefined) ctx.fillRect(left, bottom - line, right - left, line);
  }
  for (const f of breaches) {
    const [left, right] = [x(seconds(f.from)), x(seconds(f.to))];
    if (right <= bbox.left || left >= bbox.left + bbox.width) continue;
    ctx.fillStyle = colours.breach;
    ctx.fillRect(left, bbox.top, Math.max(right - left, 2 * uPlot.pxRatio), bbox.height);
    ctx.fillStyle = colours.onset;
    ctx.fillRect(left, bbox.top, 2 * uPlot.pxRatio, bbox.height);
  }
  ctx.fillStyle = colours.ink;
  for (const at of failures) {
    const t = seconds(at);
    if (t < (u.scales.x?.min ?? 0) || t > (u.scales.x?.max ?? 0)) continue;
    ctx.fillRect(x(t) - uPlot.pxRatio, bbox.top, 3 * uPlot.pxRatio, bbox.height);
  }
  ctx.restore();
}

/** One signal over time, in words for those who cannot see the canvas. */
function inWords({ title, unit, boolean, points, breaches, failures, fan }: Props): string {
  if (points.length === 0) return `${title}: nothing stored in this range`;
  const low = Math.min(...points.map((p) => p.min));
  const high = Math.max(...points.map((p) => p.max));
  const what = failures ? "alarm" : "finding";
  const findings = breaches.length === 0 ? "" : `, ${breaches.length} ${what}${breaches.length > 1 ? "s" : ""} marked`;
  const ahead = fan ? `, ${measure(fan.limit, unit)} foreseen between ${fan.low} and ${fan.high}` : "";
  return boolean
    ? `${title}, on or off${findings}`
    : `${title}, ${measure(low, unit)} to ${measure(high, unit)}${findings}${ahead}`;
}

export function SignalChart(props: Props) {
  const {
    title,
    unit,
    boolean,
    points,
    bands,
    breaches,
    failures,
    fan,
    range,
    axis,
    last,
    utc,
    colour,
    scheme,
    onZoom,
  } = props;
  const host = useRef<HTMLDivElement>(null);
  const value = useRef<HTMLSpanElement>(null);
  const plot = useRef<uPlot | null>(null);
  const data = useMemo(() => toColumns(points), [points]);
  // The hooks of a chart that stands read what is newest from here.
  const now = useRef({ bands, breaches, failures, fan, points, onZoom, data });
  now.current = { bands, breaches, failures, fan, points, onZoom, data };

  useEffect(() => {
    const box = host.current;
    if (!box) return;
    // Read again when the scheme changes: a canvas keeps the colours it was given.
    box.dataset.scheme = scheme;
    const ink = (token: string) => colourOf(box, token);
    const line = ink(`--plot-${colour}`);
    const colours = {
      fan: `color-mix(in srgb, ${ink("--plot-2")} 26%, transparent)`,
      way: ink("--plot-2"),
      limit: ink("--failed"),
      band: ink("--plot-band"),
      edge: ink("--normal"),
      breach: ink("--plot-finding"),
      onset: ink("--failed"),
      ink: ink("--ink"),
    };
    const grid = { stroke: ink("--line"), width: 1 };
    const font = `12px ${getComputedStyle(box).fontFamily}`;
    const paths = boolean ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
    const chart = new uPlot(
      {
        width: box.clientWidth,
        height: (boolean ? 46 : 136) + (last ? 46 : 6),
        tzDate: utc ? (t) => uPlot.tzDate(new Date(t * 1000), "Etc/UTC") : (t) => new Date(t * 1000),
        legend: { show: false },
        cursor: {
          sync: { key: axis, setSeries: false },
          drag: { x: true, y: false, setScale: false },
          focus: { prox: -1 },
        },
        scales: {
          x: { time: true },
          y: { range: () => (boolean ? [-0.15, 1.15] : valueRange(now.current.points, boundsOf(now.current))) },
        },
        axes: [
          {
            stroke: ink("--ink-soft"),
            grid,
            ticks: grid,
            font,
            ...(last ? { values: timeFormats } : { size: 6, values: () => [] }),
          },
          {
            stroke: ink("--ink-soft"),
            grid,
            ticks: grid,
            font,
            size: 62,
            space: 26,
            ...(boolean
              ? { splits: () => [0, 1], values: () => ["off", "on"] }
              : { values: (_: uPlot, marks: number[]) => marks.map((m) => measure(m)) }),
          },
        ],
        series: [
          {},
          { stroke: "transparent", points: { show: false }, paths },
          { stroke: "transparent", points: { show: false }, paths },
          { stroke: line, width: 1.6, points: { show: false }, paths },
        ],
        bands: boolean ? [] : [{ series: [1, 2], fill: `color-mix(in srgb, ${line} 22%, transparent)` }],
        hooks: {
          drawClear: [
            (u) => {
              drawBehind(u, now.current.bands, now.current.breaches, now.current.failures ?? [], colours);
              if (now.current.fan) drawFan(u, now.current.fan, colours);
            },
          ],
          setCursor: [
            (u) => {
              if (!value.current) return;
              const at = u.cursor.idx;
              const [, high, low, mean] = now.current.data;
              const m = at === null || at === undefined ? null : mean[at];
              if (at === null || at === undefined || m === null || m === undefined) value.current.textContent = "";
              else if (boolean) value.current.textContent = m >= 0.5 ? "on" : "off";
              else
                value.current.textContent =
                  high[at] === low[at]
                    ? measure(m, unit)
                    : `${measure(m, unit)} (${measure(low[at])} to ${measure(high[at], unit)})`;
            },
          ],
          setSelect: [
            (u) => {
              if (u.select.width < 6) return;
              const from = new Date(u.posToVal(u.select.left, "x") * 1000);
              const to = new Date(u.posToVal(u.select.left + u.select.width, "x") * 1000);
              u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              now.current.onZoom({ from, to });
            },
          ],
        },
      },
      now.current.data,
      box,
    );
    plot.current = chart;
    const resize = new ResizeObserver(() => chart.setSize({ width: box.clientWidth, height: chart.height }));
    resize.observe(box);
    return () => {
      resize.disconnect();
      chart.destroy();
      plot.current = null;
    };
  }, [axis, boolean, colour, last, unit, utc, scheme]);

  const [from, to] = [range.from.getTime(), range.to.getTime()];
  // biome-ignore lint/correctness/useExhaustiveDependencies: a chart made anew, or with other bands, must be given its range and redrawn
  useEffect(() => {
    const chart = plot.current;
    if (!chart) return;
    chart.batch(() => {
      chart.setData(data, false);
      chart.setScale("x", { min: from / 1000, max: to / 1000 });
    });
    chart.redraw();
  }, [data, from, to, bands, breaches, failures, fan, axis, boolean, colour, last, unit, utc, scheme]);

  return (
    <figure className="chart">
      <figcaption>
        <strong>{title}</strong>
        {unit && <span className="soft"> in {unitName(unit)}</span>}
        <span className="value" ref={value} aria-hidden="true" />
      </figcaption>
      <div ref={host} role="img" aria-label={inWords(props)} />
      {points.length === 0 && <p className="soft">Nothing is stored in this range.</p>}
    </figure>
  );
}
