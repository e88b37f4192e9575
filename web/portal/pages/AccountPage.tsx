import { useSignOut } from "../api";
import { useLanguage } from "../language";
import type { PageProps } from "../routes";
import { Heading } from "../states";

export function AccountPage({ me }: PageProps) {
  const { t } = useLanguage();
  const signOut = useSignOut();
  return (
    <>
      <Heading>{t("account.title")}</Heading>
      <section className="sheet">
        <p>{t("account.signedIn", { email: me.email })}</p>
        <button type="button" className="quiet" disabled={signOut.isPending} onClick={() => signOut.mutate()}>
          {t("app.signOut")}
        </button>
      </section>
    </>
  );
}
