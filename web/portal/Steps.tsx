import type { OwnersUpdate } from "./api";
import { useLanguage } from "./language";

type Stage = OwnersUpdate["stage"];

const track = ["accepted", "downloading", "ready", "installing", "rebooting", "verifying", "done"] as const;

/** Stages that stand where another one of the track does. */
const stands: Partial<Record<Stage, (typeof track)[number]>> = {
  scheduled: "accepted",
  countdown: "accepted",
  waiting: "accepted",
  relapsed: "verifying",
};

// How far each attempt has been shown to be. Answers may cross on their way
// here; an older one never moves a newer one back.
const reached = new Map<string, number>();

/** The furthest of an attempt that has been seen. */
export function furthest(key: string, now: number): number {
  const most = Math.max(now, reached.get(key) ?? now);
  reached.set(key, most);
  return most;
}

/** Where an update stands on its way, and from where on it can no longer be stopped. */
export function Steps({ update }: { update: OwnersUpdate }) {
  const { t } = useLanguage();
  const at = track.indexOf(stands[update.stage] ?? (update.stage as (typeof track)[number]));
  if (at < 0) return null;
  const now = furthest(`${update.id} ${update.attempt ?? 0}`, at);
  return (
    <ol className="steps" aria-label={t("steps.label")}>
      {track.map((stage, i) => (
        <li
          key={stage}
          className={i < now ? "past" : i === now ? "now" : undefined}
          aria-current={i === now ? "step" : undefined}
        >
          <span>{t(`steps.${stage}`)}</span>
          {stage === "installing" && now < i && <small>{t("steps.point")}</small>}
        </li>
      ))}
    </ol>
  );
}
