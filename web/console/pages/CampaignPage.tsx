import { getRouteApi, Link } from "@tanstack/react-router";
import { counted } from "../../chart/measure";
import {
  type CampaignAction,
  type CampaignDetail,
  type Task,
  type TaskState,
  useCampaign,
  useCampaignAction,
  useTasks,
  type Wave,
} from "../api/campaigns";
import { useMay } from "../api/session";
import { Time } from "../clock";
import { ShareBar, taskGroups, taskShares } from "../parts/Bars";
import { Confirm } from "../parts/Confirm";
import { DryRunButton } from "../parts/DryRunView";
import { EffectView } from "../parts/Effect";
import { ChoiceFilter, TextFilter } from "../parts/Filters";
import { CampaignMark } from "../parts/Mark";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Empty, Loading } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/campaigns/$name");

export function CampaignPage() {
  const { name } = route.useParams();
  const campaign = useCampaign(name);
  if (campaign.error)
    return <PageTrouble what={`Loading campaign ${name}`} error={campaign.error} retry={() => campaign.refetch()} />;
  if (!campaign.data) return <Loading what="the campaign" lines={10} />;
  const c = campaign.data;
  return (
    <Page
      title={c.spec.title.en || c.name}
      above={<Link to="/campaigns">Campaigns</Link>}
      actions={<Actions campaign={c} />}
    >
      <div className="verdict" role="status">
        <CampaignMark state={c.state} />
        {c.why && <span>{c.why}</span>}
      </div>
      <Sheet title="Progress">
        <ShareBar
          label="All waves"
          shares={taskShares(c.counts)}
          empty="Nobody has been assigned yet: the campaign has not started."
        />
        <ol className="waves">
          {c.waves.map((w) => (
            <WaveRow key={w.index} wave={w} />
          ))}
        </ol>
      </Sheet>
      <div className="pair">
        <Sheet title="Effect">
          {c.effect ? (
            <EffectView effect={c.effect} final={c.effectFinal} />
          ) : (
            <Empty title="Nothing to compare yet">
              Offered and not yet offered waves are compared once some units of both have been judged.
            </Empty>
          )}
        </Sheet>
        <About campaign={c} />
      </div>
      <Tasks campaign={c} />
    </Page>
  );
}

const gateTones: Record<Wave["gate"], string> = {
  waiting: "unknown",
  open: "acting",
  passed: "normal",
  failed: "failed",
};

function WaveRow({ wave: w }: { wave: Wave }) {
  return (
    <li>
      <div className="spread">
        <h3>
          {w.name} <span className="soft">{counted(w.units, "unit")}</span>
        </h3>
        <span className="soft">
          {w.openedAt ? (
            <>
              opened <Time at={w.openedAt} />
            </>
          ) : (
            "not open"
          )}
        </span>
      </div>
      <ShareBar label={`Wave ${w.name}`} shares={taskShares(w.counts)} empty="No tasks yet." />
      <p className="gate">
        <span className={`mark ${gateTones[w.gate]}`}>gate {w.gate}</span> {w.gateWhy}
      </p>
    </li>
  );
}

const consequences: Record<CampaignAction, { label: string; text: string; danger?: boolean; reason?: string }> = {
  start: {
    label: "Start",
    text: "The cohort’s newest snapshot and the detector’s version are frozen, units are drawn into waves at random, and the owners of the first wave are told.",
  },
  pause: {
    label: "Pause",
    text: "No further unit is offered the remedy and no wave opens. What has begun goes on.",
    reason: "Why",
  },
  resume: { label: "Resume", text: "Offers and waves go on from where they stood.", reason: "Why" },
  cancel: {
    label: "Cancel",
    text: "What has not begun is withdrawn, for good. What has begun goes on and is still verified.",
    danger: true,
    reason: "Why",
  },
};

const possible: Record<CampaignDetail["state"], CampaignAction[]> = {
  draft: ["start"],
  running: ["pause", "cancel"],
  paused: ["resume", "cancel"],
  canceled: [],
  finished: [],
};

function Actions({ campaign: c }: { campaign: CampaignDetail }) {
  const act = useCampaignAction(c.name);
  const may = useMay("write");
  return (
    <>
      {c.state === "draft" && <DryRunButton name={c.name} />}
      {c.state !== "draft" && (
        <Link to="/campaigns/$name/report" params={{ name: c.name }} className="act quiet">
          Report
        </Link>
      )}
      {may &&
        possible[c.state].map((action) => {
          const { label, text, danger, reason } = consequences[action];
          return (
            <Confirm
              key={action}
              label={label}
              danger={danger}
              reason={reason}
              title={`${label} ${c.name}?`}
              confirm={(why) => act.mutateAsync({ action, why: why || undefined })}
            >
              {text}
            </Confirm>
          );
        })}
    </>
  );
}

