import { type FormEvent, useEffect, useRef, useState } from "react";
import { type Choice, type Me, type OwnersUpdate, useChoose } from "./api";
import { type Key, useLanguage } from "./language";
import { useReason } from "./states";
import { formatTime, instantOf, knownZone, wallTime } from "./time";

const labels: Record<Exclude<Choice, "decline">, Key> = {
  now: "choice.now",
  tonight: "choice.tonight",
  at: "choice.at",
  "not now": "choice.notNow",
};

type Asking = "time" | "decline" | null;

/** What the owner may say to an offer. The server says which choices are open. */
export function Choices({ update, me }: { update: OwnersUpdate; me: Me }) {
  const { t } = useLanguage();
  const choose = useChoose(update.id);
  const reason = useReason(choose.error);
  const [asking, setAsking] = useState<Asking>(null);
  // Who works by keyboard is never left on a button that is gone: a question leads back to what opened
  // it, an answer to what it led to, a refusal to what was pressed.
  const left = useRef<Asking>(null);
  const pressed = useRef<Element>(null);
  const opener = (of: Asking) => (b: HTMLButtonElement | null) => {
    if (!b || left.current !== of) return;
    left.current = null;
    b.focus();
  };
  const back = () => {
    left.current = asking;
    setAsking(null);
  };
  useEffect(() => {
    if (choose.isError && pressed.current instanceof HTMLElement) pressed.current.focus();
  }, [choose.isError]);
  const decided = update.state !== "offered";
  // Where it has begun, the unit can wait before its next step, and go on.
  const begun = update.state === "installing";
  const label = (c: keyof typeof labels) =>
    t(begun && c === "now" ? "choice.goOn" : begun && c === "not now" ? "choice.hold" : labels[c]);

  function answer(choice: Choice, at?: string) {
    pressed.current = document.activeElement;
    choose.mutate(
      { choice, at },
      {
        onSuccess: () => {
          setAsking(null);
          document.getElementById(`state-${update.id}`)?.focus();
        },
      },
    );
  }

  return (
    <div className="choices">
      {!begun && <h3>{t(decided ? "choice.change" : "choice.heading")}</h3>}
      {decided && !begun && <p className="soft">{t("choice.changeText")}</p>}
      {choose.isError && (
        <p className="wrong" role="alert">
          {reason}
        </p>
      )}
      {asking === "time" && (
        <SetTime update={update} me={me} busy={choose.isPending} set={(at) => answer("at", at)} back={back} />
      )}
      {asking === "decline" && (
        <ConfirmDecline update={update} busy={choose.isPending} decline={() => answer("decline")} back={back} />
      )}
      {asking === null && (
        <>
          <div className="buttons">
            {(["now", "tonight", "at", "not now"] as const)
              .filter((c) => update.choices.includes(c))
              .map((c) => (
                <button
                  key={c}
                  ref={c === "at" ? opener("time") : undefined}
                  type="button"
                  className={c === "now" && !decided ? "main" : "quiet"}
                  disabled={choose.isPending}
                  onClick={() => (c === "at" ? setAsking("time") : answer(c))}
                >
                  {label(c)}
                </button>
              ))}
          </div>
          {update.choices.includes("decline") && (
            <button type="button" className="plain" ref={opener("decline")} onClick={() => setAsking("decline")}>
              {t("choice.decline")}
            </button>
          )}
        </>
      )}
    </div>
  );
}

type SetTimeProps = { update: OwnersUpdate; me: Me; busy: boolean; set: (at: string) => void; back: () => void };

function SetTime({ update, me, busy, set, back }: SetTimeProps) {
  const { t, locale } = useLanguage();
  const zone = knownZone(me.timeZone);
  const now = new Date(me.now);
  const [local, setLocal] = useState(() => wallTime(update.at ? new Date(update.at) : soonEvening(now, zone), zone));
  const [wrong, setWrong] = useState("");
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.focus(), []);

  function submit(e: FormEvent) {
    e.preventDefault();
    const at = local ? instantOf(local, zone) : null;
    if (!at) setWrong(t("choice.empty"));
    else if (at <= now) setWrong(t("choice.past"));
    else if (update.deadline && at > new Date(update.deadline))
      setWrong(t("choice.late", { deadline: formatTime(update.deadline, locale, zone) }));
    else set(at.toISOString());
  }

  return (
    <form onSubmit={submit} noValidate>
      <label className="field">
        <span>{t("choice.when", { zone })}</span>
        <input
          ref={input}
          type="datetime-local"
          value={local}
          min={wallTime(now, zone)}
          max={update.deadline ? wallTime(new Date(update.deadline), zone) : undefined}
          aria-invalid={wrong !== ""}
          aria-describedby={wrong ? "wrong-time" : undefined}
          onChange={(e) => {
            setLocal(e.target.value);
            setWrong("");
          }}
        />
      </label>
      {wrong && (
        <p className="wrong" id="wrong-time" role="alert">
          {wrong}
        </p>
      )}
      <div className="buttons">
        <button type="submit" className="main" disabled={busy}>
          {t("choice.confirm")}
        </button>
        <button type="button" className="quiet" onClick={back}>
          {t("choice.back")}
        </button>
      </div>
    </form>
  );
}

/** A first suggestion: 20:00 of this day, or of the next when it is past. */
function soonEvening(now: Date, zone: string): Date {
  const evening = instantOf(`${wallTime(now, zone).slice(0, 10)}T20:00`, zone);
  return evening > now ? evening : new Date(evening.getTime() + 24 * 3600 * 1000);
}

type DeclineProps = { update: OwnersUpdate; busy: boolean; decline: () => void; back: () => void };

function ConfirmDecline({ update, busy, decline, back }: DeclineProps) {
  const { t } = useLanguage();
  const safety = update.kind === "safety" || update.kind === "recall";
  const first = useRef<HTMLButtonElement>(null);
  useEffect(() => first.current?.focus(), []);
  return (
    <section className="ask" aria-labelledby="decline">
      <h4 id="decline">{t("choice.decline.title")}</h4>
      <p>{t(safety ? "choice.decline.textSafety" : "choice.decline.text")}</p>
      <div className="buttons">
        <button type="button" className="quiet" ref={first} onClick={back}>
          {t("choice.back")}
        </button>
        <button type="button" className="quiet danger" disabled={busy} onClick={decline}>
          {t("choice.decline.confirm")}
        </button>
      </div>
    </section>
  );
}
