import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { counted } from "../../chart/measure";
import { useDryRun } from "../api/campaigns";
import { Dialog } from "./Dialog";
import { Loading, reasonOf } from "./States";

/** Asks the server who would be offered the remedy, who not, and why. Nothing is changed. */
export function DryRunButton({ name }: { name: string }) {
  const dry = useDryRun(name);
  const [open, setOpen] = useState(false);
  const d = dry.data;
  return (
    <>
      <Button
        variant="default"
        onClick={() => {
          // At once: the dialog gives the focus back to what has it when it opens.
          setOpen(true);
          dry.mutate();
        }}
      >
        Dry run
      </Button>
      <Dialog open={open} close={() => setOpen(false)} title="What a start would do" size="xl">
        {dry.isPending && <Loading what="who would be offered it" />}
        {dry.error && <p role="alert">{reasonOf(dry.error)}</p>}
        {d && (
          <>
            <p>
              <strong>{d.offeredCount.toLocaleString("en")}</strong> {d.offeredCount === 1 ? "unit" : "units"} would be
              offered the remedy, <strong>{d.notCount.toLocaleString("en")}</strong> would not. Verified by{" "}
              {d.detector.name} version {d.detector.version}.
            </p>
            {d.waiting && (
              <p role="alert">
                None could install it yet, whatever owners choose: {d.waiting.code}, {d.waiting.why}
              </p>
            )}
            <ul>
              {d.waves.map((w) => (
                <li key={w.name}>
                  Wave {w.name}: {counted(w.units, "unit")}
                </li>
              ))}
            </ul>
            {d.notCount > 0 && (
              <>
                <h3>Not offered</h3>
                <ul>
                  {Object.entries(d.notByCode).map(([code, n]) => (
                    <li key={code}>
                      {code}: {n.toLocaleString("en")}
                    </li>
                  ))}
                </ul>
                {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
                <section className="scroll" tabIndex={0} aria-label="Units not offered">
                  <table className="table">
                    <thead>
                      <tr>
                        <th scope="col">Unit</th>
                        <th scope="col">Why</th>
                      </tr>
                    </thead>
                    <tbody>
                      {d.not.map((n) => (
                        <tr key={n.unitId}>
                          <td>
                            <Link to="/units/$id" params={{ id: n.unitId }}>
                              {n.unitId}
                            </Link>
                          </td>
                          <td>{n.why}</td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </section>
                {d.not.length < d.notCount && (
                  <p className="soft">The first {d.not.length.toLocaleString("en")} are listed.</p>
                )}
              </>
            )}
            <p>
              <a href={`/v1/campaigns/${encodeURIComponent(name)}/dry-run/units?format=csv`} download>
                Every unit, as CSV
              </a>
            </p>
          </>
        )}
      </Dialog>
    </>
  );
}
