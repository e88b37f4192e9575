import { Anchor, Group, SegmentedControl, Select, Stack, Textarea, TextInput } from "@mantine/core";
import { useState } from "react";
import { type Batch, type Letter, useBatches, useBatchSent, useLetters, useMakeBatch, useReturned } from "../api/words";
import { Time } from "../clock";
import { Confirm } from "../parts/Confirm";
import { Page, Sheet } from "../parts/Page";
import { Empty } from "../parts/States";
import { type Column, Table } from "../parts/Table";

const remembered = "fettle.sender";

/** Letters to owners: those that wait, batches to be printed, what came back. */
export function LettersPage() {
  const [state, setState] = useState<Letter["state"]>("waiting");
  const letters = useLetters(state);
  const batches = useBatches();
  const sent = useBatchSent();
  const returned = useReturned();
  const [day, setDay] = useState(() => new Date().toISOString().slice(0, 10));
  const [why, setWhy] = useState("");

  const ofBatches: Column<Batch>[] = [
    { key: "made", title: "Made", cell: (b) => <Time at={b.createdAt} /> },
    { key: "n", title: "Letters", cell: (b) => String(b.letters) },
    { key: "format", title: "Paper", wide: true, cell: (b) => (b.format === "us10" ? "Letter, #10" : "A4, DIN 5008") },
    { key: "sent", title: "Sent", cell: (b) => <Time at={b.sentAt} /> },
    { key: "back", title: "Came back", wide: true, cell: (b) => String(b.returned ?? 0) },
    {
      key: "files",
      title: "Files",
      acts: true,
      cell: (b) => (
        <Group gap="xs">
          <Anchor href={`/v1/letter-batches/${b.id}/pdf`} target="_blank" rel="noreferrer">
            PDF
          </Anchor>
          <Anchor href={`/v1/letter-batches/${b.id}/zip`} download="letters.zip">
            ZIP
          </Anchor>
          {!b.sentAt && (
            <Confirm
              size="xs"
              variant="outline"
              label="Mark as sent"
              title={`${b.letters} letters were given to the post`}
              confirm={() => sent.mutateAsync({ id: b.id, sentAt: day })}
            >
              <TextInput type="date" label="On" value={day} onChange={(e) => setDay(e.currentTarget.value)} />
            </Confirm>
          )}
        </Group>
      ),
    },
  ];
  const ofLetters: Column<Letter>[] = [
    { key: "to", title: "To", cell: (l) => l.name || l.recipient?.[0] || "–" },
    { key: "unit", title: "Unit", cell: (l) => l.unitId ?? "–" },
    { key: "about", title: "About", wide: true, cell: (l) => l.about ?? "–" },
    { key: "at", title: "Written", wide: true, cell: (l) => <Time at={l.createdAt} /> },
    { key: "why", title: "State", cell: (l) => (l.why ? `${l.state}: ${l.why}` : l.state) },
    {
      key: "change",
      title: "Change",
      acts: true,
      cell: (l) =>
        l.state === "sent" && (
          <Confirm
            size="xs"
            variant="outline"
            label="Came back"
            title={`The letter to ${l.name} came back`}
            confirm={() => returned.mutateAsync({ id: l.id, why })}
          >
            <TextInput
              label="Why"
              placeholder="moved away"
              value={why}
              onChange={(e) => setWhy(e.currentTarget.value)}
            />
          </Confirm>
        ),
    },
  ];
  return (
    <Page title="Letters" actions={<MakeBatch />}>
      <Sheet title="Batches">
        <Table
          cards
          what="batches"
          columns={ofBatches}
          pages={batches}
          rowKey={(b) => b.id}
          onSort={() => {}}
          empty={<Empty title="No batch yet">Letters wait below until you take them into one.</Empty>}
        />
      </Sheet>
      <Sheet title="Letters">
        <Select
          label="State"
          maw={240}
          mb="sm"
          allowDeselect={false}
          value={state}
          onChange={(v) => setState(v as Letter["state"])}
          data={["waiting", "batched", "sent", "returned", "unfit", "stopped"]}
        />
        <Table
          cards
          what="letters"
          columns={ofLetters}
          pages={letters}
          rowKey={(l) => l.id}
          onSort={() => {}}
          empty={
            <Empty title={`No letter is ${state}`}>Ladders write them for owners whom nothing else reached.</Empty>
          }
        />
      </Sheet>
    </Page>
  );
}

function MakeBatch() {
  const make = useMakeBatch();
  const [format, setFormat] = useState<"din5008" | "us10">("din5008");
  const [sender, setSender] = useState(() => localStorage.getItem(remembered) ?? "");
  return (
    <Confirm
      label="New batch"
      title="Take letters that wait into a batch"
      confirm={() => {
        localStorage.setItem(remembered, sender);
        return make.mutateAsync({
          format,
          sender: sender
            .split("\n")
            .map((l) => l.trim())
            .filter(Boolean),
        });
      }}
    >
      <Stack>
        <SegmentedControl
          aria-label="Paper"
          value={format}
          orientation="vertical"
          onChange={(v) => setFormat(v as "din5008" | "us10")}
          data={[
            { value: "din5008", label: "A4, window (DIN 5008)" },
            { value: "us10", label: "US Letter, #10 window" },
          ]}
        />
        <Textarea
          label="Your address"
          description="A line each: name, street, town."
          autosize
          minRows={3}
          value={sender}
          onChange={(e) => setSender(e.currentTarget.value)}
        />
      </Stack>
    </Confirm>
  );
}
