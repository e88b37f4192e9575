import { getRouteApi, Link } from "@tanstack/react-router";
import { type Campaign, type CampaignState, useCampaigns } from "../api/campaigns";
import { Time } from "../clock";
import { taskShares } from "../parts/Bars";
import { ChoiceFilter, ProductFilter } from "../parts/Filters";
import { CampaignMark } from "../parts/Mark";
import { Page } from "../parts/Page";
import { Empty } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/campaigns");

const states: CampaignState[] = ["draft", "running", "paused", "canceled", "finished"];

const tasksOf = (c: Campaign) => Object.values(c.counts).reduce((a, b) => a + b, 0);
const verified = (c: Campaign) => taskShares(c.counts).find((s) => s.key === "verified")?.n ?? 0;

export const columns: Column<Campaign>[] = [
  {
    key: "name",
    title: "Campaign",
    cell: (c) => (
      <>
        <Link to="/campaigns/$name" params={{ name: c.name }}>
          {c.spec.title.en || c.name}
        </Link>
        {c.spec.title.en && <div className="soft">{c.name}</div>}
      </>
    ),
    sort: (c) => c.spec.title.en || c.name,
  },
  { key: "state", title: "State", cell: (c) => <CampaignMark state={c.state} />, sort: (c) => states.indexOf(c.state) },
  { key: "kind", title: "Kind", cell: (c) => c.spec.kind, sort: (c) => c.spec.kind },
  { key: "tasks", title: "Units", numeric: true, cell: (c) => tasksOf(c).toLocaleString("en"), sort: tasksOf },
  { key: "verified", title: "Verified", numeric: true, cell: (c) => verified(c).toLocaleString("en"), sort: verified },
  { key: "wave", title: "Waves open", wide: true, cell: (c) => `${c.waveOpen + 1} of ${c.spec.waves.length}` },
  { key: "product", title: "Product", wide: true, cell: (c) => c.spec.product, sort: (c) => c.spec.product },
  {
    key: "release",
    title: "Release",
    wide: true,
    cell: (c) => (
      <Link to="/releases/$name" params={{ name: c.spec.release }}>
        {c.spec.release}
      </Link>
    ),
    sort: (c) => c.spec.release,
  },
  {
    key: "started",
    title: "Started",
    wide: true,
    cell: (c) => <Time at={c.startedAt} />,
    sort: (c) => c.startedAt ?? "",
  },
];

export function CampaignsPage() {
  const { sort, product, state } = route.useSearch();
  const navigate = route.useNavigate();
  const set = (key: string) => (value: string | undefined) =>
    navigate({ search: (s) => ({ ...s, [key]: value }), replace: true, resetScroll: false });
  return (
    <Page title="Campaigns">
      <search className="filters">
        <ProductFilter value={product} set={set("product")} />
        <ChoiceFilter label="State" value={state} set={set("state")} options={states} />
      </search>
      <Table
        cards
        what="campaigns"
        columns={columns}
        pages={useCampaigns({ product, state: state as CampaignState | undefined })}
        rowKey={(c) => c.name}
        sort={sort}
        onSort={set("sort")}
        empty={
          <Empty title="No campaign">
            Declare one in a file of kind Campaign, naming a <Link to="/cohorts">cohort</Link> and a release, and run{" "}
            <code>fettle apply</code>.
          </Empty>
        }
      />
    </Page>
  );
}
