import { useComputedColorScheme } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import { BandChart, type Line } from "../../chart/BandChart";
import { type Prediction, usePrognoses, useUnitPrognosis } from "../api/wear";
import { Time, useClock } from "../clock";
import { Sheet } from "./Page";
import { daysWritten, Remaining, RiskMark } from "./Remaining";
import { Trouble } from "./States";

/** What is foreseen of a unit, and was before. Nothing where nothing of its product is. */
export function UnitPrognosis({ unitId, product }: { unitId: string; product: string }) {
  const prognoses = usePrognoses(product);
  const found = useUnitPrognosis(unitId);
  if (found.error) return <Trouble what="Loading the prognosis" error={found.error} retry={() => found.refetch()} />;
  if (!found.data || !prognoses.data || prognoses.data.length === 0) return null;
  return (
    <Sheet
      title="Prognosis"
      actions={
        <Link to="/risk" search={{ product }}>
          In the list
        </Link>
      }
    >
      {prognoses.data.map((p) => {
        const current = found.data.current.find((c) => c.detector === p.detector);
        const history = found.data.history.filter((c) => c.detector === p.detector);
        return (
          <div key={p.detector}>
            <h3>
              {p.title} <span className="soft">{p.part || "whole unit"}</span>
            </h3>
            {current ? (
              <>
                <p>
                  <RiskMark state={current.state} />
                </p>
                <Remaining of={current} top={Math.max(current.high, 2 * current.horizon, 1)} />
                <ul>
                  {current.reasons.map((r) => (
                    <li key={r.text}>{r.text}</li>
                  ))}
                </ul>
                <p className="soft">
                  Foreseen <Time at={current.at} /> by model {current.model}; the part is in use since{" "}
                  <Time at={current.since} />.
                </p>
              </>
            ) : (
              <p className="soft">
                {p.model === 0
                  ? `No model yet: it needs ${p.needed} failures, and has ${p.failures}.`
                  : "It was not judged yet, or its owner does not permit it."}
              </p>
            )}
            {history.length > 1 && <History of={history} />}
          </div>
        );
      })}
    </Sheet>
  );
}

function History({ of: history }: { of: Prediction[] }) {
  const scheme = useComputedColorScheme();
  const { zone } = useClock();
  const lines = useMemo<Line[]>(() => {
    const past = [...history].reverse();
    return [
      {
        name: "remaining life",
        x: past.map((p) => new Date(p.at).getTime() / 1000),
        mid: past.map((p) => p.median),
        low: past.map((p) => p.low),
        high: past.map((p) => p.high),
      },
    ];
  }, [history]);
  const [newest, oldest] = [history[0], history.at(-1)];
  if (!newest || !oldest) return null;
  return (
    <>
      <h3>Foreseen before</h3>
      <BandChart
        lines={lines}
        time
        utc={zone === "UTC"}
        scheme={scheme}
        level={newest.horizon}
        y={inDays}
        words={`Remaining life as foreseen: ${daysWritten(oldest.median)} at first, ${daysWritten(newest.median)} at last`}
      />
      <p className="soft">
        Remaining life as it was foreseen at each time, with its 80 % interval; dashed: the horizon.
      </p>
    </>
  );
}

const inDays = { write: (v: number) => `${v.toLocaleString("en")} d` };
