import { type FormEvent, useState } from "react";
import { useLandingToken } from "../../client/landing";
import { Problem } from "../../client/problem";
import { go } from "../address";
import { useSendLink, useSignIn } from "../api";
import { useLanguage } from "../language";
import { OtherWays } from "../OtherWays";
import { Heading, Trouble } from "../states";

const refused = "problem=";

/**
 * Asks for a link, or, when opened by one, for the click that uses it up: mail
 * scanners open links, so opening alone must not.
 */
export function SignInPage() {
  const [token, forget] = useLandingToken();
  if (token.startsWith(refused)) return <AskForLink why={token.slice(refused.length).replace(/\+/g, " ")} />;
  if (token) return <Landing token={token} renew={forget} />;
  return <AskForLink />;
}

function Landing({ token, renew }: { token: string; renew: () => void }) {
  const { t } = useLanguage();
  const signIn = useSignIn(() => go({ name: "home" }, true));
  const used = signIn.error instanceof Problem && signIn.error.status < 500;
  return (
    <section className="sheet narrow">
      <Heading>{t("signIn.land.title")}</Heading>
      {used ? (
        <>
          <p role="alert">{t("signIn.land.used")}</p>
          <button type="button" className="main" onClick={renew}>
            {t("signIn.land.new")}
          </button>
        </>
      ) : (
        <>
          <p>{t("signIn.land.text")}</p>
          {signIn.error && <Trouble error={signIn.error} />}
          <button type="button" className="main" disabled={signIn.isPending} onClick={() => signIn.mutate(token)}>
            {t("signIn.land.button")}
          </button>
        </>
      )}
    </section>
  );
}

function AskForLink({ why }: { why?: string }) {
  const { t } = useLanguage();
  const [email, setEmail] = useState("");
  const send = useSendLink();

  function submit(e: FormEvent) {
    e.preventDefault();
    send.mutate(email);
  }

  if (send.isSuccess)
    return (
      <section className="sheet narrow" role="status">
        <Heading>{t("signIn.sent.title")}</Heading>
        <p>{t("signIn.sent.text", { email })}</p>
        <button type="button" className="quiet" onClick={() => send.reset()}>
          {t("signIn.sent.again")}
        </button>
      </section>
    );

  return (
    <section className="sheet narrow">
      <Heading>{t("signIn.title")}</Heading>
      {why && (
        <div className="trouble" role="alert">
          <p>{t("signIn.refused", { why })}</p>
        </div>
      )}
      <p>{t("signIn.text")}</p>
      <form onSubmit={submit}>
        <label className="field">
          <span>{t("signIn.email")}</span>
          <input
            type="email"
            name="email"
            required
            autoComplete="email"
            value={email}
            onChange={(e) => setEmail(e.target.value)}
          />
        </label>
        {send.error && <Trouble error={send.error} />}
        <button type="submit" className="main" disabled={send.isPending}>
          {t("signIn.send")}
        </button>
      </form>
      <OtherWays to="/my/" then={() => go({ name: "home" }, true)} />
    </section>
  );
}
