import { useEffect, useRef } from "react";
import "../unit.css";
import "../history.css";
import { type Event, type Me, useHistory } from "../api";
import { Found } from "../Found";
import { type Key, useLanguage } from "../language";
import type { PageProps } from "../routes";
import { Heading, Loading, Trouble } from "../states";
import { formatTime, knownZone } from "../time";
import { stateWords } from "../UpdateCard";

/** What has happened to a unit since it is the owner's: found, updated, repaired. */
export function HistoryPage({ me, id }: PageProps) {
  const { t } = useLanguage();
  const history = useHistory(id);
  const all = history.data?.pages.flatMap((p) => p.items) ?? [];
  const list = useRef<HTMLOListElement>(null);
  const grown = useRef(0);

  // Who asked for older ones goes on reading at the first of them.
  useEffect(() => {
    if (grown.current && all.length > grown.current) {
      list.current?.querySelector<HTMLElement>(`:scope > li:nth-child(${grown.current + 1})`)?.focus();
      grown.current = 0;
    }
  }, [all.length]);

  return (
    <>
      <Heading>{t("history.title")}</Heading>
      {history.error && <Trouble error={history.error} retry={() => history.refetch()} />}
      {history.isPending && <Loading />}
      {history.data && (
        <section className="sheet" aria-label={t("history.title")}>
          <p>{t(all.length ? "history.text" : "history.empty")}</p>
          <ol className="timeline" ref={list}>
            {all.map((e) => (
              <li key={e.id} tabIndex={-1} className={`is-${e.kind}`}>
                <Entry event={e} unit={id} me={me} />
              </li>
            ))}
          </ol>
          <p className="unseen" role="status">
            {t("history.shown", { n: all.length })}
          </p>
          {history.hasNextPage && (
            <button
              type="button"
              className="quiet"
              disabled={history.isFetchingNextPage}
              onClick={() => {
                grown.current = all.length;
                history.fetchNextPage();
              }}
            >
              {t("history.older")}
            </button>
          )}
        </section>
      )}
    </>
  );
}

function Entry({ event, unit, me }: { event: Event; unit: string; me: Me }) {
  const language = useLanguage();
  const { t, locale } = language;
  const zone = knownZone(me.timeZone);
  const { found, update, visit } = event;
  return (
    <>
      <p className="soft">
        <span className="what">{t(`history.kind.${event.kind}`)}</span>{" "}
        <time dateTime={event.at}>{formatTime(event.at, locale, zone)}</time>
      </p>
      {event.kind === "yours" && <h2>{t("history.yours")}</h2>}
      {found && (
        <>
          <h2>{found.title}</h2>
          <p>
            {found.until ? t("history.cleared", { time: formatTime(found.until, locale, zone) }) : t("history.open")}
          </p>
          <details>
            <summary>{t("history.more")}</summary>
            <Found finding={found} unit={unit} me={me} />
          </details>
        </>
      )}
      {update && (
        <>
          <h2>{update.title}</h2>
          <p>
            <strong>{stateWords(update, language, zone).title}</strong>
            {" · "}
            {t("history.version", { version: update.version })}
          </p>
          <p>{update.whatChanges}</p>
        </>
      )}
      {visit && (
        <>
          <h2>{t(`history.visit.${visit.kind}` as Key, { part: visit.part || t("history.whole") })}</h2>
          {visit.reason && <p>{t(`history.reason.${visit.reason}`)}</p>}
          {visit.note && <p>{visit.note}</p>}
          {visit.serial && <p className="soft">{t("history.part.serial", { serial: visit.serial })}</p>}
        </>
      )}
    </>
  );
}
