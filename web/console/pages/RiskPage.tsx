import { Button } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import {
  type Model,
  type Prediction,
  type Prognosis,
  type RiskFilter,
  riskStates,
  useModels,
  usePrognoses,
  useRisks,
} from "../api/wear";
import { Time } from "../clock";
import { ChoiceFilter, ProductFilter } from "../parts/Filters";
import { Page, Sheet } from "../parts/Page";
import { daysWritten, Remaining, RiskMark, riskWords } from "../parts/Remaining";
import { Empty, Loading, Trouble } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/risk");

export function RiskPage() {
  const { sort, ...search } = route.useSearch();
  const navigate = route.useNavigate();
  const set = (key: string) => (value: string | undefined) =>
    navigate({ search: (s) => ({ ...s, [key]: value }), replace: true, resetScroll: false });
  const prognoses = usePrognoses(search.product);
  const risks = useRisks(search as RiskFilter);
  const top = useMemo(() => scaleOf(risks.rows), [risks.rows]);
  const some = prognoses.data ?? [];
  const chosen = some.filter((p) => !search.detector || p.detector === search.detector);

  const columns: Column<Prediction>[] = [
    {
      key: "unit",
      title: "Unit",
      cell: (p) => (
        <Link to="/units/$id" params={{ id: p.unitId }}>
          {p.unitId}
        </Link>
      ),
      sort: (p) => p.unitId,
    },
    {
      key: "left",
      title: "Remaining life",
      cell: (p) => <Remaining of={p} top={top} />,
      sort: (p) => (p.state === "unknown" ? Number.MAX_VALUE : p.median),
    },
    {
      key: "state",
      title: "State",
      cell: (p) => <RiskMark state={p.state} />,
      sort: (p) => riskStates.indexOf(p.state),
    },
    { key: "part", title: "Part", cell: (p) => p.part || "whole unit", sort: (p) => p.part ?? "", wide: true },
    {
      key: "reasons",
      title: "Speaks for it",
      cell: (p) => <Reasons of={p} />,
      wide: true,
    },
    { key: "model", title: "Model", cell: (p) => `${p.detector} ${p.model}`, sort: (p) => p.detector, wide: true },
    { key: "at", title: "Foreseen", cell: (p) => <Time at={p.at} />, sort: (p) => p.at, wide: true },
  ];

  return (
    <Page title="Risk" actions={<Link to="/parts">How long parts last</Link>}>
      <search className="filters">
        <ProductFilter value={search.product} set={set("product")} />
        <ChoiceFilter
          label="Detector"
          value={search.detector}
          set={set("detector")}
          options={some.map((p) => ({ value: p.detector, label: p.title }))}
        />
        <ChoiceFilter
          label="State"
          value={search.state}
          set={set("state")}
          options={riskStates.map((s) => ({ value: s, label: riskWords(s) }))}
        />
      </search>
      {prognoses.error && (
        <Trouble what="Loading prognoses" error={prognoses.error} retry={() => prognoses.refetch()} />
      )}
      {prognoses.isPending && <Loading what="prognoses" lines={3} />}
      {chosen.map((p) => (
        <Standing key={p.detector} of={p} />
      ))}
      {prognoses.data && some.length === 0 ? (
        <Empty title="Nothing is foreseen">
          Declare a detector of type prognosis (signals, a horizon, a part) and record what fails:{" "}
          <code>fettle maintenance import repairs.csv</code>. It learns from units that failed how long the others will
          last.
        </Empty>
      ) : (
        <Table
          cards
          what="units"
          columns={columns}
          pages={risks}
          rowKey={(p) => `${p.detector}/${p.unitId}`}
          sort={sort}
          onSort={set("sort")}
          empty={
            <Empty title="No unit is listed">
              {chosen.every((p) => p.model === 0)
                ? "There is no model yet; see above what is missing."
                : "No unit matches, or none may be looked at."}
            </Empty>
          }
        />
      )}
    </Page>
  );
}

