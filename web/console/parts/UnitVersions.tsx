import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { measure } from "../../chart/measure";
import { type RegisterEntry, type Setting, useRegister, useSettings } from "../api/releases";
import { Time } from "../clock";
import { Sheet } from "./Page";
import { Empty, Loading, Trouble } from "./States";

const tones: Record<RegisterEntry["event"], string> = { installed: "normal", failed: "failed", reported: "unknown" };
const few = 5;

/** The register of what software the unit had and has, with what proves it. */
export function UnitVersions({ unitId }: { unitId: string }) {
  const register = useRegister(unitId);
  const [all, setAll] = useState(false);
  const rows = register.data ?? [];
  return (
    <Sheet title="Register of versions">
      {register.error && (
        <Trouble what="Loading the register" error={register.error} retry={() => register.refetch()} />
      )}
      {register.isPending && <Loading what="the register" />}
      {register.data && rows.length === 0 && (
        <Empty title="Nothing is on record">The unit has not reported a version yet.</Empty>
      )}
      <ul className="plain">
        {rows.slice(0, all ? undefined : few).map((e) => (
          <li key={e.seq}>
            <span className="spread">
              <span className={`mark ${tones[e.event]}`}>{e.event}</span>
              <Time at={e.at} />
            </span>
            <table className="table narrow">
              <tbody>
                {changes(e).map((c) => (
                  <tr key={c.component}>
                    <th scope="row">{c.component}</th>
                    <td>
                      {c.before} → <strong>{c.after}</strong>
                      {c.sha256 && (
                        <>
                          {" "}
                          <code title={`SHA-256 of its image: ${c.sha256}`}>{c.sha256.slice(0, 12)}…</code>
                        </>
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
            <span className="soft">
              {e.release && (
                <>
                  by{" "}
                  <Link to="/releases/$name" params={{ name: e.release }}>
                    {e.release}
                  </Link>
                  {e.campaign && (
                    <>
                      , campaign{" "}
                      <Link to="/campaigns/$name" params={{ name: e.campaign }}>
                        {e.campaign}
                      </Link>
                    </>
                  )}
                  .{" "}
                </>
              )}
              {e.why && `${e.why}. `}
              Entry {e.seq.toLocaleString("en")}, hash <code title={e.hash}>{e.hash.slice(0, 12)}…</code>
            </span>
          </li>
        ))}
      </ul>
      {rows.length > few && (
        <button type="button" className="link" onClick={() => setAll(!all)}>
          {all ? "Show the newest" : `Show all ${rows.length.toLocaleString("en")}`}
        </button>
      )}
      <p className="soft">
        Each entry holds the hash of the one before it: <code>fettle register verify</code> finds any that was changed.
      </p>
    </Sheet>
  );
}

type Change = { component: string; before: string; after: string; sha256?: string };

/** What changed between two states, or all there is if nothing did. */
function changes(e: RegisterEntry): Change[] {
  const before = new Map((e.before ?? []).map((s) => [s.component, s.version]));
  const after = new Map((e.after ?? []).map((s) => [s.component, s]));
  const all = [...new Set([...before.keys(), ...after.keys()])].map((component) => ({
    component,
    before: before.get(component) ?? "none",
    after: after.get(component)?.version ?? "none",
    sha256: after.get(component)?.sha256,
  }));
  const changed = all.filter((c) => c.before !== c.after);
  return changed.length > 0 ? changed : all;
}

const said = (v: unknown, unit: string | undefined): string => {
  if (v === undefined || v === null) return "–";
  if (typeof v === "boolean") return v ? "on" : "off";
  return typeof v === "number" ? measure(v, unit) : String(v);
};

/** Parameters and features: what the unit is set to, and what it says that it is. */
export function UnitSettings({ unitId }: { unitId: string }) {
  const settings = useSettings(unitId);
  if (!settings.data || settings.data.length === 0) return null;
  return (
    <Sheet title="Parameters and features">
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Asked for</th>
            <th scope="col">Reported</th>
            <th scope="col" className="wide">
              Since
            </th>
          </tr>
        </thead>
        <tbody>
          {settings.data.map((s) => (
            <tr key={s.name}>
              <th scope="row">
                {s.name}
                <div className="soft">{s.kind}</div>
                <SettingMark of={s} />
              </th>
              <td>{said(s.desired ?? s.default, s.unit)}</td>
              <td>{said(s.reported, s.unit)}</td>
              <td className="wide">
                <Time at={s.at} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Sheet>
  );
}

function SettingMark({ of: s }: { of: Setting }) {
  if (s.drifted) return <span className="mark degraded">drifted</span>;
  if (s.desired === undefined) return <span className="mark unknown">as made</span>;
  if (s.reported === undefined) return <span className="mark acting">not reported</span>;
  return <span className="mark normal">as asked</span>;
}
