import { getRouteApi, Link } from "@tanstack/react-router";
import { type Cohort, useCohorts } from "../api/campaigns";
import { Time } from "../clock";
import { ProductFilter } from "../parts/Filters";
import { Page } from "../parts/Page";
import { Empty } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/cohorts");

const columns: Column<Cohort>[] = [
  {
    key: "name",
    title: "Cohort",
    cell: (c) => (
      <Link to="/cohorts/$id" params={{ id: c.id }}>
        {c.definition.name}
      </Link>
    ),
    sort: (c) => c.definition.name,
  },
  {
    key: "state",
    title: "State",
    cell: (c) => (c.state === "computing" ? `computing, ${Math.round(100 * c.done)} %` : c.state),
    sort: (c) => c.state,
  },
  { key: "in", title: "In", numeric: true, cell: (c) => c.in.toLocaleString("en"), sort: (c) => c.in },
  { key: "out", title: "Out", numeric: true, wide: true, cell: (c) => c.out.toLocaleString("en"), sort: (c) => c.out },
  {
    key: "not",
    title: "Not judgeable",
    numeric: true,
    cell: (c) => c.notJudgeable.toLocaleString("en"),
    sort: (c) => c.notJudgeable,
  },
  {
    key: "product",
    title: "Product",
    wide: true,
    cell: (c) => c.definition.product,
    sort: (c) => c.definition.product,
  },
  { key: "at", title: "Frozen", wide: true, cell: (c) => <Time at={c.at} />, sort: (c) => c.at },
  { key: "by", title: "By", wide: true, cell: (c) => c.by, sort: (c) => c.by },
];

export function CohortsPage() {
  const { sort, product } = route.useSearch();
  const navigate = route.useNavigate();
  const set = (key: string) => (value: string | undefined) =>
    navigate({ search: (s) => ({ ...s, [key]: value }), replace: true, resetScroll: false });
  return (
    <Page
      title="Cohorts"
      actions={
        <Link to="/cohorts/new" className="act">
          New cohort
        </Link>
      }
    >
      <search className="filters">
        <ProductFilter value={product} set={set("product")} />
      </search>
      <Table
        what="cohorts"
        columns={columns}
        pages={useCohorts(product)}
        rowKey={(c) => c.id}
        sort={sort}
        onSort={set("sort")}
        empty={
          <Empty title="No cohort yet">
            Open a <Link to="/findings">finding</Link> and ask “Who else?”.
          </Empty>
        }
      />
    </Page>
  );
}
