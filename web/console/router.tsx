import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Outlet } from "@tanstack/react-router";
import { Missing, PageError } from "./parts/States";
import { Shell } from "./Shell";

// Filters and sorting stand in the address as plain strings, so that a view can
// be bookmarked and sent to a colleague.

type Search<K extends string> = { [P in K]?: string };

function strings<const K extends string>(...keys: K[]) {
  return (raw: Record<string, unknown>): Search<K> => {
    const search: Search<K> = {};
    for (const k of keys) {
      const v = raw[k];
      if (typeof v === "string" && v !== "") search[k] = v;
    }
    return search;
  };
}

const root = createRootRoute({
  component: Outlet,
  notFoundComponent: () => (
    <main>
      <Missing />
    </main>
  ),
});

const signIn = createRoute({
  getParentRoute: () => root,
  path: "sign-in",
  component: lazyRouteComponent(() => import("./pages/SignInPage"), "SignInPage"),
});

const shell = createRoute({
  getParentRoute: () => root,
  id: "shell",
  component: Shell,
  errorComponent: PageError,
  notFoundComponent: Missing,
});

/** An address of no page: the menu stays. */
const missing = createRoute({ getParentRoute: () => shell, path: "$", component: Missing });

const overview = createRoute({
  getParentRoute: () => shell,
  path: "/",
  component: lazyRouteComponent(() => import("./pages/OverviewPage"), "OverviewPage"),
});

const units = createRoute({
  getParentRoute: () => shell,
  path: "units",
  validateSearch: strings("product", "state", "condition", "version", "hardware", "batch", "region", "q", "sort"),
  component: lazyRouteComponent(() => import("./pages/UnitsPage"), "UnitsPage"),
});

const unit = createRoute({
  getParentRoute: () => shell,
  path: "units/$id",
  validateSearch: strings("range", "from", "to"),
  component: lazyRouteComponent(() => import("./pages/UnitPage"), "UnitPage"),
});

const findings = createRoute({
  getParentRoute: () => shell,
  path: "findings",
  validateSearch: strings("product", "unit", "detector", "state", "severity", "shelved", "sort"),
  component: lazyRouteComponent(() => import("./pages/FindingsPage"), "FindingsPage"),
});

const finding = createRoute({
  getParentRoute: () => shell,
  path: "findings/$id",
  component: lazyRouteComponent(() => import("./pages/FindingPage"), "FindingPage"),
});

const risk = createRoute({
  getParentRoute: () => shell,
  path: "risk",
  validateSearch: strings("product", "detector", "state", "sort"),
  component: lazyRouteComponent(() => import("./pages/RiskPage"), "RiskPage"),
});

const parts = createRoute({
  getParentRoute: () => shell,
  path: "parts",
  validateSearch: strings("product", "part", "by", "months"),
  component: lazyRouteComponent(() => import("./pages/PartLifePage"), "PartLifePage"),
});

const cohorts = createRoute({
  getParentRoute: () => shell,
  path: "cohorts",
  validateSearch: strings("product", "sort"),
  component: lazyRouteComponent(() => import("./pages/CohortsPage"), "CohortsPage"),
});

const newCohort = createRoute({
  getParentRoute: () => shell,
  path: "cohorts/new",
  validateSearch: strings("finding"),
  component: lazyRouteComponent(() => import("./pages/NewCohortPage"), "NewCohortPage"),
});

const cohort = createRoute({
  getParentRoute: () => shell,
  path: "cohorts/$id",
  validateSearch: strings("list", "q", "sort"),
  component: lazyRouteComponent(() => import("./pages/CohortPage"), "CohortPage"),
});

const campaigns = createRoute({
  getParentRoute: () => shell,
  path: "campaigns",
  validateSearch: strings("product", "state", "sort"),
  component: lazyRouteComponent(() => import("./pages/CampaignsPage"), "CampaignsPage"),
});

