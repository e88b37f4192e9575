import { NumberInput, Select, useComputedColorScheme } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useMemo } from "react";
import { BandChart, type Line, look } from "../../chart/BandChart";
import { useProducts } from "../api/fleet";
import { type LifeGroup, type PartLife, usePartLife, useParts } from "../api/wear";
import { Page, Sheet } from "../parts/Page";
import { Empty, Loading, Trouble } from "../parts/States";

const route = getRouteApi("/shell/parts");

const ways = { batch: "Batch", version: "Version", all: "All together" } as const;
type Way = keyof typeof ways;

export function PartLifePage() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const set = (change: Record<string, string | undefined>) =>
    navigate({ search: (s) => ({ ...s, ...change }), replace: true, resetScroll: false });
  const products = useProducts();
  const product = search.product ?? products.rows[0]?.name;
  const parts = useParts(product);
  const names = parts.data?.map((p) => p.part ?? "") ?? [];
  const part = search.part === "whole unit" ? "" : (search.part ?? names.find((n) => n !== "") ?? names[0]);
  const by = (search.by && search.by in ways ? search.by : "batch") as Way;
  const months = Math.min(60, Math.max(1, Number(search.months) || 12));
  const life = usePartLife(part === undefined ? undefined : product, part ?? "", by, months);
  const nothing = parts.data?.length === 0;

  return (
    <Page title="How long parts last" actions={<Link to="/risk">Risk</Link>}>
      <search className="filters">
        <Select
          label="Product"
          size="sm"
          allowDeselect={false}
          value={product ?? null}
          data={products.rows.map((p) => ({ value: p.name, label: p.spec.title || p.name }))}
          onChange={(v) => set({ product: v ?? undefined, part: undefined })}
        />
        <Select
          label="Part"
          size="sm"
          allowDeselect={false}
          disabled={names.length === 0}
          value={part === undefined ? null : part || "whole unit"}
          data={names.map((n) => n || "whole unit")}
          onChange={(v) => set({ part: v ?? undefined })}
        />
        <Select
          label="Told apart by"
          size="sm"
          allowDeselect={false}
          value={by}
          data={Object.entries(ways).map(([value, label]) => ({ value, label }))}
          onChange={(v) => set({ by: v ?? undefined })}
        />
        <NumberInput
          label="Months ahead"
          size="sm"
          min={1}
          max={60}
          value={months}
          onChange={(v) => set({ months: v ? String(v) : undefined })}
        />
      </search>
      {parts.error && <Trouble what="Loading parts" error={parts.error} retry={() => parts.refetch()} />}
      {nothing && (
        <Empty title="Nothing is on record">
          Record what was put in, what failed and what was replaced: on a unit’s page, or many at once with{" "}
          <code>fettle maintenance import repairs.csv</code>. No signals are needed.
        </Empty>
      )}
      {life.error && <Trouble what="Loading the lives" error={life.error} retry={() => life.refetch()} />}
      {life.isPending && !nothing && !parts.error && <Loading what="lives" lines={8} />}
      {life.data && <Lives of={life.data} />}
    </Page>
  );
}

const named = (g: LifeGroup) => g.name || "none on record";

