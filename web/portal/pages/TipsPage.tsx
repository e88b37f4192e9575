import "../tips.css";
import { Link } from "../address";
import { useLanguage } from "../language";
import type { PageProps } from "../routes";
import { Heading, Loading, Trouble, useReason } from "../states";
import { TipCards } from "../TipCards";
import { formatTime, knownZone } from "../time";
import { type Switch, useSwitchTip, useTips } from "../tips";

/** Which tips the owner wants, those of now, and those of the last month. */
export function TipsPage({ me }: PageProps) {
  const { t, locale } = useLanguage();
  const tips = useTips();
  const [all, ...each] = tips.data?.switches ?? [];
  return (
    <>
      <Heading>{t("tips.title")}</Heading>
      {tips.error && <Trouble error={tips.error} retry={() => tips.refetch()} />}
      {tips.isPending && <Loading />}
      {me.units.map((u) => (
        <TipCards key={u.id} unit={u.id} />
      ))}
      {tips.data && (
        <section className="sheet" aria-labelledby="tips-switches">
          <h2 id="tips-switches">{t("tips.which")}</h2>
          <p>{t("tips.about")}</p>
          {all && <OneSwitch choice={all} label={t("tips.all")} />}
          {each.length === 0 && <p className="soft">{t("tips.noneDeclared")}</p>}
          {each.map((s) => (
            <OneSwitch key={s.tip} choice={s} label={s.title ?? s.tip} off={all && !all.on} />
          ))}
          <p className="soft">{t("tips.consent")}</p>
        </section>
      )}
      {tips.data && (
        <section className="sheet" aria-labelledby="tips-earlier">
          <h2 id="tips-earlier">{t("tips.earlier")}</h2>
          {tips.data.earlier.length === 0 && <p>{t("tips.noneEarlier")}</p>}
          <ul className="earlier">
            {tips.data.earlier.map((e) => (
              <li key={e.id}>
                <strong>{e.title}</strong>
                <p>{e.text}</p>
                <p className="soft">
                  {formatTime(e.shownAt ?? e.at, locale, knownZone(me.timeZone))}
                  {e.via && ` · ${t(`tips.via.${e.via}`)}`}
                </p>
              </li>
            ))}
          </ul>
        </section>
      )}
      <p>
        <Link to={{ name: "notices" }}>{t("nav.notices")}</Link>
      </p>
    </>
  );
}

function OneSwitch({ choice, label, off }: { choice: Switch; label: string; off?: boolean }) {
  const change = useSwitchTip();
  const reason = useReason(change.error);
  return (
    <div>
      <label className="check">
        <input
          type="checkbox"
          checked={change.isPending ? change.variables.on : choice.on}
          disabled={change.isPending || off}
          onChange={(e) => change.mutate({ tip: choice.tip, on: e.currentTarget.checked })}
        />
        <span>{label}</span>
      </label>
      <p role="status">{change.isError && <span className="wrong">{reason}</span>}</p>
    </div>
  );
}
