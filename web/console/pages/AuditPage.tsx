import { Button, CopyButton, Group, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { getRouteApi } from "@tanstack/react-router";
import { useState } from "react";
import { counted } from "../../chart/measure";
import { type AuditEntry, trailFile, useHead, useTrail, useVerify, type Verdict } from "../api/privacy";
import { Time } from "../clock";
import { ChoiceFilter, TextFilter } from "../parts/Filters";
import { Page, Sheet } from "../parts/Page";
import { Empty, Loading, Trouble } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const route = getRouteApi("/shell/audit");

const kinds = [
  { value: "change", label: "changes" },
  { value: "look", label: "looks at personal data" },
  { value: "denied", label: "refused for lack of rights" },
];

const parties: Record<string, string> = {
  owner: "an owner",
  server: "the service itself",
  command: "the command line",
  nobody: "nobody signed in",
};

const columns: Column<AuditEntry>[] = [
  {
    key: "at",
    title: "When",
    cell: (e) => (
      <>
        <Time at={e.at} />
        <br />
        <span className="soft">#{e.id}</span>
      </>
    ),
  },
  {
    key: "actor",
    title: "Who",
    cell: (e) => (
      <>
        <span className="fingerprint">{e.actorName || parties[e.actor.party] || e.actor.id || e.actor.party}</span>
        {(e.actor.role || e.actor.via === "token") && (
          <>
            <br />
            <span className="soft">
              {[e.actor.role, e.actor.via === "token" && "by token"].filter(Boolean).join(", ")}
            </span>
          </>
        )}
        {e.actor.party === "owner" && e.actor.id && (
          <>
            <br />
            <span className="fingerprint">{e.actor.id}</span>
          </>
        )}
      </>
    ),
  },
  {
    key: "what",
    title: "What",
    cell: (e) => (
      <>
        {e.kind === "look" ? "Looked: " : ""}
        {e.summary || e.operation}
        {e.data && ` (${e.data})`}
        {Boolean(e.count) && `, ${e.count} times more`}
        {e.outcome !== "done" && (
          <>
            {" "}
            <strong className="failed-state">
              ! {e.outcome}
              {e.status ? ` (${e.status})` : ""}
            </strong>
          </>
        )}
        {e.object && (
          <>
            <br />
            <span className="fingerprint">{e.object}</span>
          </>
        )}
        {e.changed && e.changed.length > 0 && (
          <>
            <br />
            <span className="soft">{e.changed.join(", ")}</span>
          </>
        )}
      </>
    ),
  },
  {
    key: "about",
    title: "Whose data",
    wide: true,
    cell: (e) => <About people={e.about} />,
  },
  { key: "from", title: "From", wide: true, cell: (e) => <span className="fingerprint">{e.from}</span> },
];

/** Whose data an entry is about: a look at a list may be about hundreds. */
function About({ people }: { people: string[] }) {
  const all = people.join(", ");
  if (people.length <= 3) return <span className="fingerprint">{all}</span>;
  return (
    <details>
      <summary>{counted(people.length, "person", "people")}</summary>
      <span className="fingerprint">{all}</span>
    </details>
  );
}

/** Who changed what, and who looked at whose data; and the proof that nothing of it was taken out. */
export function AuditPage() {
  const filter = route.useSearch();
  const navigate = route.useNavigate();
  const trail = useTrail(filter);
  const set = (key: string) => (v: string | undefined) =>
    navigate({ search: (s) => ({ ...s, [key]: v }), replace: true, resetScroll: false });
  const filtered = Object.keys(filter).length > 0;
  return (
    <Page
      title="Audit trail"
      actions={
        <>
          <Button size="sm" variant="default" component="a" href={trailFile(filter, "jsonl")} download>
            Export as JSON lines
          </Button>
          <Button size="sm" variant="default" component="a" href={trailFile(filter, "csv")} download>
            Export as CSV
          </Button>
        </>
      }
    >
      <Proof />
      <div className="filters">
        <ChoiceFilter label="Kind" value={filter.kind} set={set("kind")} options={kinds} />
        <TextFilter label="Who" value={filter.actor} set={set("actor")} placeholder="address of an operator" />
        <TextFilter label="Whose data" value={filter.person} set={set("person")} placeholder="address of an owner" />
        <TextFilter label="Object" value={filter.object} set={set("object")} placeholder="units/WC-000010" />
        <TextFilter label="Operation" value={filter.operation} set={set("operation")} placeholder="getUnit" />
        <DayFilter label="From (UTC)" value={filter.from} set={set("from")} />
        <DayFilter label="To, included (UTC)" value={filter.to} set={set("to")} />
      </div>
      <Table
        what="entries"
        columns={columns}
        pages={trail}
        rowKey={(e) => e.id}
        onSort={() => {}}
        empty={
          <Empty title={filtered ? "No entry matches" : "Nothing is entered yet"}>
            {filtered
              ? "Widen the filter above. A person who was erased is found by no address any more."
              : "Every change, every look at personal data and every refusal will stand here."}
          </Empty>
        }
      />
    </Page>
  );
}

type DayProps = { label: string; value: string | undefined; set: (v: string | undefined) => void };

function DayFilter({ label, value, set }: DayProps) {
  return (
    <TextInput
      type="date"
      size="sm"
      label={label}
      value={value ?? ""}
      onChange={(e) => set(e.currentTarget.value || undefined)}
    />
  );
}

function Proof() {
  const head = useHead();
  const verify = useVerify();
  const [kept, setKept] = useState("");
  const value = head.data && `${head.data.seq}:${head.data.hash}`;
  return (
    <Sheet title="Is it whole?">
      <Stack gap="sm">
        <Text size="sm">
          Each entry holds the hash of the one before. Keep the head elsewhere: with it, a trail that was cut off or
          written anew is found out.
        </Text>
        {head.isPending && <Loading what="the head" lines={1} />}
        {head.error && <Trouble what="Loading the head" error={head.error} retry={() => head.refetch()} />}
        {value && (
          <Group gap="xs">
            <span>
              Head: <code className="fingerprint">{value}</code>
            </span>
            <CopyButton value={value}>
              {({ copied, copy }) => (
                <Button size="compact-sm" variant="default" onClick={copy}>
                  {copied ? "Copied" : "Copy the head"}
                </Button>
              )}
            </CopyButton>
          </Group>
        )}
        <Textarea
          label="Heads that you kept, one a line (need not be given)"
          placeholder="NUMBER:HASH"
          autosize
          minRows={1}
          maxRows={6}
          value={kept}
          onChange={(e) => setKept(e.currentTarget.value)}
        />
        <Group>
          <Button
            loading={verify.isPending}
            onClick={() => verify.mutate(kept.split(/\s+/).filter(Boolean), { onSuccess: () => head.refetch() })}
          >
            Verify the trail
          </Button>
        </Group>
        <div role="status">
          {verify.isPending && "Reading all of it…"}
          {verify.data && !verify.isPending && <Answer verdict={verify.data} />}
        </div>
        {verify.error && <Trouble what="Verifying the trail" error={verify.error} />}
      </Stack>
    </Sheet>
  );
}

function Answer({ verdict: v }: { verdict: Verdict }) {
  return (
    <>
      <p>
        <span className={`mark ${v.whole ? "normal" : "failed"}`}>{v.whole ? "whole" : "! broken"}</span>{" "}
        {v.whole ? (
          <>
            Every entry up to <strong>#{v.head.split(":")[0]}</strong> is as it was written.
          </>
        ) : (
          <>
            {Boolean(v.broken) && <strong>At entry #{v.broken}: </strong>}
            {v.why}.
          </>
        )}{" "}
        <span className="soft">
          Verified <Time at={v.at} />.
        </span>
      </p>
      {!v.whole && (
        <p>
          The last entry that is right: <code className="fingerprint">{v.head}</code>. Compare with a backup, and with
          heads that were kept elsewhere.
        </p>
      )}
    </>
  );
}
