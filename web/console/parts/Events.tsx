import { Button } from "@mantine/core";
import { useState } from "react";
import type { Range } from "../../chart/SignalChart";
import { type ProductSpec, type UnitEvent, useEvents } from "../api/fleet";
import { Time } from "../clock";
import { ChoiceFilter } from "./Filters";
import { SeverityMark } from "./Mark";
import { Loading, Trouble } from "./States";

const words: Record<UnitEvent["kind"], string> = { feature: "Feature used", fault: "Fault code", log: "Log" };

/** Whether units of a product tell events at all. */
export function hasEvents(product?: ProductSpec): boolean {
  return (
    !!product && (!!product.log || !!product.faults?.length || !!product.features?.some((f) => f.purposes?.length))
  );
}

/** What a unit told beside samples in the range of its charts: on their time axis, and as a list. */
export function Events({ unitId, range }: { unitId: string; range: Range }) {
  const [kind, setKind] = useState<UnitEvent["kind"]>();
  const events = useEvents(unitId, range.from, range.to, kind);
  if (events.error) return <Trouble what="Loading events" error={events.error} retry={() => events.refetch()} />;
  if (events.isPending) return <Loading what="events" lines={3} />;
  return (
    <div className="events">
      <Strip events={events.rows} range={range} />
      <table className="table">
        <caption>Events in this range, newest first</caption>
        <thead>
          <tr>
            <th scope="col">When</th>
            <th scope="col">Kind</th>
            <th scope="col">What</th>
            <th scope="col">Text</th>
          </tr>
        </thead>
        <tbody>
          {events.rows.map((e) => (
            <tr key={e.id}>
              <td>
                <Time at={e.at} />
              </td>
              <td>{words[e.kind]}</td>
              <td>
                <What event={e} />
              </td>
              <td>{e.text}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {events.rows.length === 0 && (
        <p className="soft">None. What the owner does not permit is neither stored nor shown.</p>
      )}
      <div className="spread">
        <ChoiceFilter
          label="Kind of event"
          value={kind}
          set={(v) => setKind(v as UnitEvent["kind"] | undefined)}
          options={Object.entries(words).map(([value, label]) => ({ value, label }))}
        />
        {events.hasNextPage && (
          <Button variant="default" loading={events.isFetchingNextPage} onClick={() => events.fetchNextPage()}>
            Earlier events
          </Button>
        )}
      </div>
    </div>
  );
}

function What({ event }: { event: UnitEvent }) {
  if (event.kind === "log")
    return (
      <>
        {event.level} {event.name && <span className="soft">{event.name}</span>}
      </>
    );
  return (
    <>
      {event.title} <span className="soft">{event.name}</span>
      {event.kind === "fault" && event.state === "cleared" && <span className="mark normal">cleared</span>}
      {event.severity && event.state !== "cleared" && <SeverityMark severity={event.severity} />}
    </>
  );
}

/** The events on the charts' time axis; the table says the same in words. */
function Strip({ events, range }: { events: UnitEvent[]; range: Range }) {
  const [from, length] = [range.from.getTime(), range.to.getTime() - range.from.getTime()];
  const share = (e: UnitEvent) => (100 * (new Date(e.at).getTime() - from)) / length;
  return (
    <svg className="strip" aria-hidden="true" width="100%" height="14">
      {events
        .map((e) => ({ e, x: share(e) }))
        .filter(({ x }) => x >= 0 && x <= 100)
        .map(({ e, x }) => (
          <line key={e.id} className={e.kind} x1={`${x}%`} x2={`${x}%`} y1="1" y2="13" strokeWidth="2" />
        ))}
    </svg>
  );
}
