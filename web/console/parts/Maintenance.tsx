import { Button, Select, Stack, Textarea, TextInput } from "@mantine/core";
import { useState } from "react";
import { useMay } from "../api/session";
import { type MaintenanceEntry, type MaintenanceRecord, useMaintenance, useRecordMaintenance } from "../api/wear";
import { Time, useClock } from "../clock";
import { Confirm } from "./Confirm";
import { Sheet } from "./Page";
import { Empty, Trouble } from "./States";

const kinds: { value: string; label: string }[] = [
  { value: "replacement/failed", label: "Replaced, because it failed" },
  { value: "replacement/preventive", label: "Replaced in time" },
  { value: "failure/", label: "Failed, nothing put in yet" },
  { value: "maintenance/", label: "Put right or serviced" },
  { value: "installation/", label: "Put in" },
];

const said = (r: MaintenanceRecord) =>
  kinds.find((k) => k.value === `${r.kind}/${r.reason ?? ""}`)?.label.toLowerCase() ?? r.kind;

/** What failed on a unit and what was done to it. */
export function Maintenance({ unitId }: { unitId: string }) {
  const records = useMaintenance(unitId);
  const { remove } = useRecordMaintenance(unitId);
  const may = useMay("findings");
  return (
    <Sheet title="Maintenance" actions={may && <Record unitId={unitId} />}>
      {records.error && <Trouble what="Loading maintenance records" error={records.error} />}
      {!records.isPending && !records.error && records.rows.length === 0 && (
        <Empty title="Nothing on record">
          Record what fails and what is replaced: of it is told how long parts last, and detectors start anew.
        </Empty>
      )}
      <ul className="plain">
        {records.rows.map((r) => (
          <li key={r.id}>
            <span className="spread">
              <span>
                <strong>{r.part || "whole unit"}</strong> {said(r)}
              </span>
              {may && (
                <Confirm
                  size="xs"
                  variant="subtle"
                  label="Take back"
                  title="Take this record back?"
                  confirm={() => remove.mutateAsync(r.id)}
                >
                  It counts no longer for how long parts last.
                </Confirm>
              )}
            </span>
            <span className="soft">
              <Time at={r.at} /> by {r.by}
              {[r.batch && `batch ${r.batch}`, r.serial && `serial ${r.serial}`, r.version && `version ${r.version}`]
                .filter(Boolean)
                .map((t) => `, ${t}`)
                .join("")}
              {r.note && ` – ${r.note}`}
            </span>
          </li>
        ))}
      </ul>
      {records.hasNextPage && (
        <Button variant="default" size="xs" onClick={() => records.fetchNextPage()}>
          Earlier ones
        </Button>
      )}
    </Sheet>
  );
}

function Record({ unitId }: { unitId: string }) {
  const { add } = useRecordMaintenance(unitId);
  const { now } = useClock();
  const [what, setWhat] = useState("replacement/failed");
  const [at, setAt] = useState<string>();
  const [e, setEntry] = useState<Omit<MaintenanceEntry, "unitId" | "at" | "kind">>({});
  const text = (key: keyof typeof e) => (ev: { currentTarget: { value: string } }) => {
    const value = ev.currentTarget.value;
    setEntry((before) => ({ ...before, [key]: value || undefined }));
  };
  const day = at ?? now().toISOString().slice(0, 16);
  const record = () => {
    const [kind, reason] = what.split("/");
    return add.mutateAsync({
      ...e,
      unitId,
      kind: kind as MaintenanceEntry["kind"],
      reason: (reason || undefined) as MaintenanceEntry["reason"],
      at: new Date(`${day}:00Z`).toISOString(),
    });
  };
  return (
    <Confirm size="xs" variant="default" label="Record" title="What failed, or was done?" confirm={record}>
      <Stack gap="sm">
        <TextInput
          label="Part"
          description="As in other records, so that they count together. Empty: the unit as a whole."
          value={e.part ?? ""}
          onChange={text("part")}
        />
        <Select
          label="What happened"
          data={kinds}
          value={what}
          allowDeselect={false}
          onChange={(v) => setWhat(v ?? what)}
        />
        <TextInput
          label="When (UTC)"
          type="datetime-local"
          value={day}
          onChange={(ev) => setAt(ev.currentTarget.value)}
        />
        {what.startsWith("failure") || what.startsWith("maintenance") ? null : (
          <>
            <TextInput label="Batch of the part put in" value={e.batch ?? ""} onChange={text("batch")} />
            <TextInput label="Its serial number" value={e.serial ?? ""} onChange={text("serial")} />
            <TextInput label="Its version" value={e.version ?? ""} onChange={text("version")} />
          </>
        )}
        <Textarea label="Note" autosize value={e.note ?? ""} onChange={text("note")} />
      </Stack>
    </Confirm>
  );
}
