import type { ComponentType } from "react";
import type { Me } from "./api";
import type { Area, Key } from "./areas";

// Every page of the portal: its address under /my/, its code, and the areas of
// the catalogue that it speaks with. Code and words are fetched when the page is
// opened. A page that stands in the navigation is named in Nav.tsx as well.

/** What a page is given: who is signed in, and what its address names. */
export type PageProps = {
  me: Me;
  /** :id of the address, else "". */
  id: string;
  /** :part of the address, else "". */
  part: string;
};

/** Of a page that is shown without a session. */
export type OpenPageProps = { id: string; part: string };

export type Route = {
  /** Parts in order; :id and :part stand for one part each. */
  path: string;
  /** The title of the window while the page has none of its own. */
  title: Key;
  areas: Area[];
} & (
  | { open?: false; load: () => Promise<ComponentType<PageProps>> }
  | { open: true; load: () => Promise<ComponentType<OpenPageProps>> }
);

const define = <T extends Record<string, Route>>(routes: T) => routes;

export const routes = define({
  home: { path: "", title: "nav.home", areas: [], load: () => import("./pages/HomePage").then((m) => m.HomePage) },
  unit: {
    path: "units/:id",
    title: "nav.product",
    areas: ["unit", "tips"],
    load: () => import("./pages/UnitPage").then((m) => m.UnitPage),
  },
  history: {
    path: "units/:id/history",
    title: "nav.history",
    areas: ["unit", "history"],
    load: () => import("./pages/HistoryPage").then((m) => m.HistoryPage),
  },
  data: {
    path: "units/:id/data",
    title: "nav.data",
    areas: ["data", "looks", "rights"],
    load: () => import("./pages/DataPage").then((m) => m.DataPage),
  },
  looks: {
    path: "looks",
    title: "looks.title",
    areas: ["looks"],
    load: () => import("./pages/LooksPage").then((m) => m.LooksPage),
  },
  people: {
    path: "units/:id/people",
    title: "nav.people",
    areas: ["people"],
    load: () => import("./pages/PeoplePage").then((m) => m.PeoplePage),
  },
  help: {
    path: "units/:id/help",
    title: "nav.help",
    areas: ["help"],
    load: () => import("./pages/HelpPage").then((m) => m.HelpPage),
  },
  notices: {
    path: "notices",
    title: "nav.notices",
    areas: ["notices", "tips"],
    load: () => import("./pages/NoticesPage").then((m) => m.NoticesPage),
  },
  account: {
    path: "account",
    title: "nav.account",
    areas: ["account", "people", "signin"],
    load: () => import("./pages/AccountPage").then((m) => m.AccountPage),
  },
  settings: {
    path: "settings",
    title: "nav.settings",
    areas: ["settings"],
    load: () => import("./pages/SettingsPage").then((m) => m.SettingsPage),
  },
  tips: {
    path: "tips",
    title: "tips.title",
    areas: ["tips"],
    load: () => import("./pages/TipsPage").then((m) => m.TipsPage),
  },
  more: { path: "more", title: "nav.more", areas: [], load: () => import("./pages/MorePage").then((m) => m.MorePage) },
  "sign-in": {
    path: "sign-in",
    title: "nav.signIn",
    areas: ["signin"],
    open: true,
    load: () => import("./pages/SignInPage").then((m) => m.SignInPage),
  },
  erased: {
    path: "erased",
    title: "rights.erased.title",
    areas: ["rights"],
    open: true,
    load: () => import("./pages/ErasedPage").then((m) => m.ErasedPage),
  },
  claim: {
    path: "claim",
    title: "claim.title",
    areas: ["claim", "signin"],
    open: true,
    load: () => import("./pages/ClaimPage").then((m) => m.ClaimPage),
  },
  invitation: {
    path: "invitation",
    title: "invitation.title",
    areas: ["claim", "people"],
    open: true,
    load: () => import("./pages/InvitationPage").then((m) => m.InvitationPage),
  },
  confirm: {
    path: "confirm",
    title: "confirm.title",
    areas: ["claim"],
    open: true,
    load: () => import("./pages/ConfirmPage").then((m) => m.ConfirmPage),
  },
});

export type PageName = keyof typeof routes;
