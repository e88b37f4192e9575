import { useLandingToken } from "../../client/landing";
import { Problem } from "../../client/problem";
import { Link } from "../address";
import { useLanguage } from "../language";
import { confirmEmail, useChange } from "../people";
import { Heading, Trouble } from "../states";

/** Confirms a new mail address, opened by the link that went to it. */
export function ConfirmPage() {
  const { t } = useLanguage();
  const [token] = useLandingToken();
  const confirm = useChange(confirmEmail);
  const used = confirm.error instanceof Problem && confirm.error.status === 403;
  return (
    <section className="sheet narrow">
      <Heading>{t("confirm.title")}</Heading>
      {confirm.data ? (
        <>
          <p role="status">{t("confirm.done", { email: confirm.data.email })}</p>
          <p>
            <Link to={{ name: "home" }}>{t("nav.home")}</Link>
          </p>
        </>
      ) : used ? (
        <p role="alert">{t("confirm.used")}</p>
      ) : (
        <>
          <p>{t("confirm.text")}</p>
          {confirm.error && <Trouble error={confirm.error} />}
          <button type="button" className="main" disabled={confirm.isPending} onClick={() => confirm.mutate(token)}>
            {t("confirm.button")}
          </button>
        </>
      )}
    </section>
  );
}
