import { useComputedColorScheme } from "@mantine/core";
import { useMemo, useState } from "react";
import { BandChart, type Line } from "../../chart/BandChart";
import type { Fan } from "../../chart/fan";
import { counted, lasting, measure, span } from "../../chart/measure";
import { type Range, SignalChart } from "../../chart/SignalChart";
import type { FindingDetail } from "../api/findings";
import { useProduct, useSeries } from "../api/fleet";
import { type Comparison, type Forecast, useComparison, useForecastAt, useForecasts } from "../api/outlook";
import { Time, useClock } from "../clock";
import { Sheet } from "./Page";
import { Loading, Trouble } from "./States";

const day = 86_400_000;

/** How long from one time to another, in words. */
const until = (from: string | undefined, to: string | undefined) =>
  span((Date.parse(to ?? "") - Date.parse(from ?? "")) / 1000);

function fanOf(f: Forecast): Fan | undefined {
  if (!f.supported || f.limit === undefined || f.level === undefined || !f.at || !f.low || !f.median || !f.high)
    return undefined;
  return { at: f.at, level: f.level, limit: f.limit, low: f.low, median: f.median, high: f.high };
}

/** What a trend's finding foresaw when it opened, over what was measured before and after. */
export function Foreseen({ finding: f }: { finding: FindingDetail }) {
  const { now } = useClock();
  const forecast = useForecastAt(f.unitId, f.detector, f.openedAt);
  if (forecast.error)
    return <Trouble what="Loading the forecast" error={forecast.error} retry={() => forecast.refetch()} />;
  if (forecast.isPending) return <Loading what="the forecast" lines={6} />;
  const made = forecast.data;
  const fan = made ? fanOf(made) : undefined;
  if (!made || !fan)
    return (
      <Sheet title="Foreseen">
        <p className="soft">
          {made?.withheld
            ? "The owner does not permit the detector’s purpose: nothing is looked at."
            : "The data that the forecast was made from is no longer held."}
        </p>
      </Sheet>
    );
  return <FanSheet key={f.id} finding={f} made={made} fan={fan} now={now().getTime()} />;
}

function FanSheet({ finding: f, made, fan, now }: { finding: FindingDetail; made: Forecast; fan: Fan; now: number }) {
  const { zone } = useClock();
  const scheme = useComputedColorScheme();
  const product = useProduct(f.product);
  const whole = useMemo<Range>(() => {
    const at = Date.parse(fan.at);
    const ahead = Date.parse(fan.high) - at;
    return { from: new Date(at - 2 * ahead), to: new Date(at + 1.1 * ahead) };
  }, [fan]);
  const [range, show] = useState(whole);
  const series = useSeries(f.unitId, made.signal, range.from, range.to, 600);
  const breaches = useMemo(
    () => [{ id: f.id, from: f.onset, to: f.cleared ?? (f.state === "open" ? new Date(now).toISOString() : f.lastAt) }],
    [f, now],
  );
  const title = product.data?.signals.find((s) => s.name === made.signal)?.title || made.signal;
  if (series.error) return <Trouble what={`Loading ${title}`} error={series.error} retry={() => series.refetch()} />;
  return (
    <Sheet
      title="Foreseen when it opened"
      actions={
        range !== whole && (
          <button type="button" className="link" onClick={() => show(whole)}>
            Show all
          </button>
        )
      }
    >
      {series.data ? (
        <SignalChart
          title={title}
          unit={series.data.unit}
          points={series.data.points}
          bands={[]}
          breaches={breaches}
          fan={fan}
          range={range}
          axis={`${f.id}-foreseen`}
          last
          utc={zone === "UTC"}
          colour={1}
          scheme={scheme}
          onZoom={show}
        />
      ) : (
        <Loading what={title} lines={5} />
      )}
      <p className="soft keys">
        <span className="key-item">
          <span className="swatch limit" aria-hidden="true" /> limit, {measure(made.limit, made.unit)}
        </span>
        <span className="key-item">
          <span className="swatch fan" aria-hidden="true" /> where it is reached with 80 % probability:{" "}
          <Time at={fan.low} /> to <Time at={fan.high} />, as likely before <Time at={fan.median} /> as after
        </span>
      </p>
    </Sheet>
  );
}