function Lives({ of: life }: { of: PartLife }) {
  const scheme = useComputedColorScheme();
  const lines = useMemo<Line[]>(
    () =>
      life.groups.map((g) => ({
        name: named(g),
        x: g.curve.map((p) => p.days),
        mid: g.curve.map((p) => p.survival),
        low: g.curve.map((p) => p.low),
        high: g.curve.map((p) => p.high),
      })),
    [life.groups],
  );
  // Few fail of good parts: from where the lowest band ends, in fifths, their curves can be told apart.
  const y = useMemo(() => {
    const lowest = Math.min(1, ...lines.flatMap((l) => l.low));
    return { ...percent, range: [Math.floor(lowest * 5) / 5, 1.02] as [number, number] };
  }, [lines]);
  if (life.groups.length === 0) return <Empty title="No life is on record">{life.comparison}</Empty>;
  return (
    <>
      <Sheet title="Share still working, by age">
        <BandChart
          lines={lines}
          stepped
          scheme={scheme}
          label="days since it was put in"
          y={y}
          words={`Survival curves: ${life.groups.map((g) => `${named(g)} ends at ${Math.round(100 * (g.curve.at(-1)?.survival ?? 1))} % after ${Math.round(g.curve.at(-1)?.days ?? 0)} days`).join("; ")}`}
        />
        <ul className="legend">
          {life.groups.map((g, i) => (
            <li key={g.name}>
              <Sample at={i} /> {named(g)}
            </li>
          ))}
        </ul>
        <p>{life.comparison}</p>
        <p className="soft">
          Kaplan and Meier’s curves with their 95 % bands. Parts that still work, or were replaced while they did, count
          as such.
          {life.unknown > 0 &&
            ` ${life.unknown} lives have no known beginning and are left out: record when those parts were put in.`}
          {life.leftOut > 0 && ` ${life.leftOut} smaller groups are left out.`}
        </p>
      </Sheet>
      <Sheet title="Weibull’s distribution">
        <Table of={life} />
      </Sheet>
    </>
  );
}

const percent = { write: (v: number) => `${Math.round(100 * v)} %` };

function Sample({ at }: { at: number }) {
  const { colour, dash } = look(at);
  return (
    <svg width="26" height="10" aria-hidden="true">
      <line
        x1="0"
        x2="26"
        y1="5"
        y2="5"
        stroke={`var(--plot-${colour})`}
        strokeWidth="3"
        strokeDasharray={dash?.join(" ")}
      />
    </svg>
  );
}

const whole = (v: number) => v.toLocaleString("en", { maximumFractionDigits: 0 });
const fine = (v: number) => v.toLocaleString("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });

function Table({ of: life }: { of: PartLife }) {
  return (
    <table className="table">
      <caption>
        Intervals: 95 %; of failures to come, of those in use, 80 %. B10: the age by which one in ten has failed.
      </caption>
      <thead>
        <tr>
          <th scope="col">{ways[life.by]}</th>
          <th scope="col" className="numeric">
            Failed of lives
          </th>
          <th scope="col" className="numeric wide">
            In use
          </th>
          <th scope="col" className="numeric">
            B10, days
          </th>
          <th scope="col" className="numeric wide">
            Shape
          </th>
          <th scope="col" className="wide">
            Which says
          </th>
          <th scope="col" className="numeric">
            Fail in {life.months} months
          </th>
        </tr>
      </thead>
      <tbody>
        {life.groups.map((g) => {
          const next = g.expected.at(-1);
          return (
            <tr key={g.name}>
              <th scope="row">{named(g)}</th>
              <td className="numeric">
                {g.failures} of {g.lives}
              </td>
              <td className="numeric wide">{g.alive}</td>
              <td className="numeric">
                {g.fit ? (
                  <>
                    {whole(g.fit.b10.value)}{" "}
                    <span className="soft">
                      {whole(g.fit.b10.low)} to {whole(g.fit.b10.high)}
                    </span>
                  </>
                ) : (
                  "–"
                )}
              </td>
              <td className="numeric wide">
                {g.fit ? (
                  <>
                    {fine(g.fit.shape.value)}{" "}
                    <span className="soft">
                      {fine(g.fit.shape.low)} to {fine(g.fit.shape.high)}
                    </span>
                  </>
                ) : (
                  "–"
                )}
              </td>
              <td className="wide">{g.fit?.words ?? g.why}</td>
              <td className="numeric">
                {next ? (
                  <>
                    <strong>{fine(next.value)}</strong>{" "}
                    <span className="soft">
                      {whole(next.low)} to {whole(next.high)}
                    </span>
                  </>
                ) : (
                  "–"
                )}
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
