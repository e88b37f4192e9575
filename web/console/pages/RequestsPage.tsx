import { Button, Group, SegmentedControl, Stack, Text, Textarea } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { type Asked, type Receipt, useAnswer, useErasures, useRequests } from "../api/privacy";
import { Time, useClock } from "../clock";
import { Dialog } from "../parts/Dialog";
import { People } from "../parts/Erase";
import { ErasureProgress } from "../parts/ErasureProgress";
import { ChoiceFilter } from "../parts/Filters";
import { Facts, Page } from "../parts/Page";
import { Empty, reasonOf } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/requests");

const tabs = [
  { value: "open", label: "To answer" },
  { value: "all", label: "All" },
  { value: "people", label: "People" },
  { value: "erasures", label: "Erasures" },
];

/** The GDPR's names are the operators' own: access (15), rectification (16), erasure (17), restriction (18), objection (21). */
const kinds = ["access", "rectification", "erasure", "restriction", "objection"];

/** What people asked for about their data, each with its deadline; and how far erasures are. */
export function RequestsPage() {
  const { tab = "open", person } = route.useSearch();
  const navigate = route.useNavigate();
  return (
    <Page title="Requests">
      <SegmentedControl
        aria-label="What to show"
        mb="sm"
        data={tabs}
        value={tabs.some((t) => t.value === tab) ? tab : "open"}
        onChange={(v) => navigate({ search: { tab: v === "open" ? undefined : v } })}
      />
      {tab === "erasures" && <Erasures />}
      {tab === "people" && (
        <People key={person} email={person} set={(v) => navigate({ search: { tab: "people", person: v } })} />
      )}
      {tab !== "erasures" && tab !== "people" && <Queue state={tab === "all" ? undefined : "open"} />}
    </Page>
  );
}

const waits = (r: Asked) => r.state === "open" || r.state === "working";

function Queue({ state }: { state?: string }) {
  const { kind } = route.useSearch();
  const navigate = route.useNavigate();
  const requests = useRequests({ state, kind });
  const [at, setAt] = useState<Asked>();
  const columns: Column<Asked>[] = [
    { key: "due", title: "Due", cell: (r) => <Due request={r} /> },
    {
      key: "kind",
      title: "Asks for",
      cell: (r) => (
        <>
          {r.kind}
          {r.purpose && ` to ${r.purpose}`}
          <br />
          <span className="soft">{r.unitId || "all their units"}</span>
        </>
      ),
    },
    {
      key: "person",
      title: "Who",
      cell: (r) => <span className="fingerprint">{r.person.email || "erased"}</span>,
    },
    { key: "text", title: "Their words", wide: true, cell: (r) => <span className="clip">{r.text || "–"}</span> },
    { key: "state", title: "State", wide: true, cell: (r) => <State state={r.state} /> },
    {
      key: "open",
      title: "Answer",
      acts: true,
      cell: (r) => (
        <Button
          size="xs"
          variant={r.state === "open" ? "filled" : "default"}
          aria-label={`${r.state === "open" ? "Answer" : "Show"} the request of ${r.person.email || "an erased person"} for ${r.kind}`}
          onClick={() => setAt(r)}
        >
          {r.state === "open" ? "Answer" : "Show"}
        </Button>
      ),
    },
  ];
  return (
    <>
      <Text size="sm" mb="sm">
        Each is to be answered within a month; where that is told in time, two months more (GDPR 12(3)). Restrictions
        and objections hold from the moment they were asked for.
      </Text>
      <div className="filters">
        <ChoiceFilter
          label="Asks for"
          value={kind}
          set={(v) => navigate({ search: (s) => ({ ...s, kind: v }), replace: true, resetScroll: false })}
          options={kinds}
        />
      </div>
      <Table
        cards
        what="requests"
        columns={columns}
        pages={requests}
        rowKey={(r) => r.id}
        onSort={() => {}}
        empty={
          <Empty title={state ? "Nothing waits for an answer" : "Nobody has asked for anything"}>
            What owners ask for stands here at once, soonest due first.
          </Empty>
        }
      />
      {at && <AnswerDialog key={at.id} request={at} close={() => setAt(undefined)} />}
    </>
  );
}

