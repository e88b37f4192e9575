import type { ReactNode } from "react";
import { bytes, counted, percent, span } from "../../chart/measure";
import type { Release, ReleaseSize } from "../api/releases";
import { Time } from "../clock";

const kindTones: Record<Release["kind"], string> = {
  security: "degraded",
  safety: "failed",
  fix: "acting",
  feature: "normal",
};

export function KindMark({ kind }: { kind: Release["kind"] }) {
  return <span className={`mark ${kindTones[kind]}`}>{kind}</span>;
}

/** What may be done with a release: offered, or not any more. */
export function ReleaseMark({ release: r }: { release: Release }) {
  if (r.withdrawn) return <span className="mark failed">withdrawn</span>;
  if (!r.supported) return <span className="mark degraded">support ended</span>;
  if (r.skilled) return <span className="mark silent">dispatched</span>;
  return <span className="mark normal">may be offered</span>;
}

/** How long an installation takes, and where that is known from. */
export function takes(t: Release["takes"]): string {
  const minutes = span(60 * t.minutes);
  if (t.measured === "declared") return `${minutes}, an estimate`;
  return `${minutes}, nine of ten of ${t.of.toLocaleString("en")}`;
}

export function takesWords(t: Release["takes"]): ReactNode {
  switch (t.measured) {
    case "release":
      return `${span(60 * t.minutes)}: nine of ten of ${counted(t.of, "installation")} took no longer`;
    case "product":
      return `${span(60 * t.minutes)}: nine of ten of ${counted(t.of, "installation")} of the product’s other releases took no longer`;
    case "declared":
      return `${span(60 * t.minutes)}, an estimate until installations have shown it`;
  }
}

const stateWords: Record<string, string> = {
  waiting: "delta waits to be made",
  ready: "delta",
  "does not pay": "image, as a delta would not be smaller",
  failed: "image, as the delta failed",
};

function how(s: ReleaseSize): ReactNode {
  if (s.state === "running") return `delta is being made, ${percent(s.done ?? 0)}`;
  const words = (s.state && stateWords[s.state]) || (s.coding === "zstd" ? "compressed image" : "image");
  return (
    <>
      {words}
      {s.seconds !== undefined && s.state === "ready" && <span className="soft"> made in {span(s.seconds)}</span>}
      {s.why && <div className="soft">{s.why}</div>}
    </>
  );
}

/** What units of each version fetch: a delta where it pays, else the image. */
export function SizesTable({ sizes }: { sizes: ReleaseSize[] }) {
  const several = new Set(sizes.map((s) => s.component)).size > 1;
  return (
    <table className="table">
      <thead>
        <tr>
          <th scope="col">From</th>
          <th scope="col" className="numeric">
            Units
          </th>
          <th scope="col" className="numeric wide">
            Image
          </th>
          <th scope="col" className="numeric">
            Fetched
          </th>
          <th scope="col" className="wide">
            Share of the image
          </th>
          <th scope="col">As</th>
        </tr>
      </thead>
      <tbody>
        {sizes.map((s) => {
          const share = s.full ? s.size / s.full : 1;
          return (
            <tr key={`${s.component}@${s.version}`}>
              <th scope="row">
                {s.version || "any other"}
                {several && <div className="soft">{s.component}</div>}
              </th>
              <td className="numeric">{s.units.toLocaleString("en")}</td>
              <td className="numeric wide">{bytes(s.full)}</td>
              <td className="numeric">
                <strong>{bytes(s.size)}</strong>
              </td>
              <td className="wide">
                <div className="meter" role="img" aria-label={percent(share)}>
                  <span style={{ width: `${Math.min(100, 100 * share)}%` }} />
                </div>
              </td>
              <td>{how(s)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

export function WithdrawnBanner({ release: r }: { release: Release }) {
  if (!r.withdrawn) return null;
  return (
    <p className="verdict" role="status">
      <span className="mark failed">withdrawn</span>
      <span>
        by {r.withdrawn.by}, <Time at={r.withdrawn.at} />: {r.withdrawn.why}
      </span>
    </p>
  );
}
