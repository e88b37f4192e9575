import { useLanguage } from "../language";
import { Heading } from "../states";

export function HistoryPage() {
  const { t } = useLanguage();
  return <Heading>{t("history.title")}</Heading>;
}
