import { useEffect } from "react";
import { go, Link } from "../address";
import { type OwnersUpdate, useUpdates } from "../api";
import "../unit.css";
import { Badge } from "../Condition";
import { type Key, useLanguage } from "../language";
import type { PageProps } from "../routes";
import { Heading, Loading, Trouble } from "../states";

const notes: Record<string, Key> = {
  offered: "home.update",
  snoozed: "home.update",
  scheduled: "home.updateScheduled",
  accepted: "home.updateScheduled",
  retrying: "home.updateScheduled",
  installing: "home.updateRunning",
  claimed: "home.updateRunning",
};

export function HomePage({ me }: PageProps) {
  const { t } = useLanguage();
  const updates = useUpdates();
  const only = me.units.length === 1 ? me.units[0]?.id : undefined;

  // Most owners have one product: they need no list of it.
  useEffect(() => {
    if (only) go({ name: "unit", id: only }, true);
  }, [only]);
  if (only) return <Loading />;

  if (me.units.length === 0)
    return (
      <section className="sheet">
        <Heading>{t("home.none.title")}</Heading>
        <p>{t("home.none.text")}</p>
      </section>
    );

  return (
    <>
      <Heading>{t("home.title")}</Heading>
      {updates.error && <Trouble error={updates.error} retry={() => updates.refetch()} />}
      <ul className="units">
        {me.units.map((u) => {
          const note = noteOf(updates.data?.filter((x) => x.unitId === u.id) ?? []);
          return (
            <li key={u.id} className="sheet">
              <Badge condition={u.condition} />
              <h2>
                <Link
                  to={{ name: "unit", id: u.id }}
                  aria-label={t("home.see", { name: `${u.productTitle} ${u.serial}` })}
                >
                  {u.productTitle}
                </Link>
              </h2>
              <p className="soft">{u.serial}</p>
              {note && <p className="note">{t(note)}</p>}
            </li>
          );
        })}
      </ul>
    </>
  );
}

function noteOf(updates: OwnersUpdate[]): Key | undefined {
  for (const u of updates) {
    const note = notes[u.state];
    if (note) return note;
  }
  return undefined;
}
