import { unitName } from "../chart/measure";
import type { OwnersUpdate } from "./api";
import { type Key, type Language, useLanguage } from "./language";
import { formatTime, knownZone } from "./time";

type Wait = NonNullable<OwnersUpdate["waiting"]>;

// The server's codes that need no data but a time.
const plain: Record<string, Key> = {
  "outside hours": "wait.hours",
  "too many at once": "wait.turn",
  "too many an hour": "wait.turn",
  "other campaign": "wait.other",
  paused: "wait.paused",
  countdown: "wait.countdown",
  unsigned: "wait.ours",
  "not begun": "wait.ours",
  wave: "wait.ours",
  withdrawn: "wait.withdrawn",
  superseded: "wait.withdrawn",
  ended: "wait.withdrawn",
  hardware: "wait.unfit",
  "installed version": "wait.unfit",
  "required version": "wait.unfit",
  downgrade: "wait.unfit",
  "skilled person": "wait.skilled",
};

/** What an update waits for, with what was measured, and what the owner can do. */
export function WaitingFor({ wait, zone }: { wait: Wait; zone?: string }) {
  const language = useLanguage();
  const { t, locale } = language;
  const z = knownZone(zone);
  return (
    <div className="waiting">
      <p>
        <strong>{waitWords(wait, language, z)}</strong>
      </p>
      {wait.words && <p>{wait.words}</p>}
      {wait.at && <p className="soft">{t("wait.measured", { time: formatTime(wait.at, locale, z) })}</p>}
    </div>
  );
}

/** The sentence for a refusal: by its code, in the owner's language. */
export function waitWords(wait: Wait, { t, locale }: Pick<Language, "t" | "locale">, zone: string): string {
  const until = wait.until ? formatTime(wait.until, locale, zone) : "";
  const what = wait.title || wait.signal || "";
  const value = (v: string | undefined) => {
    if (v === "true") return t("wait.yes");
    if (v === "false") return t("wait.no");
    if (v === undefined || v.trim() === "") return t("wait.unknown");
    const n = Number(v);
    const unit = unitName(wait.unit);
    const said = Number.isFinite(n) ? n.toLocaleString(locale, { maximumSignificantDigits: 4 }) : v;
    return unit ? `${said} ${unit}` : said;
  };
  switch (wait.code) {
    case "precondition": {
      if (!what || wait.need === undefined) return t("wait.precondition");
      const words = { what, have: value(wait.have), need: value(wait.need) };
      if (wait.op === ">=") return t("wait.atLeast", words);
      if (wait.op === ">") return t("wait.moreThan", words);
      if (wait.op === "<=") return t("wait.atMost", words);
      if (wait.op === "<") return t("wait.lessThan", words);
      return t(wait.op === "!=" ? "wait.mustNotBe" : "wait.mustBe", words);
    }
    case "state unknown":
      return what ? t("wait.stateUnknown", { what }) : t("wait.precondition");
    case "retry":
      return t("wait.retry", { done: wait.have ?? "", of: wait.need ?? "", time: until });
    default: {
      const key = plain[wait.code];
      if (!key) return wait.why;
      return until && (key === "wait.hours" || key === "wait.countdown") ? t(`${key}Until`, { time: until }) : t(key);
    }
  }
}
