import { useQueryClient } from "@tanstack/react-query";
import { type ComponentType, lazy, Suspense, useEffect, useRef } from "react";
import { isSignedOut } from "../client/problem";
import { type At, go, Link, type Page, usePage } from "./address";
import { type Me, useLeaving, useMe } from "./api";
import type { Area } from "./areas";
import { useAreas, useLanguage } from "./language";
import { renewPush } from "./pushed";
import { type OpenPageProps, type PageName, type PageProps, type Route, routes } from "./routes";
import { Shell } from "./Shell";
import { Caught, Heading, Loading, Trouble } from "./states";
import { speak } from "./words";

const table: Record<PageName, Route> = routes;
const components = new Map<PageName, ComponentType<PageProps>>();

function componentOf(name: PageName): ComponentType<PageProps> {
  let component = components.get(name);
  if (!component) {
    const load = table[name].load as () => Promise<ComponentType<PageProps>>;
    component = lazy(() => load().then((c) => ({ default: c })));
    components.set(name, component);
  }
  return component;
}

export function App() {
  const at = usePage();
  if (at.name !== "missing" && table[at.name].open)
    return (
      <Shell at={at}>
        <Whole page={at} />
      </Shell>
    );
  return <SignedIn at={at} />;
}

function SignedIn({ at }: { at: At }) {
  const me = useMe();
  useLeaving();
  const { suggest, code } = useLanguage();
  const locale = me.data?.locale;

  useEffect(() => {
    if (locale) suggest(locale);
  }, [locale, suggest]);

  useEffect(() => {
    if (isSignedOut(me.error)) go({ name: "sign-in" }, true);
  }, [me.error]);

  // Messages to this browser are those of whoever is signed in now.
  const who = me.data?.email;
  useEffect(() => {
    if (who) renewPush().catch(() => {});
  }, [who]);

  // What the server says in words is said again in the new language.
  const queries = useQueryClient();
  const asked = useRef(code);
  useEffect(() => {
    if (asked.current === code) return;
    asked.current = code;
    queries.invalidateQueries();
  }, [code, queries]);

  // The page's code and words are fetched while the server says who asks.
  useEffect(() => {
    if (at.name === "missing") return;
    table[at.name].load().catch(() => {});
    speak(code, table[at.name].areas).catch(() => {});
  }, [at.name, code]);

  if (me.data)
    return (
      <Shell at={at} me={me.data}>
        {at.name === "missing" ? <Missing /> : <Whole page={at} me={me.data} />}
      </Shell>
    );
  return (
    <Shell at={at}>
      {me.error && !isSignedOut(me.error) ? <Trouble error={me.error} retry={() => me.refetch()} /> : <Loading />}
    </Shell>
  );
}

/** A page once its code and its words are here; where they cannot be had, that is said. */
function Whole({ page, me }: { page: Page; me?: Me }) {
  const key = `${page.name}/${page.id ?? ""}/${page.part ?? ""}`;
  return (
    <Caught key={key}>
      <Suspense fallback={<Loading />}>
        <Spoken page={page} me={me} areas={table[page.name].areas} />
      </Suspense>
    </Caught>
  );
}

function Spoken({ page, me, areas }: { page: Page; me?: Me; areas: Area[] }) {
  useAreas(areas);
  const { t } = useLanguage();
  const title = t(table[page.name].title);
  useEffect(() => {
    document.title = `${title} – ${t("app.name")}`;
  }, [title, t]);
  const Component = componentOf(page.name) as ComponentType<PageProps | OpenPageProps>;
  return <Component me={me} id={page.id ?? ""} part={page.part ?? ""} />;
}

function Missing() {
  const { t } = useLanguage();
  return (
    <section className="sheet">
      <Heading>{t("app.missing.title")}</Heading>
      <p>{t("app.missing.text")}</p>
      <p>
        <Link to={{ name: "home" }}>{t("nav.home")}</Link>
      </p>
    </section>
  );
}
