import { getRouteApi, Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { counted, lasting, percent } from "../../chart/measure";
import type { Approval } from "../api/account";
import {
  type CampaignAction,
  type CampaignDetail,
  type Task,
  type TaskState,
  useCampaign,
  useCampaignAction,
  useTasks,
  type Wave,
  type WaveSpec,
} from "../api/campaigns";
import { useMay } from "../api/session";
import { Time } from "../clock";
import { ShareBar, taskGroups, taskShares } from "../parts/Bars";
import { Confirm } from "../parts/Confirm";
import { DryRunButton } from "../parts/DryRunView";
import { EffectView } from "../parts/Effect";
import { EvidenceView } from "../parts/EvidenceView";
import { ChoiceFilter, TextFilter } from "../parts/Filters";
import { CampaignMark } from "../parts/Mark";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Refusals } from "../parts/Refusals";
import { Empty, Loading } from "../parts/States";
import { type Column, Table } from "../parts/Table";
import { Decide } from "./ApprovalsPage";

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
        {c.waiting && (
          <span>
            {c.waiting.code}: {c.waiting.why}
          </span>
        )}
      </div>
      <Sheet title="Progress">
        <ShareBar
          label="All waves"
          shares={taskShares(c.counts)}
          empty="Nobody has been assigned yet: the campaign has not started."
        />
        <ol className="waves">
          {c.waves.map((w) => (
            <WaveRow key={w.index} wave={w} spec={c.spec.waves[w.index]} />
          ))}
        </ol>
      </Sheet>
      {(c.evidence ?? []).length > 0 && (
        <Sheet title="Does it do harm?">
          <EvidenceView campaign={c} />
        </Sheet>
      )}
      <div className="pair">
        <Sheet title="Does it help?">
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
      <Held campaign={c} />
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

/** How a wave's units were chosen. */
function chosen(w: Wave, spec: WaveSpec | undefined): string {
  if (spec?.units?.length) return "by list";
  if (spec?.where) return `where ${spec.where}`;
  if (spec?.match) return "by attributes";
  if (w.count) return `${w.count.toLocaleString("en")} drawn by lot`;
  return w.share > 0 ? `${percent(w.share)} drawn by lot` : "the rest";
}

