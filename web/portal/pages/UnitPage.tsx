import { Link } from "../address";
import { type Me, useUnit, useUpdates } from "../api";
import { Collected } from "../Collected";
import { ConditionCard } from "../Condition";
import { useLanguage } from "../language";
import { Loading, Trouble } from "../states";
import { UpdateCard } from "../UpdateCard";

export function UnitPage({ me, id }: { me: Me; id: string }) {
  const { t } = useLanguage();
  const unit = useUnit(id);
  const updates = useUpdates();

  if (unit.error)
    return (
      <>
        <h1>{me.units.find((u) => u.id === id)?.productTitle ?? t("app.missing.title")}</h1>
        <Trouble error={unit.error} retry={() => unit.refetch()} />
      </>
    );
  if (!unit.data) return <Loading />;

  const mine = updates.data?.filter((u) => u.unitId === id) ?? [];
  return (
    <>
      {me.units.length > 1 && (
        <nav className="crumbs">
          <Link to={{ name: "home" }}>{t("app.home")}</Link>
        </nav>
      )}
      <h1>{unit.data.productTitle}</h1>
      {updates.error && <Trouble error={updates.error} retry={() => updates.refetch()} />}
      {mine.map((u) => (
        <UpdateCard key={u.id} update={u} me={me} />
      ))}
      <ConditionCard unit={unit.data} me={me} />
      <Collected unit={unit.data} me={me} />
    </>
  );
}
