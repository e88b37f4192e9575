import { lazy, type ReactNode, Suspense, useEffect } from "react";
import { isSignedOut } from "../client/problem";
import { go, Link, usePage } from "./address";
import { useMe } from "./api";
import { useLanguage } from "./language";
import { HomePage } from "./pages/HomePage";
import { SignInPage } from "./pages/SignInPage";
import { Shell } from "./Shell";
import { Loading, Trouble } from "./states";

const SettingsPage = lazy(() => import("./pages/SettingsPage").then((m) => ({ default: m.SettingsPage })));
const UnitPage = lazy(() => import("./pages/UnitPage").then((m) => ({ default: m.UnitPage })));

export function App() {
  const page = usePage();
  if (page.name === "sign-in")
    return (
      <Shell>
        <SignInPage />
      </Shell>
    );
  return <SignedIn />;
}

function SignedIn() {
  const page = usePage();
  const me = useMe();
  const { suggest } = useLanguage();
  const locale = me.data?.locale;

  useEffect(() => {
    if (locale) suggest(locale);
  }, [locale, suggest]);

  useEffect(() => {
    if (isSignedOut(me.error)) go({ name: "sign-in" }, true);
  }, [me.error]);

  let content: ReactNode;
  if (me.data) {
    if (page.name === "home") content = <HomePage me={me.data} />;
    else if (page.name === "unit") content = <UnitPage key={page.id} me={me.data} id={page.id} />;
    else if (page.name === "settings") content = <SettingsPage me={me.data} />;
    else content = <Missing />;
  } else if (me.error && !isSignedOut(me.error)) content = <Trouble error={me.error} retry={() => me.refetch()} />;
  else content = <Loading />;

  return (
    <Shell me={me.data}>
      <Suspense fallback={<Loading />}>{content}</Suspense>
    </Shell>
  );
}

function Missing() {
  const { t } = useLanguage();
  return (
    <section className="sheet">
      <h1>{t("app.missing.title")}</h1>
      <p>{t("app.missing.text")}</p>
      <p>
        <Link to={{ name: "home" }}>{t("app.home")}</Link>
      </p>
    </section>
  );
}
