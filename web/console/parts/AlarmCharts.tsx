import { Select, useComputedColorScheme } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { counted } from "../../chart/measure";
import { type Band, type Breach, type Range, SignalChart } from "../../chart/SignalChart";
import { type Backtest, type BacktestResult, type BacktestUnit, useBacktestUnits } from "../api/detectors";
import { type ProductSpec, useProduct, useSeries } from "../api/fleet";
import { useClock } from "../clock";
import { Empty, Loading, Trouble } from "./States";

/** The signals that a detector reads: of its tolerance, those that it names, or all numbers that it may read. */
function signalsOf(p: ProductSpec, spec: NonNullable<Backtest["spec"]>): ProductSpec["signals"] {
  const tolerance = p.tolerances?.find((t) => t.name === (spec.tolerance ?? spec.trend?.tolerance));
  const named = [tolerance?.signal, spec.trend?.signal, spec.peers?.signal, ...(spec.anomaly?.signals ?? [])].filter(
    (n) => n,
  );
  const may = p.signals.filter((s) => s.type === "number" && s.purposes.includes(spec.purpose));
  return named.length > 0 ? p.signals.filter((s) => named.includes(s.name)) : may;
}

/** Moves bands outwards by a margin, as the detector does. */
function moved(bands: Band[], by: number): Band[] {
  return bands.map((b) => ({
    ...b,
    ...(b.min === undefined ? {} : { min: b.min - by }),
    ...(b.max === undefined ? {} : { max: b.max + by }),
  }));
}

type Props = { job: Backtest; result: BacktestResult; chosen: number };

const some = 6;

/** Units' signals with the alarms that the chosen threshold would have raised. */
export function AlarmCharts({ job, result, chosen }: Props) {
  const [limit, setLimit] = useState(some);
  const units = useBacktestUnits(job.id, limit);
  const product = useProduct(job.product);
  const [range, setRange] = useState<Range>();
  const [drawn, setDrawn] = useState<string>();
  if (units.error) return <Trouble what="Loading alarms" error={units.error} retry={() => units.refetch()} />;
  if (product.error)
    return <Trouble what="Loading the product" error={product.error} retry={() => product.refetch()} />;
  if (!units.data || !product.data || !job.spec) return <Loading what="alarms" lines={8} />;
  if (units.data.length === 0)
    return (
      <Empty title="Nothing to show">
        No threshold that was tried flags a unit, and none is known to have failed. Try limits further in.
      </Empty>
    );
  const signals = signalsOf(product.data, job.spec);
  const signal = signals.find((s) => s.name === drawn) ?? signals[0];
  if (!signal) return <Empty title="Nothing to draw">The product has no number that this detector may read.</Empty>;
  const whole = { from: new Date(result.from ?? job.at), to: new Date(result.to ?? job.at) };
  const margin = result.field === "margin" ? (result.thresholds[chosen]?.value ?? 0) : (job.spec.margin ?? 0);
  return (
    <div className="charts">
      {signals.length > 1 && (
        <Select
          label="Signal drawn"
          data={signals.map((s) => ({ value: s.name, label: s.title || s.name }))}
          value={signal.name}
          allowDeselect={false}
          onChange={(v) => setDrawn(v ?? undefined)}
          maw={320}
          mb="sm"
        />
      )}
      {units.data.map((u) => (
        <Alarms
          key={u.unitId}
          unit={u}
          chosen={chosen}
          signal={signal}
          margin={job.type === "tolerance" ? margin : undefined}
          range={range ?? whole}
          onZoom={setRange}
        />
      ))}
      <p className="soft keys">
        <span className="key-item">
          <span className="swatch breach" aria-hidden="true" /> alarm
        </span>
        <span className="key-item">
          <span className="swatch failure" aria-hidden="true" /> known failure
        </span>
        <span className="key-item">
          <span className="swatch band" aria-hidden="true" /> within the threshold
        </span>
        <span>Drag over a chart to zoom.</span>
      </p>
      <p>
        {range && (
          <button type="button" className="act quiet" onClick={() => setRange(undefined)}>
            Whole period
          </button>
        )}{" "}
        {units.data.length === limit && limit < 48 && (
          <button type="button" className="act quiet" onClick={() => setLimit(limit * 2)}>
            More units
          </button>
        )}
      </p>
    </div>
  );
}

type OneProps = {
  unit: BacktestUnit;
  chosen: number;
  signal: ProductSpec["signals"][number];
  margin?: number;
  range: Range;
  onZoom: (r: Range) => void;
};

function Alarms({ unit: u, chosen, signal, margin, range, onZoom }: OneProps) {
  const { zone } = useClock();
  const scheme = useComputedColorScheme();
  const series = useSeries(u.unitId, signal.name, range.from, range.to, 500);
  const alarms = u.alarms[chosen];
  const end = range.to.toISOString();
  const breaches = useMemo<Breach[]>(
    () => (alarms ?? []).map((a) => ({ id: a.from, from: a.from, to: a.until ?? end })),
    [alarms, end],
  );
  const failures = useMemo(() => u.failures.map((f) => f.at), [u.failures]);
  const bands = series.data?.bands;
  const drawn = useMemo(() => (margin === undefined ? [] : moved(bands ?? [], margin)), [bands, margin]);
  const was = (w: string) => alarms?.filter((a) => a.was === w).length ?? 0;
  const said = [
    was("true") > 0 && `${was("true")} true`,
    was("false") > 0 && `${was("false")} false`,
    was("unjudged") > 0 && `${was("unjudged")} not judged`,
  ].filter(Boolean);
  return (
    <section className="alarms" aria-label={`Unit ${u.unitId}`}>
      <p className="spread">
        <Link to="/units/$id" params={{ id: u.unitId }}>
          {u.unitId}
        </Link>
        <span className="soft">
          {counted(alarms?.length ?? 0, "alarm")}
          {said.length > 0 && ` (${said.join(", ")})`}
          {u.failures.length > 0 && `, ${counted(u.failures.length, "known failure")}`}
          {u.cut && ", not all drawn"}
        </span>
      </p>
      {series.error && <Trouble what={`Loading ${u.unitId}`} error={series.error} retry={() => series.refetch()} />}
      {series.isPending && <Loading what={u.unitId} lines={3} />}
      {series.data?.withheld && (
        <p className="withheld">The owner permits none of the purposes that this signal may be kept for.</p>
      )}
      {series.data && !series.data.withheld && (
        <SignalChart
          title={signal.title || signal.name}
          unit={series.data.unit}
          boolean={signal.type === "boolean"}
          points={series.data.points}
          bands={drawn}
          breaches={breaches}
          failures={failures}
          range={range}
          axis="backtest"
          last
          utc={zone === "UTC"}
          colour={1}
          scheme={scheme}
          onZoom={onZoom}
        />
      )}
    </section>
  );
}
