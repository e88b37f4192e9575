import { useUnit } from "../api";
import "../unit.css";
import { Collected } from "../Collected";
import { useLanguage } from "../language";
import type { PageProps } from "../routes";
import { Heading, Loading, Trouble } from "../states";

export function DataPage({ me, id }: PageProps) {
  const { t } = useLanguage();
  const unit = useUnit(id);
  return (
    <>
      <Heading>{t("data.title")}</Heading>
      {unit.error && <Trouble error={unit.error} retry={() => unit.refetch()} />}
      {unit.isPending && <Loading />}
      {unit.data && <Collected unit={unit.data} me={me} />}
    </>
  );
}
