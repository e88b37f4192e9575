import { type At, Link, type Page } from "./address";
import type { Me } from "./api";
import { type Key, useLanguage } from "./language";
import type { PageName } from "./routes";

type Entry = { name: PageName; label: Key; icon: string; of: "unit" | "owner"; also?: PageName[]; owners?: true };

/**
 * The navigation: what belongs to the unit looked at, then what belongs to the
 * owner. `also` are pages that stand below an entry; `owners` are those that a
 * driver has no part in. On a phone the first four
 * and "more" stand at the foot, where a thumb reaches them.
 */
export const entries: Entry[] = [
  {
    name: "unit",
    label: "nav.product",
    of: "unit",
    icon: "M4 7l6-3.5 6 3.5v7l-6 3.5-6-3.5zM4 7l6 3.5 6-3.5M10 10.5v7",
  },
  {
    name: "history",
    label: "nav.history",
    of: "unit",
    icon: "M3.5 10a6.5 6.5 0 1 0 2-4.7L3.5 7M3.5 3.5V7H7M10 6.5V10l2.5 1.8",
  },
  {
    name: "data",
    label: "nav.data",
    of: "unit",
    icon: "M4 16V9M8 16V5M12 16v-5M16 16V7",
    also: ["looks"],
    owners: true,
  },
  {
    name: "notices",
    label: "nav.notices",
    of: "owner",
    icon: "M5 13.5V9a5 5 0 0 1 10 0v4.5l1.5 1.5h-13zM8.5 17.5h3",
    also: ["settings", "tips"],
  },
  {
    name: "people",
    label: "nav.people",
    of: "unit",
    icon: "M10 10a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM4 17c0-3 2.7-5 6-5s6 2 6 5",
  },
  {
    name: "help",
    label: "nav.help",
    of: "unit",
    icon: "M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15zM7.8 7.8c.2-2.8 4.6-2.6 4.4.2-.2 1.7-2.2 1.7-2.2 3.5M10 14.2v.3",
  },
  {
    name: "account",
    label: "nav.account",
    of: "owner",
    icon: "M3 5h14v10H3zM5.5 12.5c.5-2 3.5-2 4 0M7.5 9.5a1.3 1.3 0 1 0 0-2.6 1.3 1.3 0 0 0 0 2.6zM12 8.5h3M12 11.5h3",
  },
];

const inReach = 4;
const moreIcon = "M4.5 10h.01M10 10h.01M15.5 10h.01";

let last = "";

/** The unit that the owner looks at: of the address, else the last one, else the only or first one. */
export function unitInView(at: At, me: Me): string {
  const named = at.name === "missing" ? undefined : at.id;
  if (named && me.units.some((u) => u.id === named)) last = named;
  if (me.units.some((u) => u.id === last)) return last;
  return me.units.length === 1 ? (me.units[0]?.id ?? "") : "";
}

/** Where the entries lead, without those of a unit where none is looked at. */
export function useEntries(at: At, me: Me): { entry: Entry; to: Page; current: boolean }[] {
  const unit = unitInView(at, me);
  const drives = me.units.find((u) => u.id === unit)?.role === "driver";
  return entries
    .filter((e) => (e.of === "owner" || unit) && !(e.owners && drives))
    .map((entry) => ({
      entry,
      to: entry.of === "unit" ? { name: entry.name, id: unit } : { name: entry.name },
      current: at.name === entry.name || (at.name !== "missing" && (entry.also?.includes(at.name) ?? false)),
    }));
}

export function Nav({ at, me }: { at: At; me: Me }) {
  const { t } = useLanguage();
  const all = useEntries(at, me);
  const unit = me.units.find((u) => u.id === unitInView(at, me));
  return (
    <nav className="nav" aria-label={t("nav.label")}>
      {me.units.length > 1 && (
        <p className="which">
          <Link to={{ name: "home" }} aria-current={at.name === "home" ? "page" : undefined}>
            {t("nav.home")}
          </Link>
          {unit && <span>{`${unit.productTitle} ${unit.serial}`}</span>}
        </p>
      )}
      <ul>
        {all.map(({ entry, to, current }, i) => (
          <li key={entry.name} className={i < inReach ? undefined : "far"}>
            <Link to={to} aria-current={current ? "page" : undefined}>
              <Icon path={entry.icon} />
              <span>{t(entry.label)}</span>
            </Link>
          </li>
        ))}
        {all.length > inReach && (
          <li className="near">
            <Link
              to={{ name: "more" }}
              aria-current={at.name === "more" || all.slice(inReach).some((e) => e.current) ? "page" : undefined}
            >
              <Icon path={moreIcon} />
              <span>{t("nav.more")}</span>
            </Link>
          </li>
        )}
      </ul>
    </nav>
  );
}

export function Icon({ path }: { path: string }) {
  return (
    <svg viewBox="0 0 20 20" width="22" height="22" aria-hidden="true">
      <path d={path} fill="none" stroke="currentColor" strokeWidth="1.6" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}
