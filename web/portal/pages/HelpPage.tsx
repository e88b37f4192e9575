import { useLanguage } from "../language";
import { Heading } from "../states";

export function HelpPage() {
  const { t } = useLanguage();
  return <Heading>{t("help.title")}</Heading>;
}
