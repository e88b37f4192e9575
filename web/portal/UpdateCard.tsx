import type { Me, OwnersUpdate } from "./api";
import { Choices } from "./Choices";
import { type Key, type Language, useLanguage } from "./language";
import { Proof } from "./Proof";
import { furthest, Steps } from "./Steps";
import { formatDay, formatTime, knownZone } from "./time";
import { WaitingFor } from "./Waiting";

type State = OwnersUpdate["state"];

/** In these states nothing has been decided or begun for good: all of it is told before it starts. */
const ahead = new Set<State>([
  "planned",
  "blocked",
  "offered",
  "snoozed",
  "scheduled",
  "accepted",
  "retrying",
  "unreachable",
]);

export function UpdateCard({ update, me }: { update: OwnersUpdate; me: Me }) {
  const language = useLanguage();
  const { t, locale } = language;
  const zone = knownZone(me.timeZone);
  const heading = `update-${update.id}`;
  const words = stateWords(update, language, zone);
  const showsProgress = update.state === "installing" || update.state === "claimed";
  return (
    <section className={`sheet update ${update.kind}`} aria-labelledby={heading}>
      <p className="kind">{t(`update.kind.${update.kind}`)}</p>
      <h2 id={heading}>{update.title}</h2>

      <div className="state" role="status" id={`state-${update.id}`} tabIndex={-1}>
        <h3>{words.title}</h3>
        <p>{words.text}</p>
        {update.waiting && ahead.has(update.state) ? (
          <WaitingFor wait={update.waiting} zone={me.timeZone} />
        ) : (
          update.state === "accepted" &&
          update.latestStart && (
            <p>{t("state.accepted.latest", { time: formatTime(update.latestStart, locale, zone) })}</p>
          )
        )}
        {update.why && !update.waiting && update.state !== "verifying" && (
          <p className="soft">{t("state.reason", { why: update.why })}</p>
        )}
        {update.failure && <Failed update={update} zone={zone} />}
        {showsProgress && update.progress.of > 0 && (
          <progress
            aria-label={t("state.progress")}
            value={furthest(`${update.id} ${update.attempt ?? 0} progress`, update.progress.done / update.progress.of)}
            max={1}
          />
        )}
      </div>
      <Steps update={update} />
      <Proof update={update} zone={zone} />

      {ahead.has(update.state) && (
        <dl className="facts">
          <div>
            <dt>{t("update.takes")}</dt>
            <dd>
              {t("update.minutes", { n: update.minutes })}
              {update.minutesOf > 0 && <span className="soft"> {t("update.measured", { n: update.minutesOf })}</span>}
            </dd>
          </div>
          <div>
            <dt>{t("update.size")}</dt>
            <dd>{t("update.size.value", { mb: megabytes(update.size, locale) })}</dd>
          </div>
          {update.deadline && (
            <div>
              <dt>{t("update.deadline")}</dt>
              <dd>{formatDay(update.deadline, locale, zone)}</dd>
            </div>
          )}
          {update.supportEnd && (
            <div>
              <dt>{t("update.support")}</dt>
              <dd>{formatDay(`${update.supportEnd}T12:00:00Z`, locale, "UTC")}</dd>
            </div>
          )}
        </dl>
      )}

      <dl className="words">
        <dt>{t("update.why")}</dt>
        <dd>{update.reason}</dd>
        <dt>{t("update.changes")}</dt>
        <dd>{update.whatChanges}</dd>
        {ahead.has(update.state) && (
          <>
            <dt>{t("update.unavailable")}</dt>
            <dd>{update.unavailable || t("update.unavailable.none")}</dd>
            <dt>{t("update.postponing")}</dt>
            <dd>{t(`update.postpone.${update.kind}`)}</dd>
          </>
        )}
      </dl>

      {update.choices.length > 0 && <Choices update={update} me={me} />}
    </section>
  );
}

/** What a failed attempt means: what runs now, and what comes next. */
function Failed({ update, zone }: { update: OwnersUpdate; zone: string }) {
  const { t, locale } = useLanguage();
  const f = update.failure;
  if (!f) return null;
  const words = { n: f.attempt, version: f.version ?? "", time: f.nextAt ? formatTime(f.nextAt, locale, zone) : "" };
  return (
    <ul className="account">
      <li>{t(f.known && f.version ? "failure.runs" : "failure.unknown", words)}</li>
      {f.attempt > 1 && <li>{t("failure.attempt", words)}</li>}
      <li>{t(f.next !== "again" ? "failure.looked" : f.nextAt ? "failure.againAt" : "failure.again", words)}</li>
    </ul>
  );
}

export function megabytes(bytes: number, locale: string): string {
  const mb = Math.max(0.1, bytes / 1e6);
  return mb.toLocaleString(
    locale,
    mb < 10 ? { minimumSignificantDigits: 1, maximumSignificantDigits: 2 } : { maximumFractionDigits: 0 },
  );
}

/** The state of an update in words: what is so, that it is safe to use, what comes next. */
export function stateWords(
  update: OwnersUpdate,
  { t, locale }: Pick<Language, "t" | "locale">,
  zone: string,
): { title: string; text: string } {
  const safety = update.kind === "safety" || update.kind === "recall";
  const time = update.at ? formatTime(update.at, locale, zone) : "";
  const say = (state: string, variant = "") => ({
    title: t(`state.${state}.title` as Key, { time }),
    text: t(`state.${state}.text${variant}` as Key, { time }),
  });
  if (update.waiting && (update.state === "accepted" || update.state === "scheduled"))
    return { title: t("state.waiting.title"), text: t("state.waiting.text") };
  switch (update.state) {
    case "planned":
    case "blocked":
      return say("offered");
    case "snoozed":
      return say("snoozed", time ? "" : "Open");
    case "installing":
      if (update.held) return say("installing", "Held");
      return say("installing", update.choices.includes("not now") ? "Holdable" : "");
    case "not judgeable":
      return say("notJudgeable");
    case "failed":
      if (update.stage === "safe_state") return { title: t("state.failed.title"), text: t("state.failed.textUnknown") };
      return say(update.state, safety ? "Safety" : "");
    case "expired":
      return say(update.state, safety ? "Safety" : "");
    default:
      return say(update.state);
  }
}
