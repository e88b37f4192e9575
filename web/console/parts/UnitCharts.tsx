import { Button, Group, useComputedColorScheme } from "@mantine/core";
import { useCallback, useEffect, useMemo, useState } from "react";
import { type Breach, type Range, SignalChart } from "../../chart/SignalChart";
import type { Finding } from "../api/findings";
import { type ProductSpec, useSeries } from "../api/fleet";
import { useClock } from "../clock";
import { Loading, Trouble } from "./States";

type Signal = ProductSpec["signals"][number];

const buckets = 600;

type Props = {
  unitId: string;
  signals: Signal[];
  findings: Finding[];
  range: Range;
  onZoom: (range: Range) => void;
};

/** A unit's signals, one below the other on one time axis, with their bands and the findings. */
export function UnitCharts({ unitId, signals, findings, range, onZoom }: Props) {
  const drawn = signals.filter((s) => s.type !== "text");
  const [withheld, setWithheld] = useState<Record<string, boolean>>({});
  const onWithheld = useCallback((name: string, is: boolean) => setWithheld((w) => ({ ...w, [name]: is })), []);
  const last = drawn.findLast((s) => !withheld[s.name]);
  const end = range.to.toISOString();
  const breaches = useMemo<Breach[]>(
    () => findings.map((f) => ({ id: f.id, from: f.onset, to: f.state === "open" ? end : (f.cleared ?? f.lastAt) })),
    [findings, end],
  );

  return (
    <div className="charts">
      {drawn.map((s, i) => (
        <Panel
          key={s.name}
          unitId={unitId}
          signal={s}
          breaches={breaches}
          range={range}
          last={s === last}
          colour={((i % 4) + 1) as 1 | 2 | 3 | 4}
          onZoom={onZoom}
          onWithheld={onWithheld}
        />
      ))}
      {drawn.length > 0 && (
        <p className="soft keys">
          <span className="key-item">
            <span className="swatch band" aria-hidden="true" /> where the signal belongs in the unit’s operating context
          </span>
          <span className="key-item">
            <span className="swatch breach" aria-hidden="true" /> finding open
          </span>
        </p>
      )}
    </div>
  );
}

type PanelProps = {
  unitId: string;
  signal: Signal;
  breaches: Breach[];
  range: Range;
  last: boolean;
  colour: 1 | 2 | 3 | 4;
  onZoom: (range: Range) => void;
  onWithheld: (name: string, is: boolean) => void;
};

function Panel({ unitId, signal, breaches, range, last, colour, onZoom, onWithheld }: PanelProps) {
  const { zone } = useClock();
  const scheme = useComputedColorScheme();
  const series = useSeries(unitId, signal.name, range.from, range.to, buckets);
  const title = signal.title || signal.name;
  const withheld = series.data?.withheld ?? false;
  useEffect(() => onWithheld(signal.name, withheld), [signal.name, withheld, onWithheld]);

  if (series.error) return <Trouble what={`Loading ${title}`} error={series.error} retry={() => series.refetch()} />;
  if (!series.data) return <Loading what={title} lines={3} />;
  if (withheld)
    return (
      <p className="withheld">
        <strong>{title}</strong>: the owner permits none of the purposes it may be kept for. Nothing is stored and
        nothing shown.
      </p>
    );
  return (
    <SignalChart
      title={title}
      unit={series.data.unit}
      boolean={signal.type === "boolean"}
      points={series.data.points}
      bands={series.data.bands}
      breaches={breaches}
      range={range}
      axis={unitId}
      last={last}
      utc={zone === "UTC"}
      colour={colour}
      scheme={scheme}
      onZoom={onZoom}
    />
  );
}

const hour = 3_600_000;

export const presets = [
  { key: "6h", label: "6 h", ms: 6 * hour },
  { key: "1d", label: "1 d", ms: 24 * hour },
  { key: "7d", label: "7 d", ms: 7 * 24 * hour },
  { key: "30d", label: "30 d", ms: 30 * 24 * hour },
  { key: "90d", label: "90 d", ms: 90 * 24 * hour },
  { key: "1y", label: "1 y", ms: 365 * 24 * hour },
] as const;

type RangeProps = { preset?: string; range: Range; choose: (preset: string) => void; show: (range: Range) => void };

/** The time that is shown: by preset, by steps, or by dragging over a chart. All of it works by keyboard. */
export function RangeBar({ preset, range, choose, show }: RangeProps) {
  const { time } = useClock();
  const length = range.to.getTime() - range.from.getTime();
  const move = (share: number) =>
    show({
      from: new Date(range.from.getTime() + share * length),
      to: new Date(range.to.getTime() + share * length),
    });
  const zoom = (share: number) =>
    show({
      from: new Date(range.from.getTime() + share * length),
      to: new Date(range.to.getTime() - share * length),
    });
  return (
    <div className="range">
      <Group gap={6} role="group" aria-label="Time shown">
        {presets.map((p) => (
          <Button
            key={p.key}
            size="compact-sm"
            variant={preset === p.key ? "filled" : "default"}
            aria-pressed={preset === p.key}
            onClick={() => choose(p.key)}
          >
            {p.label}
          </Button>
        ))}
        <Button size="compact-sm" variant="default" onClick={() => move(-0.5)}>
          Earlier
        </Button>
        <Button size="compact-sm" variant="default" onClick={() => move(0.5)}>
          Later
        </Button>
        <Button size="compact-sm" variant="default" onClick={() => zoom(0.25)}>
          Zoom in
        </Button>
        <Button size="compact-sm" variant="default" onClick={() => zoom(-0.5)}>
          Zoom out
        </Button>
      </Group>
      <p className="soft">
        {time(range.from)} to {time(range.to)}. Drag over a chart to zoom.
      </p>
    </div>
  );
}
