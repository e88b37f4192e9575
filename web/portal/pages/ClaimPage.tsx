import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useLandingToken } from "../../client/landing";
import { Problem } from "../../client/problem";
import { Link } from "../address";
import { useMe } from "../api";
import { useLanguage } from "../language";
import { OtherWays } from "../OtherWays";
import { askClaimLink, type Claimed, claim, claimByLink, look, useChange, useWays } from "../people";
import { Heading, Trouble } from "../states";
import "../people.css";

const link = "fek_";
const remembered = "fettle.claim";

/** Registers a product by the code on its label: from the QR code, typed, or by the link that was mailed. */
export function ClaimPage() {
  const [token] = useLandingToken();
  if (token.startsWith(link)) return <ByLink token={token} />;
  return <ByCode key={token} scanned={token || (sessionStorage.getItem(remembered) ?? "")} />;
}

function ByCode({ scanned }: { scanned: string }) {
  const { t } = useLanguage();
  const [code, setCode] = useState(scanned);
  const found = useMutation({ mutationFn: look });
  const me = useMe();
  const [done, setDone] = useState<Claimed>();
  const take = useChange(claim, (out) => {
    sessionStorage.removeItem(remembered);
    setDone(out);
  });

  function submit(e: FormEvent) {
    e.preventDefault();
    take.reset();
    found.mutate(code);
  }

  if (done) return <Done claimed={done} />;
  if (!found.data)
    return (
      <section className="sheet narrow">
        <Heading>{t("claim.title")}</Heading>
        <p>{t("claim.text")}</p>
        <form onSubmit={submit}>
          <label className="field">
            <span>{t("claim.code")}</span>
            <input
              className="typed"
              name="code"
              required
              autoComplete="off"
              autoCapitalize="characters"
              spellCheck={false}
              maxLength={40}
              value={code}
              aria-invalid={found.error ? true : undefined}
              onChange={(e) => setCode(e.target.value)}
            />
          </label>
          {found.error && <NotFound error={found.error} />}
          <button type="submit" className="main" disabled={found.isPending}>
            {t("claim.look")}
          </button>
        </form>
      </section>
    );

  const product = found.data.product;
  return (
    <section className="sheet narrow">
      <Heading>{product}</Heading>
      <p>{t(found.data.owned ? "claim.owned" : "claim.free", { product })}</p>
      {me.data ? (
        <>
          <p className="soft">{t("claim.as", { email: me.data.email })}</p>
          {take.error && <Trouble error={take.error} />}
          <div className="buttons">
            <button type="button" className="main" disabled={take.isPending} onClick={() => take.mutate(code)}>
              {t(found.data.owned ? "claim.ask" : "claim.take")}
            </button>
            <button type="button" className="quiet" onClick={() => found.reset()}>
              {t("claim.other")}
            </button>
          </div>
        </>
      ) : (
        <SignUp code={code} signedIn={() => me.refetch()} />
      )}
    </section>
  );
}

/** What is wrong with a code, in words of the portal where the server's reason is known. */
function NotFound({ error }: { error: unknown }) {
  const { t } = useLanguage();
  if (!(error instanceof Problem)) return <Trouble error={error} />;
  const words = error.status === 404 ? t("claim.unknown") : error.status === 422 ? t("claim.mistyped") : "";
  if (!words) return <Trouble error={error} />;
  return (
    <p className="wrong" role="alert">
      {words}
    </p>
  );
}

function SignUp({ code, signedIn }: { code: string; signedIn: () => void }) {
  const { t } = useLanguage();
  const [email, setEmail] = useState("");
  const ways = useWays();
  const send = useMutation({ mutationFn: askClaimLink });
  if (send.isSuccess)
    return (
      <div role="status">
        <h2>{t("signIn.sent.title")}</h2>
        <p>{t("claim.sent", { email })}</p>
        <button type="button" className="quiet" onClick={() => send.reset()}>
          {t("signIn.sent.again")}
        </button>
      </div>
    );
  return (
    <>
      {ways.data?.mail !== false && (
        <form
          onSubmit={(e) => {
            e.preventDefault();
            send.mutate({ code, email });
          }}
        >
          <p>{t("claim.signUp")}</p>
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
            {t("claim.send")}
          </button>
        </form>
      )}
      <OtherWays to="/my/claim" then={signedIn} leaving={() => sessionStorage.setItem(remembered, code)} />
    </>
  );
}

function ByLink({ token }: { token: string }) {
  const { t } = useLanguage();
  const use = useChange(claimByLink);
  if (use.data?.claimed) return <Done claimed={use.data.claimed} />;
  return (
    <section className="sheet narrow">
      <Heading>{t("claim.title")}</Heading>
      {use.data ? (
        <>
          <p role="alert">{t("claim.nothing", { email: use.data.email, why: use.data.why ?? "" })}</p>
          <p>
            <Link to={{ name: "home" }}>{t("nav.home")}</Link>
          </p>
        </>
      ) : use.error instanceof Problem && use.error.status < 500 ? (
        <>
          <p role="alert">{t("claim.link.used")}</p>
          <p>
            <a href="/my/claim">{t("claim.other")}</a>
          </p>
        </>
      ) : (
        <>
          <p>{t("claim.link.text")}</p>
          {use.error && <Trouble error={use.error} />}
          <button type="button" className="main" disabled={use.isPending} onClick={() => use.mutate(token)}>
            {t("claim.link.button")}
          </button>
        </>
      )}
    </section>
  );
}

function Done({ claimed }: { claimed: Claimed }) {
  const { t } = useLanguage();
  if (claimed.state === "asked" || !claimed.unitId)
    return (
      <section className="sheet narrow" role="status">
        <Heading>{t("claim.asked.title")}</Heading>
        <p>{t("claim.asked.text", { product: claimed.product })}</p>
        <p>
          <Link to={{ name: "home" }}>{t("nav.home")}</Link>
        </p>
      </section>
    );
  return (
    <section className="sheet narrow" role="status">
      <Heading>{t("claim.done.title", { product: claimed.product })}</Heading>
      <p>{t("claim.done.text")}</p>
      <ul className="doors">
        <li>
          <Link to={{ name: "data", id: claimed.unitId }}>{t("claim.done.data")}</Link>
        </li>
        <li>
          <Link to={{ name: "unit", id: claimed.unitId }}>{t("claim.done.unit")}</Link>
        </li>
      </ul>
    </section>
  );
}
