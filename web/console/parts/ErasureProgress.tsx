import type { Receipt } from "../api/privacy";

/** How far an erasure is, and what holds it up. */
export function ErasureProgress({ receipt: r }: { receipt: Receipt }) {
  if (r.endedAt) return <span className="mark normal">done</span>;
  return (
    <>
      <progress className="short" value={r.done} max={r.of} aria-label="Steps of the erasure" /> {r.done} of {r.of}
      {r.failed ? <strong className="failed-state"> ! tried again: {r.failed}</strong> : r.step && `, ${r.step}`}
    </>
  );
}
