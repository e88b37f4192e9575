import type { Condition, Finding, Me, OwnersUnit } from "./api";
import { Found } from "./Found";
import { useLanguage } from "./language";
import { formatTime, knownZone } from "./time";

const marks: Record<Condition, string> = {
  normal: "M4 9l3.2 3.2L12.5 5",
  degraded: "M8 4v5M8 12v.5",
  failed: "M5 5l6 6M11 5l-6 6",
  silent: "M4 8h8",
  unknown: "M5.8 6c.2-2.900 4.600-2.600 4.300.2-.2 1.700-2.100 1.700-2.100 3.500M8 12.400v.3",
};

/** A condition is shown by mark and word; its colour only agrees with them. */
export function Badge({ condition }: { condition: Condition }) {
  const { t } = useLanguage();
  return (
    <span className={`badge ${condition}`}>
      <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
        <path d={marks[condition]} fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round" />
      </svg>
      {t(`condition.${condition}.title`)}
    </span>
  );
}

type CardProps = { unit: OwnersUnit; findings: Finding[]; me: Me };

export function ConditionCard({ unit, findings, me }: CardProps) {
  const { t, locale } = useLanguage();
  const zone = knownZone(me.timeZone);
  return (
    <section className={`sheet condition ${unit.condition}`} aria-labelledby="condition">
      <h2 id="condition">{t("condition.heading")}</h2>
      <p className="verdict">
        <Badge condition={unit.condition} />
      </p>
      <p>{t(`condition.${unit.condition}.text`)}</p>
      <dl className="facts">
        <div>
          <dt>{t("condition.serial")}</dt>
          <dd>{unit.serial}</dd>
        </div>
        {unit.versions?.software && (
          <div>
            <dt>{t("condition.software")}</dt>
            <dd>{unit.versions.software}</dd>
          </div>
        )}
      </dl>
      <p className="soft">
        {unit.lastSeen
          ? t("condition.lastSeen", { time: formatTime(unit.lastSeen, locale, zone) })
          : t("condition.neverSeen")}
      </p>
      {findings.map((f) => (
        <Found key={f.id} finding={f} unit={unit.id} me={me} />
      ))}
    </section>
  );
}
