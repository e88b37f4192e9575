import { Button, Group, SegmentedControl, Select, Stack, Text, Textarea } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { counted, lasting, measure, span } from "../../chart/measure";
import type { Range } from "../../chart/SignalChart";
import { type Assessment, type FindingDetail, useChangeFinding, useFinding } from "../api/findings";
import { useProduct } from "../api/fleet";
import { useMay } from "../api/session";
import { Time, useClock } from "../clock";
import { FindingOf } from "../parts/FindingOf";
import { AmongPeers, Foreseen } from "../parts/Foresight";
import { FindingMark, SeverityMark } from "../parts/Mark";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Loading, reasonOf, Trouble } from "../parts/States";
import { RangeBar, UnitCharts } from "../parts/UnitCharts";

const route = getRouteApi("/shell/findings/$id");
const hour = 3_600_000;

export function FindingPage() {
  const { id } = route.useParams();
  const finding = useFinding(id);
  if (finding.error)
    return <PageTrouble what="Loading the finding" error={finding.error} retry={() => finding.refetch()} />;
  if (!finding.data) return <Loading what="the finding" lines={10} />;
  return <Found finding={finding.data} />;
}

function Found({ finding: f }: { finding: FindingDetail }) {
  const { now } = useClock();
  const may = useMay("findings");
  return (
    <Page
      title={f.title}
      above={
        <>
          <Link to="/findings">Findings</Link>
          <FindingOf finding={f} />
        </>
      }
      actions={
        may &&
        f.unitId && (
          <Link to="/cohorts/new" search={{ finding: f.id }} className="act">
            Who else?
          </Link>
        )
      }
    >
      <div className="verdict">
        <SeverityMark severity={f.severity} />
        <FindingMark finding={f} now={now()} />
        {f.late && <span className="mark unknown">opened by late data</span>}
        <span>{f.why}</span>
      </div>
      {f.rule.type === "trend" && <Foreseen finding={f} />}
      {f.rule.type === "peers" && <AmongPeers finding={f} />}
      {f.unitId && <Around key={f.id} finding={f} />}
      <div className="pair">
        <Sheet title="Evidence">
          <Facts
            facts={[
              [f.unitId ? "Unit" : "Units", <FindingOf key="u" finding={f} />],
              ["Onset", <Time key="o" at={f.onset} />],
              ["Rule fulfilled", <Time key="p" at={f.openedAt} />],
              ["Seen here", <Time key="s" at={f.seenAt} />],
              ["Last outside", <Time key="l" at={f.lastAt} />],
              f.unitId
                ? [
                    peakNames[f.rule.type] ?? "Furthest value",
                    f.signal || f.rule.type !== "silence" ? measure(f.peak, f.unit) : span(f.peak),
                  ]
                : ["Units silent at most", String(f.peak)],
              ...(f.cleared ? ([["Cleared", <Time key="c" at={f.cleared} />]] as [string, React.ReactNode][]) : []),
              ...(f.clearWhy ? ([["Cleared because", f.clearWhy]] as [string, string][]) : []),
            ]}
          />
        </Sheet>
        <Rule finding={f} />
        {may && <Handling finding={f} />}
        <Comments finding={f} may={may} />
      </div>
    </Page>
  );
}

/** The unit's signals around the onset. */
function Around({ finding: f }: { finding: FindingDetail }) {
  const { now } = useClock();
  const product = useProduct(f.product);
  const start = useMemo<Range>(() => {
    const from = Date.parse(f.onset);
    const to = f.state === "open" ? Math.min(Date.parse(f.lastAt), now().getTime()) : Date.parse(f.cleared ?? f.lastAt);
    const air = Math.max(12 * hour, (to - from) * 0.5);
    return { from: new Date(from - air), to: new Date(to + air) };
  }, [f.onset, f.lastAt, f.cleared, f.state, now]);
  const [range, show] = useState<Range>(start);
  const all = product.data?.signals ?? [];
  // The signal that left its band first, then what its context is made of.
  const signals = [...all.filter((s) => s.name === f.signal), ...all.filter((s) => s.name !== f.signal)];
  const findings = useMemo(() => [f], [f]);
  return (
    <Sheet
      title="Around the onset"
      actions={
        <Button size="compact-sm" variant="default" onClick={() => show(start)}>
          Back to the onset
        </Button>
      }
    >
      <RangeBar
        range={range}
        show={show}
        choose={(key) => {
          const days = { "6h": 0.25, "1d": 1, "7d": 7, "30d": 30, "90d": 90, "1y": 365 }[key] ?? 7;
          const middle = Date.parse(f.onset);
          show({ from: new Date(middle - days * 12 * hour), to: new Date(middle + days * 12 * hour) });
        }}
      />
      {product.isPending && <Loading what="signals" lines={8} />}
      {product.error && <Trouble what="Loading the product" error={product.error} retry={() => product.refetch()} />}
      <UnitCharts unitId={f.unitId} signals={signals} findings={findings} range={range} onZoom={show} />
    </Sheet>
  );
}

