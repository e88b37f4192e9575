import { usePreferences } from "./api";
import { useLanguage } from "./language";
import { type Browser, end, turnOff, turnOn, usePush, usePushing } from "./push";
import { Trouble, useReason } from "./states";
import { useTimes } from "./when";

/** Messages to this browser: what they are now, the one button that changes it, and the other browsers that get them. */
export function Pushing() {
  const { t } = useLanguage();
  const pushing = usePushing();
  const preferences = usePreferences();
  const on = usePush(turnOn);
  const off = usePush(turnOff);
  const reason = useReason(off.error);
  const { state, own, others } = pushing.data ?? {};
  const first = preferences.data?.channels?.service?.[0] ?? "mail";
  return (
    <section className="sheet" aria-labelledby="push">
      <h2 id="push">{t("push.title")}</h2>
      <p>{t("push.text")}</p>
      {pushing.error && <Trouble error={pushing.error} retry={() => pushing.refetch()} />}
      <p role="status">
        {state && <strong>{t(`push.${state}`)}</strong>}
        {state === "on" && first !== "push" && ` ${t("push.hint", { push: t("notices.way.push") })}`}
      </p>
      {(state === "off" || state === "on") && (
        <div className="buttons">
          {state === "off" ? (
            <button type="button" className="main" disabled={on.isPending} onClick={() => on.mutate(undefined)}>
              {t("push.turnOn")}
            </button>
          ) : (
            <button type="button" className="quiet" disabled={off.isPending} onClick={() => off.mutate(own ?? "")}>
              {t("push.turnOff")}
            </button>
          )}
        </div>
      )}
      {on.isError && (
        <p role="alert" className="wrong">
          {t("push.failed", { why: on.error.message })}
        </p>
      )}
      {off.isError && (
        <p role="alert" className="wrong">
          {reason}
        </p>
      )}
      {others && others.length > 0 && (
        <>
          <h3>{t("push.others")}</h3>
          <ul className="rows">
            {others.map((b) => (
              <Other key={b.id} browser={b} />
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

function Other({ browser }: { browser: Browser }) {
  const { t } = useLanguage();
  const { day } = useTimes();
  const stop = usePush(end);
  return (
    <li>
      <p className="who">{browser.device}</p>
      <p className="soft">{t("push.since", { day: day(browser.createdAt) })}</p>
      {stop.error && <Trouble error={stop.error} />}
      <button type="button" className="plain" disabled={stop.isPending} onClick={() => stop.mutate(browser.id)}>
        {t("push.end", { device: browser.device })}
      </button>
    </li>
  );
}