const campaign = createRoute({
  getParentRoute: () => shell,
  path: "campaigns/$name",
  validateSearch: strings("state", "wave", "unit", "code", "sort"),
  component: lazyRouteComponent(() => import("./pages/CampaignPage"), "CampaignPage"),
});

const report = createRoute({
  getParentRoute: () => shell,
  path: "campaigns/$name/report",
  component: lazyRouteComponent(() => import("./pages/ReportPage"), "ReportPage"),
});

const releases = createRoute({
  getParentRoute: () => shell,
  path: "releases",
  validateSearch: strings("product", "sort"),
  component: lazyRouteComponent(() => import("./pages/ReleasesPage"), "ReleasesPage"),
});

const release = createRoute({
  getParentRoute: () => shell,
  path: "releases/$name",
  validateSearch: strings("holding", "sort"),
  component: lazyRouteComponent(() => import("./pages/ReleasePage"), "ReleasePage"),
});

const keys = createRoute({
  getParentRoute: () => shell,
  path: "keys",
  component: lazyRouteComponent(() => import("./pages/TrustPage"), "TrustPage"),
});

const detectors = createRoute({
  getParentRoute: () => shell,
  path: "detectors",
  validateSearch: strings("product", "sort"),
  component: lazyRouteComponent(() => import("./pages/DetectorsPage"), "DetectorsPage"),
});

const detector = createRoute({
  getParentRoute: () => shell,
  path: "detectors/$name",
  component: lazyRouteComponent(() => import("./pages/DetectorPage"), "DetectorPage"),
});

const backtest = createRoute({
  getParentRoute: () => shell,
  path: "detectors/$name/backtest",
  validateSearch: strings("id", "at"),
  component: lazyRouteComponent(() => import("./pages/BacktestPage"), "BacktestPage"),
});

const products = createRoute({
  getParentRoute: () => shell,
  path: "products",
  component: lazyRouteComponent(() => import("./pages/ProductsPage"), "ProductsPage"),
});

const product = createRoute({
  getParentRoute: () => shell,
  path: "products/$name",
  component: lazyRouteComponent(() => import("./pages/ProductPage"), "ProductPage"),
});

const claims = createRoute({
  getParentRoute: () => shell,
  path: "claims",
  validateSearch: strings("state", "sort"),
  component: lazyRouteComponent(() => import("./pages/ClaimsPage"), "ClaimsPage"),
});

const tokens = createRoute({
  getParentRoute: () => shell,
  path: "tokens",
  validateSearch: strings("sort"),
  component: lazyRouteComponent(() => import("./pages/TokensPage"), "TokensPage"),
});

const notifications = createRoute({
  getParentRoute: () => shell,
  path: "notifications",
  validateSearch: strings("sort"),
  component: lazyRouteComponent(() => import("./pages/NotificationsPage"), "NotificationsPage"),
});

const delivery = createRoute({
  getParentRoute: () => shell,
  path: "delivery",
  validateSearch: strings("tab", "state", "channel", "kind", "owner", "about", "sort"),
  component: lazyRouteComponent(() => import("./pages/DeliveryPage"), "DeliveryPage"),
});

const message = createRoute({
  getParentRoute: () => shell,
  path: "delivery/$id",
  component: lazyRouteComponent(() => import("./pages/MessagePage"), "MessagePage"),
});

const templates = createRoute({
  getParentRoute: () => shell,
  path: "templates",
  component: lazyRouteComponent(() => import("./pages/TemplatesPage"), "TemplatesPage"),
});

const template = createRoute({
  getParentRoute: () => shell,
  path: "templates/$name",
  component: lazyRouteComponent(() => import("./pages/TemplatePage"), "TemplatePage"),
});

const tips = createRoute({
  getParentRoute: () => shell,
  path: "tips",
  component: lazyRouteComponent(() => import("./pages/TipsPage"), "TipsPage"),
});