function WaveRow({ wave: w, spec }: { wave: Wave; spec?: WaveSpec }) {
  return (
    <li>
      <div className="spread">
        <h3>
          {w.name}{" "}
          <span className="soft">
            {counted(w.units, "unit")}, {chosen(w, spec)}
          </span>
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
  planning: ["cancel"],
  running: ["pause", "cancel"],
  paused: ["resume", "cancel"],
  canceled: [],
  finished: [],
};

function Actions({ campaign: c }: { campaign: CampaignDetail }) {
  const act = useCampaignAction(c.name);
  const may = useMay("campaign");
  return (
    <>
      {c.state === "draft" && <DryRunButton name={c.name} />}
      {c.state !== "draft" && (
        <Link to="/campaigns/$name/report" params={{ name: c.name }} className="act quiet">
          Report
        </Link>
      )}
      {c.state === "draft" && c.approval?.state === "pending" && <Asked approval={c.approval} />}
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

/** Four eyes: somebody asked for the start, somebody else decides. */
function Asked({ approval }: { approval: Approval }) {
  return (
    <>
      <span className="hint">{approval.askedBy} asked for its start</span>
      <Decide approval={approval} />
    </>
  );
}

function About({ campaign: c }: { campaign: CampaignDetail }) {
  const { gate, retry, hours } = c.spec;
  return (
    <Sheet title="Campaign">
      <p>{c.spec.reason.en}</p>
      <Facts
        facts={[
          ["Kind", c.spec.kind],
          [
            "Release",
            <Link key="r" to="/releases/$name" params={{ name: c.spec.release }}>
              {c.spec.release}
            </Link>,
          ],
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
          ["Exposure asked for", lasting(c.spec.exposure ?? "")],
          ["Owners may postpone", lasting(c.spec.deadline ?? "")],
          ["Gate: soak", lasting(gate.soak ?? "")],
          ["Gate: verified, at least", `${100 * gate.verified} %`],
          ...(gate.installed ? [["Gate: installed, at least", percent(gate.installed)] as Fact] : []),
          ...(gate.effect ? [["Gate: effect", "must be demonstrated"] as Fact] : []),
          ["Ceiling of failures", gate.failed ? percent(gate.failed) : "none"],
          ["Ceiling of relapses", gate.relapsed ? percent(gate.relapsed) : "none"],
          ["Usual failures", usualWords(c)],
          ["Good releases paused, at most", percent(gate.falseStops || 0.05)],
          ["Most at once", c.spec.maxConcurrent ? counted(c.spec.maxConcurrent, "unit") : "any"],
          ["Most within an hour", c.spec.maxPerHour ? counted(c.spec.maxPerHour, "unit") : "any"],
          ["Working hours", hoursWords(hours, c.spec.zone)],
          ["After a failure", retry?.limit ? `${counted(retry.limit, "attempt")} more` : "no further attempt"],
          ["An attempt may stand still for", lasting(c.spec.timeout || "24h")],
          ["Starts not before", <Time key="a" at={c.spec.start} />],
          ["Ends by itself", <Time key="z" at={c.spec.end} />],
          ["Units join", c.spec.dynamic ? `yes, ${(c.joined ?? 0).toLocaleString("en")} so far` : "no"],
          ["Started", <Time key="s" at={c.startedAt} />],
          ["Ended", <Time key="e" at={c.endedAt} />],
        ]}
      />
    </Sheet>
  );
}

type Fact = [string, ReactNode];

function usualWords(c: CampaignDetail): string {
  const u = c.usual;
  if (!u) return c.spec.gate.usual ? `${percent(c.spec.gate.usual)}, declared` : "learned from earlier campaigns";
  if (u.source === "declared") return `${percent(u.share)}, declared`;
  if (u.source === "assumed") return `${percent(u.share)}, assumed: nothing is known yet`;
  return `${percent(u.share)}: ${(u.failed ?? 0).toLocaleString("en")} of ${counted(u.units ?? 0, "unit")} in ${counted(u.campaigns ?? 0, "earlier campaign")}`;
}

function hoursWords(hours: CampaignDetail["spec"]["hours"], zone: string | undefined): string {
  if (!hours?.length) return "always";
  const text = hours.map((h) => `${h.days?.length ? `${h.days.join(", ")} ` : ""}${h.from} to ${h.to}`).join("; ");
  return `${text}, ${zone && zone !== "owner" ? (zone === "unit" ? "where the unit is" : zone) : "where the owner is"}`;
}

/** What holds the tasks, by the name of the refusal; each shows its units in the list below. */
function Held({ campaign: c }: { campaign: CampaignDetail }) {
  const { code } = route.useSearch();
  const navigate = route.useNavigate();
  if (c.state === "draft") return null;
  return (
    <Sheet title="What holds units">
      <Refusals
        refusals={c.refusals}
        shown={code}
        show={(next) =>
          navigate({ search: (s) => ({ ...s, code: next || undefined }), replace: true, resetScroll: false })
        }
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
  "retrying",
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
  "superseded",
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
  {
    key: "attempt",
    title: "Attempt",
    numeric: true,
    cell: (t) => t.attempt || "–",
    sort: (t) => t.attempt ?? 0,
    wide: true,
  },
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
  const { sort, state, wave, unit, code } = route.useSearch();
  const navigate = route.useNavigate();
  const set = (key: string) => (value: string | undefined) =>
    navigate({ search: (s) => ({ ...s, [key]: value }), replace: true, resetScroll: false });
  const tasks = useTasks(c.name, {
    state: state as TaskState | undefined,
    wave: wave === undefined ? undefined : Number(wave),
    unit,
    code,
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
