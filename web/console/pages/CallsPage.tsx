import { Button, Group, Kbd, Select, Stack, Textarea, TextInput } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { Problem } from "../../client/problem";
import { type Call, type Outcome, useCalls, useEndCall, useNextCall, useReleaseCall, useTakeCall } from "../api/words";
import { Time } from "../clock";
import { Facts, Page, Sheet } from "../parts/Page";
import { Empty, reasonOf } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const outcomes: { value: Outcome; label: string; key: string }[] = [
  { value: "reached", label: "Reached, understood", key: "1" },
  { value: "no answer", label: "No answer", key: "2" },
  { value: "voicemail", label: "Voicemail", key: "3" },
  { value: "wrong number", label: "Wrong number", key: "4" },
  { value: "refused", label: "Does not want to talk", key: "5" },
  { value: "call back", label: "Call back at …", key: "6" },
];

/** The list that agents call owners by. N takes the next; 1 to 6 choose how it ended. */
export function CallsPage() {
  const calls = useCalls();
  const next = useNextCall();
  const take = useTakeCall();
  const [at, setAt] = useState<Call | null>(null);
  const nobody = next.error instanceof Problem && next.error.status === 404;
  const begin = () => next.mutate(undefined, { onSuccess: setAt });

  const columns: Column<Call>[] = [
    { key: "due", title: "Due", cell: (c) => <Time at={c.dueAt} /> },
    { key: "there", title: "There", wide: true, cell: (c) => c.localTime ?? "" },
    { key: "name", title: "Owner", cell: (c) => <Owner of={c} /> },
    { key: "language", title: "Language", wide: true, cell: (c) => c.language },
    { key: "unit", title: "Unit", wide: true, cell: (c) => c.unitId ?? "" },
    { key: "tries", title: "Tries", cell: (c) => (c.outcome ? `${c.tries}, ${c.outcome}` : String(c.tries)) },
    {
      key: "take",
      title: "Take",
      acts: true,
      cell: (c) => (
        <Button size="xs" variant="outline" onClick={() => take.mutate(c.id, { onSuccess: setAt })}>
          Take
        </Button>
      ),
    },
  ];

  // biome-ignore lint/correctness/useExhaustiveDependencies: the newest begin is taken with at
  useEffect(() => {
    const press = (e: KeyboardEvent) => {
      const typing = e.target instanceof HTMLElement && e.target.closest("input, textarea, select, [role=listbox]");
      if (!typing && !at && e.key.toLowerCase() === "n" && !e.ctrlKey && !e.metaKey && !e.altKey) begin();
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, [at]);

  return (
    <Page
      title="Calls"
      actions={
        !at && (
          <Button loading={next.isPending} onClick={begin}>
            Next call
          </Button>
        )
      }
    >
      <p role="status">
        {nobody && "Nobody is to be called now: nothing is due, or it is night where the owners are."}
        {next.error && !nobody && <span className="wrong">{reasonOf(next.error)}</span>}
        {take.error && <span className="wrong">{reasonOf(take.error)}</span>}
      </p>
      {at && <Working key={at.id} call={at} done={() => setAt(null)} />}
      <p className="soft">
        <Kbd>N</Kbd> takes the next call. A call is yours for 20 minutes; no other agent can take it meanwhile.
      </p>
      <Table
        cards
        what="calls"
        columns={columns}
        pages={calls}
        rowKey={(c) => c.id}
        onSort={() => {}}
        empty={<Empty title="Nobody is to be called">Ladders put owners here whom mail and text did not reach.</Empty>}
      />
    </Page>
  );
}

function Owner({ of }: { of: Call }) {
  return (
    <>
      {of.name}
      {of.lockedBy && <div className="soft">with {of.lockedBy}</div>}
    </>
  );
}

function Working({ call, done }: { call: Call; done: () => void }) {
  const end = useEndCall();
  const release = useReleaseCall();
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [note, setNote] = useState("");
  const [back, setBack] = useState("");
  const top = useRef<HTMLDivElement>(null);
  const error = end.error ?? release.error;

  useEffect(() => {
    top.current?.focus();
    const press = (e: KeyboardEvent) => {
      const typing = e.target instanceof HTMLElement && e.target.closest("input, textarea, select");
      const chosen = outcomes.find((o) => o.key === e.key);
      if (!typing && chosen && !e.ctrlKey && !e.metaKey && !e.altKey) setOutcome(chosen.value);
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, []);

  return (
    <div ref={top} tabIndex={-1}>
      <Sheet title={`Calling ${call.name}`}>
        <Facts
          facts={[
            [
              "Phone",
              <a key="p" href={`tel:${call.phone}`}>
                {call.phone}
              </a>,
            ],
            ["There it is", call.localTime ?? "–"],
            ["Language", call.language],
            ["Unit", call.unitId ?? "–"],
            ["Tried", `${call.tries} times`],
          ]}
        />
        <pre className="words script" lang={call.language}>
          {call.script}
        </pre>
        {(call.notes ?? []).map((n) => (
          <p key={n.at} className="soft">
            <Time at={n.at} /> {n.agent}: {n.outcome}. {n.text}
          </p>
        ))}
        <form
          onSubmit={(e) => {
            e.preventDefault();
            if (!outcome) return;
            end.mutate(
              {
                id: call.id,
                outcome,
                note: note || undefined,
                at: outcome === "call back" && back ? new Date(back).toISOString() : undefined,
              },
              { onSuccess: done },
            );
          }}
        >
          <Stack>
            <Select
              label="How it ended"
              placeholder="1 to 6"
              data={outcomes.map((o) => ({ value: o.value, label: `${o.key} ${o.label}` }))}
              value={outcome}
              onChange={(v) => setOutcome(v as Outcome | null)}
            />
            {outcome === "call back" && (
              <TextInput
                type="datetime-local"
                required
                label="Call back at (your time)"
                value={back}
                onChange={(e) => setBack(e.currentTarget.value)}
              />
            )}
            <Textarea
              label="Note"
              description="Kept encrypted, and gone when the owner is erased."
              autosize
              minRows={2}
              value={note}
              onChange={(e) => setNote(e.currentTarget.value)}
            />
            <Group>
              <Button type="submit" loading={end.isPending} disabled={!outcome}>
                Done
              </Button>
              <Button variant="outline" onClick={() => release.mutate(call.id, { onSuccess: done })}>
                Put it back
              </Button>
            </Group>
          </Stack>
        </form>
        <p role="status">{error && <span className="wrong">{reasonOf(error)}</span>}</p>
      </Sheet>
    </div>
  );
}