const ladders = createRoute({
  getParentRoute: () => shell,
  path: "ladders",
  component: lazyRouteComponent(() => import("./pages/LaddersPage"), "LaddersPage"),
});

const letters = createRoute({
  getParentRoute: () => shell,
  path: "letters",
  component: lazyRouteComponent(() => import("./pages/LettersPage"), "LettersPage"),
});

const calls = createRoute({
  getParentRoute: () => shell,
  path: "calls",
  component: lazyRouteComponent(() => import("./pages/CallsPage"), "CallsPage"),
});

const audit = createRoute({
  getParentRoute: () => shell,
  path: "audit",
  validateSearch: strings("kind", "actor", "person", "object", "operation", "from", "to"),
  component: lazyRouteComponent(() => import("./pages/AuditPage"), "AuditPage"),
});

const requests = createRoute({
  getParentRoute: () => shell,
  path: "requests",
  validateSearch: strings("tab", "kind", "person"),
  component: lazyRouteComponent(() => import("./pages/RequestsPage"), "RequestsPage"),
});

const datasheet = createRoute({
  getParentRoute: () => shell,
  path: "products/$name/datasheet",
  validateSearch: strings("lang"),
  component: lazyRouteComponent(() => import("./pages/DatasheetPage"), "DatasheetPage"),
});

const notices = createRoute({
  getParentRoute: () => shell,
  path: "notices",
  validateSearch: strings("product"),
  component: lazyRouteComponent(() => import("./pages/NoticesPage"), "NoticesPage"),
});

const notice = createRoute({
  getParentRoute: () => shell,
  path: "notices/$product/versions/$version",
  validateSearch: strings("lang"),
  component: lazyRouteComponent(() => import("./pages/NoticePage"), "NoticePage"),
});

const publish = createRoute({
  getParentRoute: () => shell,
  path: "notices/$product/publish",
  component: lazyRouteComponent(() => import("./pages/PublishPage"), "PublishPage"),
});

const consent = createRoute({
  getParentRoute: () => shell,
  path: "consent",
  validateSearch: strings("product", "unit"),
  component: lazyRouteComponent(() => import("./pages/ConsentPage"), "ConsentPage"),
});

const account = createRoute({
  getParentRoute: () => shell,
  path: "account",
  component: lazyRouteComponent(() => import("./pages/AccountPage"), "AccountPage"),
});

const people = createRoute({
  getParentRoute: () => shell,
  path: "people",
  validateSearch: strings("sort"),
  component: lazyRouteComponent(() => import("./pages/PeoplePage"), "PeoplePage"),
});

const approvals = createRoute({
  getParentRoute: () => shell,
  path: "approvals",
  component: lazyRouteComponent(() => import("./pages/ApprovalsPage"), "ApprovalsPage"),
});

export const router = createRouter({
  routeTree: root.addChildren([
    signIn,
    shell.addChildren([
      overview,
      account,
      people,
      approvals,
      units,
      unit,
      findings,
      finding,
      risk,
      parts,
      cohorts,
      newCohort,
      cohort,
      campaigns,
      campaign,
      report,
      releases,
      release,
      keys,
      detectors,
      detector,
      backtest,
      products,
      product,
      datasheet,
      notices,
      notice,
      publish,
      consent,
      claims,
      tokens,
      notifications,
      delivery,
      message,
      templates,
      template,
      ladders,
      tips,
      letters,
      calls,
      audit,
      requests,
      missing,
    ]),
  ]),
  basepath: "/console",
  parseSearch: (text) => Object.fromEntries(new URLSearchParams(text)),
  stringifySearch: (search) => {
    const given = Object.entries(search).filter(([, v]) => v !== undefined && v !== "");
    const text = new URLSearchParams(given.map(([k, v]) => [k, String(v)])).toString();
    return text ? `?${text}` : "";
  },
  defaultPreload: "intent",
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
