import { Button, Table as Plain, Select } from "@mantine/core";
import { useState } from "react";
import { useFeeds, useTipEffect, useTipNames, useTipPreview, useTryTip } from "../api/tips";
import { Page, Sheet } from "../parts/Page";
import { Loading, Trouble } from "../parts/States";

/** What tips say, who would have got them, what they did, and the feeds they look at. */
export function TipsPage() {
  const names = useTipNames();
  const [name, setName] = useState("");
  const chosen = name || (names.data?.[0] ?? "");
  return (
    <Page title="Tips">
      <p>
        A tip says what helps at the right moment, on the unit’s display, in the portal or by push. Tips are declared in
        files of kind Tip.
      </p>
      {names.isPending && <Loading what="tips" />}
      {names.error && <Trouble what="The list of tips" error={names.error} retry={() => names.refetch()} />}
      {names.data?.length === 0 && <p>There is no tip yet: fettle apply -f FILE.</p>}
      {chosen !== "" && (
        <>
          <Select
            label="Tip"
            maw={360}
            mb="md"
            searchable
            allowDeselect={false}
            data={names.data ?? []}
            value={chosen}
            onChange={(v) => setName(v ?? "")}
          />
          <Words name={chosen} />
          <Would key={chosen} name={chosen} />
          <Effect name={chosen} />
        </>
      )}
      <Feeds />
    </Page>
  );
}

function Words({ name }: { name: string }) {
  const preview = useTipPreview(name);
  return (
    <Sheet title="What it says">
      {preview.isPending && <Loading what="the preview" />}
      {preview.error && <Trouble what="The preview" error={preview.error} retry={() => preview.refetch()} />}
      <Grid
        head={["Language", "Title", "Text", "Button"]}
        rows={(preview.data ?? []).map((p) => [p.language, p.title, p.text, p.action ?? "none"])}
      />
    </Sheet>
  );
}

function Would({ name }: { name: string }) {
  const trial = useTryTip();
  const t = trial.data;
  const few = "fewer than 10";
  return (
    <Sheet title="Who would have got it last week">
      <Button variant="default" loading={trial.isPending} onClick={() => trial.mutate(name)}>
        Look
      </Button>
      {trial.error && <Trouble what="The trial" error={trial.error} retry={() => trial.mutate(name)} />}
      {t && (
        <>
          <p>
            {t.few ? few : t.would} of {t.units === 0 ? few : t.units} units whose owners permit it.
            {t.unknown && ` Nothing was heard of ${t.unknown.join(", ")}.`}
          </p>
          <Grid head={["Day", "Units"]} rows={t.days.map((d) => [d.day, d.few ? few : d.given])} />
          <p>{t.approach}</p>
        </>
      )}
    </Sheet>
  );
}

const percent = (v?: number) => (v === undefined ? "–" : `${Math.round(v * 100)} %`);

function Effect({ name }: { name: string }) {
  const effect = useTipEffect(name);
  const e = effect.data;
  const count = (n: number) => (n === 0 ? "fewer than 10" : n);
  return (
    <Sheet title="What it did">
      {effect.isPending && <Loading what="the effect" />}
      {effect.error && <Trouble what="The effect" error={effect.error} retry={() => effect.refetch()} />}
      {e && (
        <>
          <Grid
            head={["", "Eligible units", "Shown", "Closed", "Acted", "Used"]}
            rows={[
              [
                "Given",
                count(e.given.units),
                percent(e.given.shown),
                percent(e.given.dismissed),
                percent(e.given.acted),
                percent(e.given.used),
              ],
              ["Held back", count(e.held.units), "–", "–", "–", percent(e.held.used)],
            ]}
          />
          <p>
            {e.difference === undefined
              ? "No comparison: there is no feature to measure by, or fewer than 10 units on a side."
              : `Used within ${e.hours} h: ${e.difference} points (95 % interval ${e.low} to ${e.high}): ${e.verdict}.`}
          </p>
        </>
      )}
    </Sheet>
  );
}

function Feeds() {
  const feeds = useFeeds();
  return (
    <Sheet title="Outside context">
      {feeds.error && <Trouble what="The list of feeds" error={feeds.error} retry={() => feeds.refetch()} />}
      {feeds.data?.length === 0 && <p>No product declares a feed.</p>}
      <Grid
        head={["Product", "Feed", "From", "Places", "State"]}
        rows={(feeds.data ?? []).map((f) => [
          f.product,
          f.feed,
          f.source,
          f.places,
          f.failing ?? (f.heardAt ? "heard" : "not heard yet"),
        ])}
      />
    </Sheet>
  );
}

function Grid({ head, rows }: { head: string[]; rows: (string | number)[][] }) {
  if (rows.length === 0) return null;
  return (
    <Plain.ScrollContainer minWidth={280}>
      <Plain>
        <Plain.Thead>
          <Plain.Tr>
            {head.map((h) => (
              <Plain.Th key={h}>{h}</Plain.Th>
            ))}
          </Plain.Tr>
        </Plain.Thead>
        <Plain.Tbody>
          {rows.map((r) => (
            <Plain.Tr key={String(r[0]) + String(r[1])}>
              {r.map((c, i) => (
                <Plain.Td key={head[i]}>{c}</Plain.Td>
              ))}
            </Plain.Tr>
          ))}
        </Plain.Tbody>
      </Plain>
    </Plain.ScrollContainer>
  );
}
