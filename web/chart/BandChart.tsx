import { useEffect, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { colourOf, timeFormats } from "./ink";

export type Line = {
  name: string;
  /** Ascending; of time in seconds. */
  x: number[];
  mid: number[];
  low: number[];
  high: number[];
};

type Props = {
  lines: Line[];
  /** What the chart says, for those who cannot see the canvas. */
  words: string;
  /** Whether x is time. */
  time?: boolean;
  utc?: boolean;
  /** A value holds until the next one, instead of leading to it. */
  stepped?: boolean;
  y: { range?: [number, number]; write: (v: number) => string };
  /** What stands below the axis. */
  label?: string;
  /** A level drawn across. */
  level?: number;
  scheme: string;
};

/** The lines' look: four colours, then the same dashed, then dotted. */
const dashes: (number[] | undefined)[] = [undefined, [8, 5], [2, 4]];
export const look = (i: number) => ({ colour: (i % 4) + 1, dash: dashes[Math.floor(i / 4) % 3] });

/** Columns of one axis: where a line has no value of its own at x, uPlot is told to leave it out. */
function columnsOf(lines: Line[]): uPlot.AlignedData {
  const tables = lines.map((l) => [l.x, l.high, l.low, l.mid] as uPlot.AlignedData);
  return tables.length === 1 && tables[0] ? tables[0] : (uPlot.join(tables) as uPlot.AlignedData);
}

/** Lines with the bands that they may be in. */
export function BandChart({ lines, words, time, utc, stepped, y, label, level, scheme }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const data = useMemo(() => columnsOf(lines), [lines]);
  const [low, high] = y.range ?? [undefined, undefined];
  const write = useRef(y.write);
  write.current = y.write;

  useEffect(() => {
    const box = host.current;
    if (!box) return;
    box.dataset.scheme = scheme;
    const ink = (token: string) => colourOf(box, token);
    const grid = { stroke: ink("--line"), width: 1 };
    const axis = { stroke: ink("--ink-soft"), grid, ticks: grid, font: `12px ${getComputedStyle(box).fontFamily}` };
    const paths = stepped ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
    const edge = { stroke: "transparent", points: { show: false }, paths, spanGaps: true };
    const mark = ink("--failed");
    const chart = new uPlot(
      {
        width: box.clientWidth,
        height: 280,
        tzDate: utc ? (t) => uPlot.tzDate(new Date(t * 1000), "Etc/UTC") : (t) => new Date(t * 1000),
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: time ?? false },
          y:
            low === undefined || high === undefined
              ? { range: (_u, _min, max) => [0, Math.max(max, level ?? 0) * 1.05 || 1] }
              : { range: [low, high] },
        },
        axes: [
          {
            ...axis,
            label,
            labelSize: label ? 22 : 0,
            labelFont: axis.font,
            ...(time ? { values: timeFormats } : {}),
          },
          { ...axis, size: 58, values: (_: uPlot, marks: number[]) => marks.map((m) => write.current(m)) },
        ],
        series: [
          {},
          ...lines.flatMap((_, i) => {
            const { colour, dash } = look(i);
            const stroke = ink(`--plot-${colour}`);
            return [
              edge,
              edge,
              { stroke, width: 2, dash, points: { show: data[0].length < 2 }, paths, spanGaps: true },
            ];
          }),
        ],
        bands: lines.map((_, i) => ({
          series: [3 * i + 1, 3 * i + 2] as [number, number],
          fill: `color-mix(in srgb, ${ink(`--plot-${look(i).colour}`)} 16%, transparent)`,
        })),
        hooks: {
          drawClear: [
            (u) => {
              if (level === undefined) return;
              const at = u.valToPos(level, "y", true);
              u.ctx.save();
              u.ctx.strokeStyle = mark;
              u.ctx.setLineDash([4, 4]);
              u.ctx.beginPath();
              u.ctx.moveTo(u.bbox.left, at);
              u.ctx.lineTo(u.bbox.left + u.bbox.width, at);
              u.ctx.stroke();
              u.ctx.restore();
            },
          ],
        },
      },
      data,
      box,
    );
    const resize = new ResizeObserver(() => chart.setSize({ width: box.clientWidth, height: chart.height }));
    resize.observe(box);
    return () => {
      resize.disconnect();
      chart.destroy();
    };
  }, [data, lines, time, utc, stepped, low, high, label, level, scheme]);

  return <div ref={host} role="img" aria-label={words} className="bandchart" />;
}
