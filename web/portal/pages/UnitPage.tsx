import { useEffect } from "react";
import "../unit.css";
import { Link } from "../address";
import { type OwnersUpdate, useFindings, useUnit, useUpdates } from "../api";
import { ConditionCard } from "../Condition";
import { useLanguage } from "../language";
import type { PageProps } from "../routes";
import { Heading, Loading, Trouble } from "../states";
import { TipCards } from "../TipCards";
import { UpdateCard } from "../UpdateCard";

const over = new Set<OwnersUpdate["state"]>(["verified", "not judgeable", "expired", "canceled", "superseded"]);
const month = 30 * 24 * 3600 * 1000;

/** What stands on the product's own page: all that is not over, and for a month what is. */
function isRecent(u: OwnersUpdate, now: string): boolean {
  return !over.has(u.state) || Date.parse(now) - Date.parse(u.installedAt ?? u.offeredAt ?? now) < month;
}

export function UnitPage({ me, id }: PageProps) {
  const { t } = useLanguage();
  const unit = useUnit(id);
  const updates = useUpdates();
  const findings = useFindings(id);
  const title = unit.data?.productTitle;

  useEffect(() => {
    if (title) document.title = `${title} – ${t("app.name")}`;
  }, [title, t]);

  if (unit.error)
    return (
      <>
        <Heading>{me.units.find((u) => u.id === id)?.productTitle ?? t("app.missing.title")}</Heading>
        <Trouble error={unit.error} retry={() => unit.refetch()} />
      </>
    );
  // All of it at once: what came later would push away what is being read.
  if (!unit.data || updates.isPending || findings.isPending) return <Loading />;

  const mine = updates.data?.filter((u) => u.unitId === id && isRecent(u, me.now)) ?? [];
  const [open, closed] = [mine.filter((u) => !over.has(u.state)), mine.filter((u) => over.has(u.state))];
  return (
    <>
      <Heading>{unit.data.productTitle}</Heading>
      {updates.error && <Trouble error={updates.error} retry={() => updates.refetch()} />}
      {open.map((u) => (
        <UpdateCard key={u.id} update={u} me={me} />
      ))}
      <TipCards unit={id} />
      <ConditionCard unit={unit.data} findings={findings.data ?? []} me={me} />
      {findings.error && <Trouble error={findings.error} retry={() => findings.refetch()} />}
      {closed.map((u) => (
        <UpdateCard key={u.id} update={u} me={me} />
      ))}
      <p>
        <Link to={{ name: "history", id }}>{t("unit.history")}</Link>
      </p>
    </>
  );
}
