import type account from "./i18n/en/account.json";
import type claim from "./i18n/en/claim.json";
import type core from "./i18n/en/core.json";
import type data from "./i18n/en/data.json";
import type help from "./i18n/en/help.json";
import type history from "./i18n/en/history.json";
import type looks from "./i18n/en/looks.json";
import type notices from "./i18n/en/notices.json";
import type people from "./i18n/en/people.json";
import type rights from "./i18n/en/rights.json";
import type settings from "./i18n/en/settings.json";
import type signin from "./i18n/en/signin.json";
import type tips from "./i18n/en/tips.json";
import type unit from "./i18n/en/unit.json";

/** The areas of the catalogue. A new one stands here and in i18n/<every language>/. */
export type Areas = {
  account: typeof account;
  claim: typeof claim;
  core: typeof core;
  data: typeof data;
  help: typeof help;
  history: typeof history;
  looks: typeof looks;
  notices: typeof notices;
  people: typeof people;
  rights: typeof rights;
  settings: typeof settings;
  signin: typeof signin;
  tips: typeof tips;
  unit: typeof unit;
};

export type Area = keyof Areas;

type KeysOf<T> = T extends unknown ? keyof T : never;

/** Every key of the catalogue. */
export type Key = KeysOf<Areas[Area]>;
