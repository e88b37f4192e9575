import { getRouteApi, Link } from "@tanstack/react-router";
import { conditions, type Unit, type UnitFilter, useUnits } from "../api/fleet";
import { Time } from "../clock";
import { ChoiceFilter, ProductFilter, TextFilter } from "../parts/Filters";
import { ConditionMark } from "../parts/Mark";
import { Page } from "../parts/Page";
import { Empty } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/units");

const order = Object.fromEntries(["failed", "degraded", "silent", "unknown", "normal"].map((c, i) => [c, i]));

const columns: Column<Unit>[] = [
  {
    key: "id",
    title: "Unit",
    cell: (u) => (
      <Link to="/units/$id" params={{ id: u.id }}>
        {u.id}
      </Link>
    ),
    sort: (u) => u.id,
  },
  {
    key: "condition",
    title: "Condition",
    cell: (u) => <ConditionMark condition={u.condition} />,
    sort: (u) => order[u.condition] ?? 9,
  },
  {
    key: "software",
    title: "Software",
    cell: (u) => u.versions?.software ?? "–",
    sort: (u) => u.versions?.software ?? "",
  },
  { key: "state", title: "State", cell: (u) => u.state, sort: (u) => u.state },
  { key: "serial", title: "Serial", cell: (u) => u.serial, sort: (u) => u.serial, wide: true },
  { key: "product", title: "Product", cell: (u) => u.product, sort: (u) => u.product, wide: true },
  { key: "hardware", title: "Hardware", cell: (u) => u.hardware || "–", sort: (u) => u.hardware ?? "", wide: true },
  { key: "batch", title: "Batch", cell: (u) => u.batch || "–", sort: (u) => u.batch ?? "", wide: true },
  { key: "region", title: "Region", cell: (u) => u.region || "–", sort: (u) => u.region ?? "", wide: true },
  {
    key: "since",
    title: "Version reported",
    cell: (u) => <Time at={u.versionAt} />,
    sort: (u) => u.versionAt ?? "",
    wide: true,
  },
];

export function UnitsPage() {
  const { sort, ...filter } = route.useSearch();
  const navigate = route.useNavigate();
  const set = (key: keyof UnitFilter | "sort") => (value: string | undefined) =>
    navigate({ search: (s) => ({ ...s, [key]: value }), replace: true, resetScroll: false });
  const units = useUnits(filter as UnitFilter);
  const filtered = Object.keys(filter).length > 0;
  return (
    <Page title="Units">
      <search className="filters">
        <TextFilter label="Id or serial" value={filter.q} set={set("q")} />
        <ProductFilter value={filter.product} set={set("product")} />
        <ChoiceFilter label="Condition" value={filter.condition} set={set("condition")} options={conditions} />
        <ChoiceFilter
          label="State"
          value={filter.state}
          set={set("state")}
          options={["pending", "active", "revoked", "retired"]}
        />
        <TextFilter label="Software" value={filter.version} set={set("version")} />
        <TextFilter label="Hardware" value={filter.hardware} set={set("hardware")} />
        <TextFilter label="Batch" value={filter.batch} set={set("batch")} />
        <TextFilter label="Region" value={filter.region} set={set("region")} />
      </search>
      <Table
        what="units"
        columns={columns}
        pages={units}
        rowKey={(u) => u.id}
        sort={sort}
        onSort={set("sort")}
        empty={
          filtered ? (
            <Empty title="No unit matches">
              <Link to="/units">Clear the filters</Link>
            </Empty>
          ) : (
            <Empty title="No units yet">
              Declare some in files of kind Unit and run <code>fettle apply</code>, or make a claim token under Claims
              and let units enrol themselves.
            </Empty>
          )
        }
      />
    </Page>
  );
}
