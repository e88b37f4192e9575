import { type Me, type OwnersUnit, type Purpose, type Signal, useConsent } from "./api";
import { useLanguage } from "./language";
import { useReason } from "./states";
import { formatTime, knownZone } from "./time";

/** What is collected and why: one switch a purpose, as easy off as on. */
export function Collected({ unit, me }: { unit: OwnersUnit; me: Me }) {
  const { t } = useLanguage();
  return (
    <section className="sheet" aria-labelledby="collected">
      <h2 id="collected">{t("collected.heading")}</h2>
      <p>{t("collected.text")}</p>
      <ul className="purposes">
        {unit.purposes.map((p) => (
          <li key={p.name}>
            <PurposeRow
              unit={unit}
              purpose={p}
              signals={unit.signals.filter((s) => s.purposes.includes(p.name))}
              zone={knownZone(me.timeZone)}
            />
          </li>
        ))}
      </ul>
    </section>
  );
}

type RowProps = { unit: OwnersUnit; purpose: Purpose; signals: Signal[]; zone: string };

function PurposeRow({ unit, purpose, signals, zone }: RowProps) {
  const { t, locale } = useLanguage();
  const consent = useConsent(unit, purpose.name);
  const reason = useReason(consent.error);
  const given = consent.isPending ? consent.variables : purpose.given;
  const label = `purpose-${purpose.name}`;
  const about = `about-${purpose.name}`;
  return (
    <>
      <div className="purpose">
        <div>
          <h3 id={label}>{purpose.title}</h3>
          <p id={about}>{purpose.description}</p>
        </div>
        {purpose.basis === "consent" ? (
          <button
            type="button"
            role="switch"
            className="switch"
            aria-checked={given}
            aria-labelledby={label}
            aria-describedby={about}
            aria-busy={consent.isPending}
            onClick={() => consent.mutate(!given)}
          >
            <span aria-hidden="true">{given ? t("collected.on") : t("collected.off")}</span>
          </button>
        ) : (
          <p className="always">{t("collected.necessary")}</p>
        )}
      </div>
      {purpose.basis === "necessary" && <p className="soft">{t("collected.necessaryWhy")}</p>}
      <p className="receipt" role="status">
        {consent.isPending && t("collected.saving")}
        {consent.isError && <span className="wrong">{reason}</span>}
        {consent.isSuccess &&
          t("collected.receipt", { time: formatTime(consent.data.at, locale, zone), id: consent.data.id })}
      </p>
      <details>
        <summary>{t("collected.signals")}</summary>
        {signals.length === 0 ? (
          <p className="soft">{t("collected.noSignals")}</p>
        ) : (
          <ul className="signals">
            {signals.map((s) => (
              <li key={s.name}>
                <SignalLine signal={s} />
              </li>
            ))}
          </ul>
        )}
      </details>
    </>
  );
}

function SignalLine({ signal }: { signal: Signal }) {
  const { t } = useLanguage();
  const days = /^(\d+)d$/.exec(signal.retention);
  const kept = days?.[1]
    ? t("collected.kept", { days: Number(days[1]) })
    : t("collected.keptOther", { time: signal.retention });
  return (
    <>
      <strong>{signal.title || signal.name}</strong>
      <span>{signal.description}</span>
      <span className="soft">{kept}</span>
    </>
  );
}