/** Where the bars of a table end: far enough for most intervals, and at least twice the horizon. */
function scaleOf(rows: Prediction[]): number {
  const known = rows.filter((p) => p.state !== "unknown");
  const highs = known.map((p) => p.high).sort((a, b) => a - b);
  return Math.max(1, highs[Math.floor(0.9 * highs.length)] ?? 1, 2 * (known[0]?.horizon ?? 0));
}

function Reasons({ of: p }: { of: Prediction }) {
  if (p.reasons.length === 0) return <span className="soft">{p.state === "unknown" ? "–" : "no single signal"}</span>;
  return (
    <ul className="plain tight">
      {p.reasons.map((r) => (
        <li key={r.signal + r.text}>{r.text}</li>
      ))}
    </ul>
  );
}

/** What a detector has learned, and what it is waiting for. */
function Standing({ of: p }: { of: Prognosis }) {
  const [open, setOpen] = useState(false);
  const what = p.part || "the whole unit";
  return (
    <Sheet
      title={p.title}
      actions={
        <Button size="compact-sm" variant="default" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? "Hide models" : "Models"}
        </Button>
      }
    >
      {p.model > 0 ? (
        <p>
          Model {p.model} foresees failures of {what}, {daysWritten(p.horizon)} ahead.{" "}
          <strong>{p.counts.heading}</strong> heading for failure, <strong>{p.counts.watch}</strong> to watch,{" "}
          {p.counts.ok} ok
          {p.counts.unknown > 0 && `, ${p.counts.unknown} that cannot be told`}
          {p.withheld > 0 && `, ${p.withheld} withheld by their owners`}. Next look: <Time at={p.nextAt} />.
        </p>
      ) : (
        <Empty title="No model yet: nothing is foreseen">
          It needs {p.needed} failures of {what}, and has {p.failures}.
          {p.why && !p.why.startsWith("it needs") && ` Now ${p.why}.`}
          {p.unknown > 0 && ` ${p.unknown} lives have no known beginning: record when those parts were put in.`}
          {p.withheld > 0 && ` ${p.withheld} units are withheld by their owners.`}
        </Empty>
      )}
      {p.model > 0 && p.why && <p className="soft">{p.why}</p>}
      {open && <Models name={p.detector} />}
    </Sheet>
  );
}

const stateTones: Record<Model["state"], string> = { champion: "normal", retired: "unknown", rejected: "degraded" };

function Models({ name }: { name: string }) {
  const models = useModels(name, true);
  if (models.error) return <Trouble what="Loading models" error={models.error} retry={() => models.refetch()} />;
  if (!models.data) return <Loading what="models" lines={3} />;
  if (models.data.length === 0) return <p className="soft">None was learned yet.</p>;
  return (
    <table className="table">
      <caption>
        Models, newest first. Each was tested on failures that no model has learned from; a new one predicts only if it
        does better than the champion, and than age alone.
      </caption>
      <thead>
        <tr>
          <th scope="col">Model</th>
          <th scope="col">State</th>
          <th scope="col" className="wide">
            Learned
          </th>
          <th scope="col" className="numeric wide">
            From failures
          </th>
          <th scope="col" className="numeric">
            Mean error
          </th>
          <th scope="col" className="numeric">
            By age alone
          </th>
          <th scope="col" className="numeric wide">
            80 % interval held
          </th>
          <th scope="col" className="wide">
            Verdict
          </th>
        </tr>
      </thead>
      <tbody>
        {models.data.map((m) => (
          <tr key={m.number}>
            <th scope="row">{m.number}</th>
            <td>
              <span className={`mark ${stateTones[m.state]}`}>{m.state}</span>
            </td>
            <td className="wide">
              <Time at={m.trainedAt} />
            </td>
            <td className="numeric wide">
              {m.failures} <span className="soft">tested on {m.figures.lives}</span>
            </td>
            <td className="numeric">{daysWritten(m.figures.mae)}</td>
            <td className="numeric">{daysWritten(m.age.mae)}</td>
            <td className="numeric wide">
              {Math.round(100 * m.figures.coverage)} %
              {m.widening > 1 && <span className="soft"> stretched by {m.widening.toFixed(1)}</span>}
            </td>
            <td className="wide">{m.verdict}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