function About({ campaign: c }: { campaign: CampaignDetail }) {
  const { gate } = c.spec;
  return (
    <Sheet title="Campaign">
      <p>{c.spec.reason.en}</p>
      <Facts
        facts={[
          ["Kind", c.spec.kind],
          ["Release", c.spec.release],
          [
            "Cohort",
            c.snapshotId ? (
              <Link key="c" to="/cohorts/$id" params={{ id: c.snapshotId }}>
                {c.spec.cohort}
              </Link>
            ) : (
              c.spec.cohort
            ),
          ],
          ["Verified by", c.detector.name ? `${c.detector.name} version ${c.detector.version}` : c.spec.detector],
          ["Exposure asked for", c.spec.exposure],
          ["Owners may postpone", c.spec.deadline],
          ["Gate: soak", gate.soak],
          ["Gate: verified, at least", `${100 * gate.verified} %`],
          ["Gate: failed, at most", `${100 * gate.failed} %`],
          ["Gate: relapsed, at most", `${100 * gate.relapsed} %`],
          ["Started", <Time key="s" at={c.startedAt} />],
          ["Ended", <Time key="e" at={c.endedAt} />],
        ]}
      />
    </Sheet>
  );
}

const states: TaskState[] = [
  "planned",
  "blocked",
  "offered",
  "scheduled",
  "snoozed",
  "accepted",
  "installing",
  "claimed",
];
const ends: TaskState[] = [
  "verifying",
  "verified",
  "relapsed",
  "not judgeable",
  "declined",
  "failed",
  "expired",
  "canceled",
  "unreachable",
];

const tone = (s: TaskState) =>
  taskGroups.find((g) => (g.states as readonly string[]).includes(s))?.className ?? "unknown";

const columns: Column<Task>[] = [
  {
    key: "unit",
    title: "Unit",
    cell: (t) => (
      <Link to="/units/$id" params={{ id: t.unitId }}>
        {t.unitId}
      </Link>
    ),
    sort: (t) => t.unitId,
  },
  {
    key: "state",
    title: "State",
    cell: (t) => (
      <span className="task">
        <span className={`swatch ${tone(t.state)}`} aria-hidden="true" />
        {t.state}
      </span>
    ),
    sort: (t) => [...states, ...ends].indexOf(t.state),
  },
  { key: "wave", title: "Wave", cell: (t) => t.waveName, sort: (t) => t.wave, wide: true },
  { key: "why", title: "Reason", cell: (t) => <span className="clip">{t.why || "–"}</span>, wide: true },
  { key: "at", title: "Owner’s time", cell: (t) => <Time at={t.at} />, sort: (t) => t.at ?? "", wide: true },
  {
    key: "offered",
    title: "Offered",
    cell: (t) => <Time at={t.offeredAt} />,
    sort: (t) => t.offeredAt ?? "",
    wide: true,
  },
  {
    key: "installed",
    title: "Installed",
    cell: (t) => <Time at={t.installedAt} />,
    sort: (t) => t.installedAt ?? "",
    wide: true,
  },
  { key: "updated", title: "Changed", cell: (t) => <Time at={t.updated} />, sort: (t) => t.updated },
];

function Tasks({ campaign: c }: { campaign: CampaignDetail }) {
  const { sort, state, wave, unit } = route.useSearch();
  const navigate = route.useNavigate();
  const set = (key: string) => (value: string | undefined) =>
    navigate({ search: (s) => ({ ...s, [key]: value }), replace: true, resetScroll: false });
  const tasks = useTasks(c.name, {
    state: state as TaskState | undefined,
    wave: wave === undefined ? undefined : Number(wave),
    unit,
  });
  return (
    <Sheet title="Tasks">
      <search className="filters">
        <ChoiceFilter label="State" value={state} set={set("state")} options={[...states, ...ends]} />
        <ChoiceFilter
          label="Wave"
          value={wave}
          set={set("wave")}
          options={c.waves.map((w) => ({ value: String(w.index), label: w.name }))}
        />
        <TextFilter label="Unit" value={unit} set={set("unit")} placeholder="whole id" />
      </search>
      <Table
        what="tasks"
        columns={columns}
        pages={tasks}
        rowKey={(t) => t.id}
        sort={sort}
        onSort={set("sort")}
        empty={
          <Empty title="No tasks">
            {c.state === "draft" ? "A start gives each unit of the cohort one." : "None matches the filters."}
          </Empty>
        }
      />
    </Sheet>
  );
}
