import { useLanguage } from "../language";
import type { PageProps } from "../routes";
import { Heading } from "../states";

export function PeoplePage({ me }: PageProps) {
  const { t } = useLanguage();
  return (
    <>
      <Heading>{t("people.title")}</Heading>
      <section className="sheet">
        <p>{t("people.owner", { email: me.email })}</p>
      </section>
    </>
  );
}
