import { Checkbox } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { type Finding, type FindingFilter, severities, useFindings } from "../api/findings";
import { useDetectors } from "../api/fleet";
import { Time, useClock } from "../clock";
import { ChoiceFilter, ProductFilter, TextFilter } from "../parts/Filters";
import { FindingOf, ofWhat } from "../parts/FindingOf";
import { FindingMark, SeverityMark } from "../parts/Mark";
import { Page } from "../parts/Page";
import { Empty } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/findings");

export function FindingsPage() {
  const { sort, ...search } = route.useSearch();
  const navigate = route.useNavigate();
  const { now } = useClock();
  const detectors = useDetectors();
  const set = (key: string) => (value: string | undefined) =>
    navigate({ search: (s) => ({ ...s, [key]: value }), replace: true, resetScroll: false });
  const filter = { ...search, shelved: search.shelved === "yes" } as FindingFilter;
  const findings = useFindings(filter);
  const at = now();

  const columns: Column<Finding>[] = [
    {
      key: "severity",
      title: "Severity",
      cell: (f) => <SeverityMark severity={f.severity} />,
      sort: (f) => severities.indexOf(f.severity),
    },
    {
      key: "title",
      title: "Finding",
      cell: (f) => (
        <Link to="/findings/$id" params={{ id: f.id }}>
          {f.title}
        </Link>
      ),
      sort: (f) => f.title,
    },
    {
      key: "unit",
      title: "Unit",
      cell: (f) => <FindingOf finding={f} />,
      sort: ofWhat,
    },
    { key: "state", title: "State", cell: (f) => <FindingMark finding={f} now={at} />, sort: (f) => f.state },
    { key: "why", title: "Evidence", cell: (f) => <span className="clip">{f.why}</span>, wide: true },
    { key: "onset", title: "Onset", cell: (f) => <Time at={f.onset} />, sort: (f) => f.onset, wide: true },
    { key: "opened", title: "Opened", cell: (f) => <Time at={f.openedAt} />, sort: (f) => f.openedAt, wide: true },
    {
      key: "assessment",
      title: "Assessment",
      cell: (f) => f.assessment || "–",
      sort: (f) => f.assessment ?? "",
      wide: true,
    },
  ];

  return (
    <Page title="Findings">
      <search className="filters">
        <ProductFilter value={search.product} set={set("product")} />
        <ChoiceFilter label="State" value={search.state} set={set("state")} options={["open", "cleared"]} />
        <ChoiceFilter label="Severity" value={search.severity} set={set("severity")} options={severities} />
        <ChoiceFilter
          label="Detector"
          value={search.detector}
          set={set("detector")}
          options={detectors.rows.map((d) => ({ value: d.name, label: d.spec.title || d.name }))}
        />
        <TextFilter label="Unit" value={search.unit} set={set("unit")} placeholder="whole id" />
        <Checkbox
          label="With shelved ones"
          checked={search.shelved === "yes"}
          onChange={(e) => set("shelved")(e.currentTarget.checked ? "yes" : undefined)}
        />
      </search>
      <Table
        cards
        what="findings"
        columns={columns}
        pages={findings}
        rowKey={(f) => f.id}
        sort={sort}
        onSort={set("sort")}
        empty={
          <Empty title="No findings">
            Nothing breaches as far as we may look. Detectors are listed under{" "}
            <Link to="/products">Products & detectors</Link>; wider filters may show more.
          </Empty>
        }
      />
    </Page>
  );
}
