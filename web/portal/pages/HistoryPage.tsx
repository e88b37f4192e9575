import "../unit.css";
import { type Event, type Me, useHistory } from "../api";
import { Found } from "../Found";
import { type Key, useLanguage } from "../language";
import type { PageProps } from "../routes";
import { Timeline } from "../Timeline";
import { formatTime, knownZone } from "../time";
import { stateWords } from "../UpdateCard";

/** What has happened to a unit since it is the owner's: found, updated, repaired. */
export function HistoryPage({ me, id }: PageProps) {
  const history = useHistory(id);
  return (
    <Timeline words="history" paged={history} mark={(e) => `is-${e.kind}`}>
      {(e) => <Entry event={e} unit={id} me={me} />}
    </Timeline>
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