const tones: Record<Asked["state"], string> = {
  open: "degraded",
  working: "acting",
  done: "normal",
  refused: "unknown",
};

function State({ state }: { state: Asked["state"] }) {
  return <span className={`mark ${tones[state]}`}>{state}</span>;
}

/** The deadline, and how long that is. */
function Due({ request: r }: { request: Asked }) {
  const { now } = useClock();
  const days = Math.floor((Date.parse(r.dueAt) - now().getTime()) / (24 * 3600 * 1000));
  return (
    <>
      <time dateTime={r.dueAt} className="time day">
        {r.dueAt.slice(0, 10)}
      </time>
      {waits(r) && (
        <>
          <br />
          {r.late ? (
            <strong className="failed-state">! late by {Math.max(1, -days)} d</strong>
          ) : (
            <span className="soft">{days < 1 ? "within a day" : `${days} d left`}</span>
          )}
        </>
      )}
    </>
  );
}

type Way = "done" | "refused" | "extend";

const ways: { value: Way; label: string }[] = [
  { value: "done", label: "Done" },
  { value: "refused", label: "Refuse" },
  { value: "extend", label: "Extend" },
];

function AnswerDialog({ request: r, close }: { request: Asked; close: () => void }) {
  const answer = useAnswer();
  const [way, setWay] = useState<Way>("done");
  const [text, setText] = useState("");
  const mayExtend = !r.extended && !r.late;
  const limits = r.kind === "restriction" || r.kind === "objection";
  const consequences: Record<Way, string> = {
    done: "What was asked for is done. The person reads your words with their request.",
    refused: limits
      ? `It is not granted, and the ${r.kind} ends as soon as you say so. Say why, and where they can complain.`
      : "It is not done. Say why, and where they can complain.",
    extend: "The deadline moves to three months after they asked. Say why it takes longer; it can be done once.",
  };
  function submit(e: FormEvent) {
    e.preventDefault();
    answer.mutate(
      { id: r.id, state: way === "extend" ? "open" : way, text: text.trim(), extend: way === "extend" || undefined },
      { onSuccess: close },
    );
  }
  return (
    <Dialog
      open
      close={close}
      size="lg"
      title={`${r.kind[0]?.toUpperCase()}${r.kind.slice(1)}: ${r.person.email || "an erased person"}`}
    >
      <Stack gap="sm">
        <Facts
          facts={[
            ["State", <State key="s" state={r.state} />],
            ["Asked", <Time key="a" at={r.at} />],
            ["Due", <Due key="d" request={r} />],
            ["Unit", r.unitId || "all theirs"],
            ...(r.purpose ? [["Against the use for", r.purpose] as [string, string]] : []),
            ["Their language", r.person.locale || "–"],
          ]}
        />
        {r.text && <blockquote className="words">{r.text}</blockquote>}
        {r.kind === "erasure" && r.state === "open" && r.person.email && (
          <Text size="sm">
            Nothing is erased by an answer.{" "}
            <Link to="/requests" search={{ tab: "people", person: r.person.email }}>
              Erase everything about {r.person.email}
            </Link>
          </Text>
        )}
        {r.extended && <Text size="sm">Extended: {r.extended}</Text>}
        {r.erasureId && <Text size="sm">The erasure is {r.erasureId}; its receipt stands under “Erasures”.</Text>}
        {r.answeredAt && (
          <>
            <Text size="sm">
              Answered <Time at={r.answeredAt} /> by {r.answeredBy}:
            </Text>
            <blockquote className="words">{r.answer}</blockquote>
          </>
        )}
        {r.state === "open" && (
          <form onSubmit={submit}>
            <Stack gap="sm">
              <SegmentedControl
                aria-label="Answer"
                data={ways.filter((w) => w.value !== "extend" || mayExtend)}
                value={way}
                onChange={(v) => setWay(v as Way)}
              />
              <Text size="sm" role="status">
                {consequences[way]}
              </Text>
              <Textarea
                data-autofocus
                required
                label="What the person is told"
                autosize
                minRows={3}
                maxRows={12}
                maxLength={4000}
                value={text}
                onChange={(e) => setText(e.currentTarget.value)}
              />
              {answer.error && (
                <Text c="danger" role="alert" fw={600}>
                  {reasonOf(answer.error)}
                </Text>
              )}
              <Group justify="flex-end">
                <Button variant="default" onClick={close}>
                  Back
                </Button>
                <Button
                  type="submit"
                  color={way === "refused" ? "danger" : "accent"}
                  loading={answer.isPending}
                  disabled={!text.trim()}
                >
                  {way === "extend" ? "Extend the deadline" : way === "refused" ? "Refuse it" : "Answer it"}
                </Button>
              </Group>
            </Stack>
          </form>
        )}
      </Stack>
    </Dialog>
  );
}