/** When a unit's signals will reach their limits. Nothing where no detector looks for it. */
export function UnitForecasts({ unitId }: { unitId: string }) {
  const forecasts = useForecasts(unitId);
  if (forecasts.error)
    return <Trouble what="Loading the forecasts" error={forecasts.error} retry={() => forecasts.refetch()} />;
  if (!forecasts.data || forecasts.data.length === 0) return null;
  return (
    <Sheet title="Trends">
      <dl className="trends">
        {forecasts.data.map((f) => (
          <div key={f.detector.name}>
            <dt>{f.title || f.detector.name}</dt>
            <dd>
              <ForecastWords of={f} />
            </dd>
          </div>
        ))}
      </dl>
    </Sheet>
  );
}

function ForecastWords({ of: f }: { of: Forecast }) {
  if (f.withheld) return <span className="soft">The owner does not permit it: nothing is looked at.</span>;
  if (!f.supported)
    return (
      <span className="soft">
        No forecast for {f.signal}: {f.reason}.
      </span>
    );
  return (
    <>
      <strong>{until(f.at, f.median)}</strong> until {f.signal} {f.upper ? "rises" : "falls"} to{" "}
      {measure(f.limit, f.unit)}{" "}
      <span className="soft">
        (80 %: {until(f.at, f.low)} to {until(f.at, f.high)}; now {measure(f.level, f.unit)}, as of <Time at={f.at} />)
      </span>
    </>
  );
}

/** The unit's line against its peers' band, around a finding. */
export function AmongPeers({ finding: f }: { finding: FindingDetail }) {
  const { now } = useClock();
  const [from, to] = useMemo(() => {
    const onset = Date.parse(f.onset);
    const end = Math.min(Date.parse(f.cleared ?? now().toISOString()), onset + 90 * day);
    return [new Date(onset - 30 * day).toISOString(), new Date(Math.max(end, onset + day)).toISOString()];
  }, [f, now]);
  const found = useComparison(f.unitId, f.detector, from, to);
  if (found.error) return <Trouble what="Loading its peers" error={found.error} retry={() => found.refetch()} />;
  if (!found.data) return <Loading what="its peers" lines={6} />;
  return (
    <Sheet title="Among its peers">
      {found.data.withheld ? (
        <p className="soft">The owner does not permit the detector’s purpose: nothing is looked at.</p>
      ) : (
        <PeersChart of={found.data} unit={f.unitId} />
      )}
    </Sheet>
  );
}

function PeersChart({ of: c, unit }: { of: Comparison; unit: string }) {
  const { zone } = useClock();
  const scheme = useComputedColorScheme();
  const [lines, range] = useMemo(() => {
    const at = (p: { at: string }) => Date.parse(p.at) / 1000;
    const peers = c.points.filter((p) => p.peers > 0);
    const own = c.points.filter((p) => p.value !== undefined);
    const values = own.map((p) => p.value ?? 0);
    const out: Line[] = [
      {
        name: "its peers",
        x: peers.map(at),
        mid: peers.map((p) => p.middle),
        low: peers.map((p) => p.least),
        high: peers.map((p) => p.most),
      },
      { name: unit, x: own.map(at), mid: values, low: values, high: values },
    ];
    const all = [...values, ...peers.flatMap((p) => [p.least, p.most])];
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const air = 0.06 * (high - low || 1);
    return [out, [low - air, high + air] as [number, number]];
  }, [c, unit]);
  if (c.points.length === 0) return <p className="soft">Nothing of it is held for this time.</p>;
  const like = c.like.length > 0 ? ` of ${c.like.join(", ")}` : "";
  const words = `${unit} against ${counted(c.peers, "peer")}${like}: ${c.points
    .slice(-1)
    .map((p) => `${measure(p.value, c.unit)}, the middle of its peers ${measure(p.middle, c.unit)}`)
    .join("")}`;
  return (
    <>
      <BandChart
        lines={lines}
        time
        utc={zone === "UTC"}
        scheme={scheme}
        words={words}
        y={{ range, write: (v) => measure(v, c.unit) }}
      />
      <p className="soft keys">
        <span className="key-item">
          <span className="swatch peers" aria-hidden="true" /> {counted(c.peers, "unit")}
          {like}
          {c.alike > c.peers && ` (of ${c.alike.toLocaleString("en")})`}: all of them, and their middle
        </span>
        <span className="key-item">
          <span className="swatch own" aria-hidden="true" /> {unit}; means of {c.signal} over {lasting(c.period)} each
        </span>
      </p>
    </>
  );
}