/** What the detector declares, by its type. */
function factsOf({ rule: r, unit }: FindingDetail): [string, React.ReactNode][] {
  const context = (when?: string): [string, React.ReactNode] => [
    "Compared while",
    when ? <code key="w">{when}</code> : "always",
  ];
  if (r.trend)
    return [
      ["Warns ahead", lasting(r.trend.horizon)],
      ["By", r.trend.by === "earliest" ? "the earliest time, 80 % interval" : "the median time"],
      ["Its own cycle", r.trend.cycle || "daily"],
      context(r.trend.when),
      ["Purpose", r.purpose],
    ];
  if (r.peers)
    return [
      ["Alike in", r.peers.by?.join(", ") || "the product"],
      ["Compared every", lasting(r.peers.period || "1d")],
      context(r.peers.when),
      ["Fewest peers", counted(r.peers.minimum || 8, "unit")],
      ["False alarms", `at most ${r.peers.budget || "0.1/year"} a unit`],
      ...(r.peers.matters ? ([["Matters from", measure(r.peers.matters, unit)]] as [string, React.ReactNode][]) : []),
      ["Purpose", r.purpose],
    ];
  if (r.type === "silence")
    return [
      ["Silent after", `${r.factor || 2} times the learned interval, and ${lasting(r.hold || "10m")}`],
      ["Not sooner than", lasting(r.minimum || "–")],
      ["Not later than", lasting(r.maximum || "7d")],
    ];
  return [
    ["Tolerance", r.tolerance ?? "–"],
    ["Held for", lasting(r.hold || "at once")],
    ["Hysteresis", r.hysteresis ? measure(r.hysteresis, unit) : "none"],
    ["Clears after", lasting(r.clear || "at once")],
    ["Exposure", <code key="x">{r.exposure || "always"}</code>],
    ["Purpose", r.purpose],
  ];
}

/** What "peak" is called, by the type of the rule. */
const peakNames: Partial<Record<string, string>> = {
  trend: "Nearest to the limit",
  peers: "Furthest off",
  anomaly: "Highest score",
  silence: "Longest",
};

function Rule({ finding: f }: { finding: FindingDetail }) {
  const r = f.rule;
  return (
    <Sheet title="Detector">
      <p>
        <strong>
          {f.detector.name} version {f.detector.version}
        </strong>
        {r.description && `: ${r.description}`}
      </p>
      <Facts facts={factsOf(f)} />
      {f.bands.length > 0 && (
        <ul className="plain">
          {f.bands.map((b) => (
            <li key={`${b.when}${b.min}${b.max}`}>
              {b.min !== undefined && `at least ${measure(b.min, f.unit)} `}
              {b.max !== undefined && `at most ${measure(b.max, f.unit)} `}
              {b.when ? (
                <>
                  while <code>{b.when}</code>
                </>
              ) : (
                "always"
              )}
            </li>
          ))}
        </ul>
      )}
    </Sheet>
  );
}

const shelves = [
  { value: "4", label: "4 hours" },
  { value: "24", label: "1 day" },
  { value: "168", label: "1 week" },
  { value: "720", label: "30 days" },
];

function Handling({ finding: f }: { finding: FindingDetail }) {
  const { now } = useClock();
  const change = useChangeFinding(f.id);
  const shelved = f.shelvedUntil !== undefined && new Date(f.shelvedUntil) > now();
  return (
    <Sheet title="Handling">
      <Stack gap="md">
        {change.error && (
          <Text role="alert" c="danger" fw={600}>
            {reasonOf(change.error)}
          </Text>
        )}
        <Group justify="space-between">
          {f.ackBy ? (
            <span>
              Acknowledged by {f.ackBy}, <Time at={f.ackAt} />
            </span>
          ) : (
            <span>Nobody has acknowledged it.</span>
          )}
          <Button
            size="sm"
            variant={f.ackBy ? "default" : "filled"}
            loading={change.isPending}
            onClick={() => change.mutate({ do: f.ackBy ? "unack" : "ack" })}
          >
            {f.ackBy ? "Take back" : "Acknowledge"}
          </Button>
        </Group>
        <Group justify="space-between" align="flex-end">
          {shelved ? (
            <>
              <span>
                Out of sight until <Time at={f.shelvedUntil} />
              </span>
              <Button size="sm" variant="default" onClick={() => change.mutate({ do: "shelve" })}>
                Back in sight
              </Button>
            </>
          ) : (
            <Select
              label="Shelve for"
              placeholder="choose how long"
              data={shelves}
              value={null}
              onChange={(h) =>
                h && change.mutate({ do: "shelve", until: new Date(now().getTime() + Number(h) * hour).toISOString() })
              }
            />
          )}
        </Group>
        <div>
          <Text size="sm" fw={600} mb={4} id="assessment">
            What was found at the unit
          </Text>
          <SegmentedControl
            aria-labelledby="assessment"
            value={f.assessment ?? ""}
            onChange={(a) => change.mutate({ do: "assess", assessment: a as Assessment })}
            data={[
              { value: "", label: "not said" },
              { value: "confirmed", label: "confirmed" },
              { value: "no fault found", label: "no fault found" },
            ]}
          />
          {f.assessedBy && <Text size="sm">Said by {f.assessedBy}</Text>}
        </div>
      </Stack>
    </Sheet>
  );
}

function Comments({ finding: f, may }: { finding: FindingDetail; may: boolean }) {
  const change = useChangeFinding(f.id);
  const [text, setText] = useState("");
  return (
    <Sheet title="Comments">
      {f.comments.length === 0 && <p className="soft">None yet.</p>}
      <ul className="plain">
        {f.comments.map((c) => (
          <li key={c.id} className="comment">
            <span className="soft">
              {c.by}, <Time at={c.at} />
            </span>
            <p>{c.text}</p>
          </li>
        ))}
      </ul>
      {may && (
        <form
          onSubmit={(e) => {
            e.preventDefault();
            change.mutate({ do: "comment", text }, { onSuccess: () => setText("") });
          }}
        >
          <Textarea
            label="Add a comment"
            autosize
            minRows={2}
            maxLength={10_000}
            value={text}
            error={change.error ? reasonOf(change.error) : undefined}
            onChange={(e) => setText(e.currentTarget.value)}
          />
          <Button type="submit" mt="sm" size="sm" disabled={text.trim() === ""} loading={change.isPending}>
            Comment
          </Button>
        </form>
      )}
    </Sheet>
  );
}
