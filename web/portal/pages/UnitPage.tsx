import { useUnit, useUpdates } from "../api";
import "../unit.css";
import { ConditionCard } from "../Condition";
import { useLanguage } from "../language";
import type { PageProps } from "../routes";
import { Heading, Loading, Trouble } from "../states";
import { UpdateCard } from "../UpdateCard";

export function UnitPage({ me, id }: PageProps) {
  const { t } = useLanguage();
  const unit = useUnit(id);
  const updates = useUpdates();

  if (unit.error)
    return (
      <>
        <Heading>{me.units.find((u) => u.id === id)?.productTitle ?? t("app.missing.title")}</Heading>
        <Trouble error={unit.error} retry={() => unit.refetch()} />
      </>
    );
  if (!unit.data) return <Loading />;

  const mine = updates.data?.filter((u) => u.unitId === id) ?? [];
  return (
    <>
      <Heading>{unit.data.productTitle}</Heading>
      {updates.error && <Trouble error={updates.error} retry={() => updates.refetch()} />}
      {mine.map((u) => (
        <UpdateCard key={u.id} update={u} me={me} />
      ))}
      <ConditionCard unit={unit.data} me={me} />
    </>
  );
}
