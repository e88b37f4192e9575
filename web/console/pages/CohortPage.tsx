import { Progress, Tabs } from "@mantine/core";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";
import { lasting } from "../../chart/measure";
import { type Cohort, type Member, type MemberList, useCohort, useDeleteCohort, useMembers } from "../api/campaigns";
import { useMay } from "../api/session";
import { Time, useClock } from "../clock";
import { Confirm } from "../parts/Confirm";
import { TextFilter } from "../parts/Filters";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Empty, Loading, Trouble } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/cohorts/$id");

export function CohortPage() {
  const { id } = route.useParams();
  const cohort = useCohort(id);
  const remove = useDeleteCohort();
  const navigate = useNavigate();
  const may = useMay("analyse");
  if (cohort.error)
    return <PageTrouble what="Loading the cohort" error={cohort.error} retry={() => cohort.refetch()} />;
  if (!cohort.data) return <Loading what="the cohort" lines={8} />;
  const c = cohort.data;
  return (
    <Page
      title={c.definition.name}
      above={<Link to="/cohorts">Cohorts</Link>}
      actions={
        may && (
          <Confirm
            danger
            label="Delete"
            title={`Delete the cohort ${c.definition.name}?`}
            confirm={() => remove.mutateAsync(c.id).then(() => navigate({ to: "/cohorts" }))}
          >
            Its three lists are deleted. The definition can be computed again over history that is still held.
          </Confirm>
        )
      }
    >
      {c.state === "computing" && (
        <div className="verdict" role="status">
          <span>Computing, {Math.round(100 * c.done)} %</span>
          <Progress value={100 * c.done} w={200} aria-label="Share computed" />
        </div>
      )}
      {c.state === "failed" && <Trouble what="Computing the cohort" error={c.error ?? "unknown"} />}
      <Definition cohort={c} />
      {c.state === "ready" && <Members cohort={c} />}
    </Page>
  );
}

function Definition({ cohort: c }: { cohort: Cohort }) {
  const { time } = useClock();
  const { evidence, attributes, match, findingId, description } = c.definition;
  const { other, versions, ...plain } = attributes ?? {};
  const ofParts = Object.fromEntries(Object.entries(versions ?? {}).map(([part, v]) => [`version of ${part}`, v]));
  const likes = Object.entries<string[] | undefined>({ ...plain, ...other, ...ofParts }).filter(([, v]) => v?.length);
  return (
    <Sheet title="Definition">
      {description && <p>{description}</p>}
      <ul>
        {evidence && (
          <li>
            By evidence: {evidence.detector.name} version {evidence.detector.version} opens a finding between{" "}
            {time(evidence.from)} and {time(evidence.to)}; judgeable from {lasting(evidence.minExposure ?? "")} of
            exposure.
          </li>
        )}
        {likes.length > 0 && (
          <li>By attributes: {likes.map(([k, v]) => `${k} is ${(v ?? []).join(" or ")}`).join(", and ")}.</li>
        )}
        {evidence && likes.length > 0 && (
          <li>A unit belongs {match === "all" ? "only if both hold" : "if either holds"}.</li>
        )}
      </ul>
      <Facts
        facts={[
          ["Product", c.definition.product],
          ["Frozen", <Time key="t" at={c.at} />],
          ["Stream position", c.position.toLocaleString("en")],
          ["By", c.by],
          [
            "From finding",
            findingId ? (
              <Link key="f" to="/findings/$id" params={{ id: findingId }}>
                {findingId}
              </Link>
            ) : (
              "–"
            ),
          ],
        ]}
      />
      <p className="soft">The same definition over the stream up to this position gives the same members.</p>
    </Sheet>
  );
}

const columns: Column<Member>[] = [
  {
    key: "unit",
    title: "Unit",
    cell: (m) => (
      <Link to="/units/$id" params={{ id: m.unitId }}>
        {m.unitId}
      </Link>
    ),
    sort: (m) => m.unitId,
  },
  { key: "code", title: "Because of", cell: (m) => m.code, sort: (m) => m.code },
  { key: "reason", title: "Reason", cell: (m) => m.reason },
  {
    key: "exposure",
    title: "Exposure",
    numeric: true,
    wide: true,
    cell: (m) => `${m.exposureHours.toLocaleString("en", { maximumFractionDigits: 1 })} h`,
    sort: (m) => m.exposureHours,
  },
];

const lists: { list: MemberList; key: string; label: string; count: (c: Cohort) => number; about: string }[] = [
  {
    list: "in",
    key: "in",
    label: "In",
    count: (c) => c.in,
    about: "These belong: a campaign for this cohort is for them.",
  },
  { list: "out", key: "out", label: "Out", count: (c) => c.out, about: "These were judged and do not belong." },
  {
    list: "not judgeable",
    key: "not-judgeable",
    label: "Not judgeable",
    count: (c) => c.notJudgeable,
    about:
      "Of these we cannot say: their owners have not consented to this purpose, they are silent, or there is too little data.",
  },
];

function Members({ cohort }: { cohort: Cohort }) {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const current = lists.find((l) => l.key === search.list) ?? lists[0];
  const set = (key: string) => (value: string | undefined) =>
    navigate({ search: (s) => ({ ...s, [key]: value }), replace: true, resetScroll: false });
  const { q } = search;
  const list = current?.list ?? "in";
  const members = useMembers(cohort.id, list, true);
  const matches = useCallback(
    (m: Member) => {
      const wanted = (q ?? "").toLowerCase();
      return [m.unitId, m.code, m.reason].some((t) => t.toLowerCase().includes(wanted));
    },
    [q],
  );
  const keep = useMemo(() => (q ? matches : undefined), [q, matches]);
  return (
    <Sheet title="Members">
      <Tabs value={current?.key} onChange={(l) => set("list")(l ?? undefined)} keepMounted={false}>
        <Tabs.List mb="md">
          {lists.map((l) => (
            <Tabs.Tab key={l.key} value={l.key}>
              {l.label} · {l.count(cohort).toLocaleString("en")}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value={current?.key ?? "in"}>
          <p>{current?.about}</p>
          <div className="filters">
            <TextFilter label="Filter" value={q} set={set("q")} placeholder="unit or reason" />
          </div>
          <Table
            key={list}
            what="members"
            columns={columns}
            pages={members}
            rowKey={(m) => m.unitId}
            sort={search.sort}
            onSort={set("sort")}
            keep={keep}
            empty={<Empty title="None">No unit stands on this list.</Empty>}
          />
        </Tabs.Panel>
      </Tabs>
    </Sheet>
  );
}
