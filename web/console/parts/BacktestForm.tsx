import { Button, Group, NumberInput, Select, Stack, Text, TextInput } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { type DetectorDetail, type DetectorSpec, useStartBacktest } from "../api/detectors";
import { useMay } from "../api/session";
import { Dialog } from "./Dialog";
import { reasonOf } from "./States";

const days = (n: number) => `${n}d`;

const isMovable = (v: unknown) =>
  typeof v === "number" ||
  (typeof v === "string" && /^((\d+(\.\d+)?(ms|[smhdw]))+|[\d.]+\/(year|month|week|day))$/.test(v));

/** Settings of a definition that are numbers, durations or budgets, and so can be moved. */
function movable(d: DetectorDetail): string[] {
  const set = Object.entries(d.spec as DetectorSpec).flatMap(([k, v]) =>
    v !== null && typeof v === "object" && !Array.isArray(v)
      ? Object.entries(v).flatMap(([inner, w]) => (isMovable(w) ? [`${k}.${inner}`] : []))
      : isMovable(v)
        ? [k]
        : [],
  );
  return [...new Set([d.threshold, ...set])].filter((s) => s !== "");
}

const times = { "": "all of it", "30": "the last 30 days", "90": "the last 90 days", "365": "the last year" };

/** Asks what to try, and begins it. */
export function BacktestForm({ detector: d }: { detector: DetectorDetail }) {
  const may = useMay("analyse");
  const start = useStartBacktest();
  const navigate = useNavigate();
  const [open, setOpen] = useState(false);
  const [field, setField] = useState(d.threshold);
  const [period, setPeriod] = useState("");
  const [horizon, setHorizon] = useState<number | string>(30);
  const [costFalse, setCostFalse] = useState<number | string>(1);
  const [costMissed, setCostMissed] = useState<number | string>(10);
  const [cohort, setCohort] = useState("");
  if (!may) return null;

  function begin() {
    const from = period === "" ? undefined : new Date(Date.now() - Number(period) * 86_400_000).toISOString();
    start.mutate(
      {
        name: d.name,
        sweep: { field },
        from,
        cohort: cohort.trim() || undefined,
        horizon: days(Number(horizon) || 30),
        costFalse: Number(costFalse),
        costMissed: Number(costMissed),
      },
      {
        onSuccess: (j) => {
          setOpen(false);
          navigate({ to: "/detectors/$name/backtest", params: { name: d.name }, search: { id: j.id } });
        },
      },
    );
  }

  return (
    <>
      <Button onClick={() => setOpen(true)}>New backtest</Button>
      <Dialog open={open} close={() => setOpen(false)} title="Try it on history">
        <form
          onSubmit={(e) => {
            e.preventDefault();
            begin();
          }}
        >
          <Stack gap="md">
            <Select
              label="Setting to move"
              data={movable(d)}
              value={field}
              allowDeselect={false}
              onChange={(v) => v && setField(v)}
            />
            <Select
              label="History"
              data={Object.entries(times).map(([value, label]) => ({ value, label }))}
              value={period}
              allowDeselect={false}
              onChange={(v) => setPeriod(v ?? "")}
            />
            <TextInput
              label="Cohort"
              description="Its name; empty: all units of the product"
              value={cohort}
              maxLength={200}
              onChange={(e) => setCohort(e.currentTarget.value)}
            />
            <NumberInput
              label="Days before a failure that an alarm may come"
              min={1}
              max={3650}
              value={horizon}
              onChange={setHorizon}
            />
            <Group grow>
              <NumberInput label="A false alarm costs" min={0} value={costFalse} onChange={setCostFalse} />
              <NumberInput label="A missed failure costs" min={0} value={costMissed} onChange={setCostMissed} />
            </Group>
            {start.error && (
              <Text role="alert" c="danger" fw={600}>
                {reasonOf(start.error)}
              </Text>
            )}
            <Group justify="flex-end">
              <Button variant="default" onClick={() => setOpen(false)}>
                Back
              </Button>
              <Button type="submit" loading={start.isPending}>
                Begin
              </Button>
            </Group>
          </Stack>
        </form>
      </Dialog>
    </>
  );
}
