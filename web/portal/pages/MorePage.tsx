import { Link, usePage } from "../address";
import { useLanguage } from "../language";
import { Icon, useEntries } from "../Nav";
import type { PageProps } from "../routes";
import { Heading } from "../states";

/** Everything the navigation holds, for phones, where its foot has room for four. */
export function MorePage({ me }: PageProps) {
  const { t } = useLanguage();
  const all = useEntries(usePage(), me);
  return (
    <>
      <Heading>{t("nav.more")}</Heading>
      <ul className="doors">
        {all.map(({ entry, to }) => (
          <li key={entry.name}>
            <Link to={to}>
              <Icon path={entry.icon} />
              {t(entry.label)}
            </Link>
          </li>
        ))}
      </ul>
    </>
  );
}
