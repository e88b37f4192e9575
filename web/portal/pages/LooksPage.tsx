import { Link, type Page } from "../address";
import type { Me } from "../api";
import { type Key, useLanguage } from "../language";
import { type Look, reasonFor, roleOf, useLooks } from "../looks";
import type { PageProps } from "../routes";
import { Timeline } from "../Timeline";
import { formatTime, knownZone } from "../time";

/** Who looked at the owner's data or changed it: in which role, when, what of it, and why. */
export function LooksPage({ me }: PageProps) {
  const { t } = useLanguage();
  const looks = useLooks();
  const unit = me.units[0]?.id;
  const back: Page = me.units.length === 1 && unit ? { name: "data", id: unit } : { name: "home" };
  return (
    <>
      <Timeline words="looks" paged={looks} mark={(look) => (look.kind === "change" ? "is-update" : undefined)}>
        {(look) => <Entry look={look} me={me} />}
      </Timeline>
      {!looks.isPending && (
        <p>
          <Link to={back}>{back.name === "data" ? t("nav.data") : t("nav.home")}</Link>
        </p>
      )}
    </>
  );
}

function Entry({ look, me }: { look: Look; me: Me }) {
  const { t, locale } = useLanguage();
  const unit = me.units.find((u) => u.id === look.unitId);
  const reason = reasonFor(look.operation);
  const who = (look.party === "operator" ? `looks.role.${roleOf(look.role)}` : `looks.party.${look.party}`) as Key;
  return (
    <>
      <p className="soft">
        <time dateTime={look.at}>{formatTime(look.at, locale, knownZone(me.timeZone))}</time>
      </p>
      <h2>{t(who)}</h2>
      <p>
        <strong>{look.kind === "change" ? t("looks.changed") : t(`looks.data.${look.data ?? "other"}` as Key)}</strong>
        {unit && ` · ${unit.productTitle} ${unit.serial}`}
      </p>
      <p>{reason ? t(`looks.why.${reason}`) : look.why && <span lang="en">{look.why}</span>}</p>
      {(look.all || look.via === "token" || Boolean(look.more)) && (
        <p className="soft">
          {look.all && `${t("looks.all")} `}
          {look.via === "token" && `${t("looks.token")} `}
          {look.more && t("looks.more", { n: look.more })}
        </p>
      )}
    </>
  );
}
