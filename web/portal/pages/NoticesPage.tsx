import { Link } from "../address";
import { useLanguage } from "../language";
import { Heading } from "../states";

export function NoticesPage() {
  const { t } = useLanguage();
  return (
    <>
      <Heading>{t("notices.title")}</Heading>
      <section className="sheet">
        <p>
          <Link to={{ name: "settings" }}>{t("nav.settings")}</Link>
        </p>
      </section>
    </>
  );
}
