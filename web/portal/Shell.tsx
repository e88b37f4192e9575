import type { ReactNode } from "react";
import { Mark } from "../theme/Mark";
import { type Scheme, useScheme } from "../theme/scheme";
import { type At, Link } from "./address";
import type { Me } from "./api";
import { Bars } from "./Bars";
import { languages, names, useLanguage } from "./language";
import { Nav } from "./Nav";
import { knownZone } from "./time";

const schemes: Scheme[] = ["auto", "light", "dark"];

export function Shell({ at, me, children }: { at: At; me?: Me; children: ReactNode }) {
  const { t, code, choose } = useLanguage();
  const [scheme, setScheme] = useScheme();
  return (
    <>
      <a className="skip" href="#content">
        {t("app.skip")}
      </a>
      <header className="top">
        <Link to={{ name: "home" }} className="brand">
          <Mark size={28} />
          {t("app.name")}
        </Link>
        {me && <span className="address">{me.email}</span>}
      </header>
      <div className={me ? "frame" : "frame alone"}>
        {me && <Nav at={at} me={me} />}
        {/* Another one once it is known who looks: the navigation that comes with it moves nothing. */}
        <main key={me ? "in" : "out"} id="content" tabIndex={-1}>
          <Bars />
          {children}
        </main>
      </div>
      <footer className="foot">
        {me && <p>{t("app.zone", { zone: knownZone(me.timeZone) })}</p>}
        <label>
          <span>{t("app.language")}</span>
          <select value={code} onChange={(e) => choose(e.target.value)}>
            {languages.map((l) => (
              <option key={l} value={l} lang={l}>
                {names[l]}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span>{t("app.scheme")}</span>
          <select value={scheme} onChange={(e) => setScheme(e.target.value as Scheme)}>
            {schemes.map((s) => (
              <option key={s} value={s}>
                {t(`app.scheme.${s}`)}
              </option>
            ))}
          </select>
        </label>
      </footer>
    </>
  );
}