function Erasures() {
  const erasures = useErasures();
  const [at, setAt] = useState<string>();
  const shown = erasures.rows.find((r) => r.id === at);
  const columns: Column<Receipt>[] = [
    { key: "at", title: "Asked", cell: (r) => <Time at={r.askedAt} /> },
    { key: "by", title: "By", wide: true, cell: (r) => (r.askedBy === "owner" ? "the person" : "an operator") },
    { key: "state", title: "State", cell: (r) => <ErasureProgress receipt={r} /> },
    { key: "backups", title: "Out of backups by", wide: true, cell: (r) => <Time at={r.backupsAt} /> },
    {
      key: "receipt",
      title: "Receipt",
      acts: true,
      cell: (r) => (
        <Button size="xs" variant="default" aria-label={`Receipt ${r.id}`} onClick={() => setAt(r.id)}>
          Receipt
        </Button>
      ),
    },
  ];
  return (
    <>
      <Text size="sm" mb="sm">
        Receipts name nobody. Who was erased holds a secret that proves which one is theirs.
      </Text>
      <Table
        cards
        what="erasures"
        columns={columns}
        pages={erasures}
        rowKey={(r) => r.id}
        onSort={() => {}}
        empty={
          <Empty title="Nobody was erased">An erasure that a person asks for begins at once and stands here.</Empty>
        }
      />
      {shown && <ReceiptDialog receipt={shown} close={() => setAt(undefined)} />}
    </>
  );
}

function ReceiptDialog({ receipt: r, close }: { receipt: Receipt; close: () => void }) {
  return (
    <Dialog open close={close} size="lg" title={`Receipt ${r.id}`}>
      <Stack gap="sm">
        <Facts
          facts={[
            ["State", <ErasureProgress key="s" receipt={r} />],
            ["Asked", <Time key="a" at={r.askedAt} />],
            ["Ended", <Time key="e" at={r.endedAt} />],
            ["Out of every backup by", <Time key="b" at={r.backupsAt} />],
            ["Columns searched at the end", r.searched ? `${r.searched}, nothing left` : "–"],
          ]}
        />
        <table className="table">
          <caption>What went</caption>
          <thead>
            <tr>
              <th scope="col">Place</th>
              <th scope="col" className="numeric">
                Deleted
              </th>
              <th scope="col" className="numeric">
                Blanked
              </th>
            </tr>
          </thead>
          <tbody>
            {r.erased.map((c) => (
              <tr key={c.place}>
                <td className="fingerprint">{c.place}</td>
                <td className="numeric">{c.deleted ?? 0}</td>
                <td className="numeric">{c.blanked ?? 0}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {r.kept.length > 0 && (
          <>
            <Text fw={600}>What is kept without the person</Text>
            <ul className="plain">
              {r.kept.map((k) => (
                <li key={k.what}>
                  {k.what} ({k.rows}): {k.how}. <span className="soft">{k.why}</span>
                </li>
              ))}
            </ul>
          </>
        )}
        <Text size="sm">
          Proof: <code className="fingerprint">{r.proof}</code>
        </Text>
      </Stack>
    </Dialog>
  );
}
