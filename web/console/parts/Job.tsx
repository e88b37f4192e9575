import { percent } from "../../chart/measure";
import type { Backtest } from "../api/detectors";

const tones: Record<Backtest["state"], string> = {
  waiting: "unknown",
  running: "acting",
  done: "normal",
  failed: "failed",
  cancelled: "unknown",
};

/** How far a job in the background is. */
export function JobMark({ job }: { job: Backtest }) {
  return (
    <span className={`mark ${tones[job.state]}`}>
      {job.state}
      {job.state === "running" && ` ${percent(job.done)}`}
    </span>
  );
}
