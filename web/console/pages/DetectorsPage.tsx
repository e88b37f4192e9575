import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import type { Detector } from "../api/detectors";
import { useDetectorList } from "../api/detectors";
import { ChoiceFilter } from "../parts/Filters";
import { SeverityMark } from "../parts/Mark";
import { Page } from "../parts/Page";
import { Empty } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/detectors");

/** Of what somebody looked at, how much was a false alarm. */
export function falseAlarms(c: Detector["counts"]): string {
  const said = c.confirmed + c.noFaultFound;
  if (said === 0) return "nobody has said";
  return `${c.noFaultFound} of ${said} looked at`;
}

const columns: Column<Detector>[] = [
  {
    key: "title",
    title: "Detector",
    sort: (d) => d.title,
    cell: (d) => (
      <>
        <Link to="/detectors/$name" params={{ name: d.name }}>
          {d.title}
        </Link>
        <div className="soft">
          {d.name}, version {d.version}
        </div>
      </>
    ),
  },
  {
    key: "severity",
    title: "Severity",
    sort: (d) => ["warning", "minor", "major", "critical"].indexOf(d.severity),
    cell: (d) => <SeverityMark severity={d.severity} />,
  },
  { key: "type", title: "Kind", sort: (d) => d.type, cell: (d) => d.type, wide: true },
  { key: "product", title: "Product", sort: (d) => d.productTitle, cell: (d) => d.productTitle, wide: true },
  {
    key: "open",
    title: "Open",
    numeric: true,
    sort: (d) => d.counts.open,
    cell: (d) => (
      <Link to="/findings" search={{ detector: d.name, state: "open" }}>
        {d.counts.open}
      </Link>
    ),
  },
  {
    key: "findings",
    title: "Findings",
    numeric: true,
    sort: (d) => d.counts.findings,
    cell: (d) => (
      <Link to="/findings" search={{ detector: d.name }}>
        {d.counts.findings}
      </Link>
    ),
  },
  {
    key: "false",
    title: "False alarms",
    wide: true,
    sort: (d) => d.counts.noFaultFound / Math.max(1, d.counts.confirmed + d.counts.noFaultFound),
    cell: (d) => falseAlarms(d.counts),
  },
];

export function DetectorsPage() {
  const search = route.useSearch();
  const navigate = useNavigate({ from: "/detectors" });
  const pages = useDetectorList(search.product);
  const products = [...new Set(pages.rows.map((d) => d.product))];
  return (
    <Page title="Detectors">
      <p className="soft">
        They are declared in files and changed by <code>fettle apply</code>. Try one on history before you change it:
        open it, then “Backtest”.
      </p>
      {(products.length > 1 || search.product) && (
        <ChoiceFilter
          label="Product"
          value={search.product}
          set={(product) => navigate({ search: { ...search, product }, replace: true })}
          options={search.product && products.length === 0 ? [search.product] : products}
        />
      )}
      <Table
        what="detectors"
        columns={columns}
        pages={pages}
        rowKey={(d) => d.name}
        sort={search.sort}
        onSort={(sort) => navigate({ search: { ...search, sort }, replace: true })}
        empty={
          <Empty title="No detector yet">
            Without one nothing is watched. Write a file of kind Detector and run <code>fettle apply -f FILE</code>.
          </Empty>
        }
      />
    </Page>
  );
}
