import { Button, Select } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { useFeeds, useTipEffect, useTipNames, useTipPreview, useTryTip } from "../api/tips";
import { Page, Sheet } from "../parts/Page";
import { Empty, Loading, Trouble } from "../parts/States";

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
      {names.data?.length === 0 && (
        <Empty title="There is no tip yet">
          Write a file of kind Tip and run <code>fettle apply -f FILE</code>.
        </Empty>
      )}
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
        head={["Language", "Words", "Button"]}
        rows={(preview.data ?? []).map((p) => [
          p.language,
          <span key="words" lang={p.language}>
            <strong>{p.title}</strong>
            <br />
            {p.text}
          </span>,
          p.action ?? "none",
        ])}
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
          {t.not.length > 0 && (
            <Grid head={["Not at some time", "Units"]} rows={t.not.map((n) => [n.why, n.few ? few : n.units])} />
          )}
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
            head={["Units", "Given", "Held back"]}
            rows={[
              ["Eligible", count(e.given.units), count(e.held.units)],
              ["Shown", percent(e.given.shown), "–"],
              ["Closed", percent(e.given.dismissed), "–"],
              ["Acted", percent(e.given.acted), "–"],
              ["Used", percent(e.given.used), percent(e.held.used)],
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
        head={["Feed", "Places", "State"]}
        rows={(feeds.data ?? []).map((f) => [
          <span key="feed">
            {f.title || f.feed}
            <br />
            <span className="soft">
              {f.product} {f.feed}, {f.source}
            </span>
          </span>,
          f.places,
          f.failing ?? (f.heardAt ? "heard" : "not heard yet"),
        ])}
      />
    </Sheet>
  );
}

function Grid({ head, rows }: { head: string[]; rows: ReactNode[][] }) {
  if (rows.length === 0) return null;
  return (
    <table className="table broken">
      <thead>
        <tr>
          {head.map((h) => (
            <th scope="col" key={h}>
              {h}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((r, row) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: rows have an order and no name
          <tr key={row}>
            {r.map((c, i) => (
              <td key={head[i]}>{c}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
