import type { OwnersUpdate } from "./api";
import { hours } from "./figures";
import { useLanguage } from "./language";
import { formatTime } from "./time";

/** How far it has been shown that the fault is gone. */
export function Proof({ update, zone }: { update: OwnersUpdate; zone: string }) {
  const { t, locale } = useLanguage();
  const p = update.proof;
  if (!p || update.state === "relapsed" || update.state === "not judgeable") return null;
  const done = p.seen >= p.needed;
  // Never shown as whole before it is.
  const seen = done ? p.needed : Math.floor(p.seen * 10) / 10;
  const words = t(done ? "proof.done" : seen > 0 ? "proof.some" : "proof.none", {
    seen: hours(seen, locale),
    needed: hours(p.needed, locale),
  });
  return (
    <div className="proof">
      <h3 id={`proof-${update.id}`}>{t("proof.heading")}</h3>
      <progress aria-labelledby={`proof-${update.id}`} aria-valuetext={words} value={seen} max={p.needed} />
      <p>{words}</p>
      {p.title && <p className="soft">{t(done ? "proof.was" : "proof.watched", { what: p.title })}</p>}
      {!done && p.lastAt && <p className="soft">{t("proof.last", { time: formatTime(p.lastAt, locale, zone) })}</p>}
    </div>
  );
}
