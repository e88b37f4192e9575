import { getRouteApi, Link } from "@tanstack/react-router";
import { counted, lasting, percent } from "../../chart/measure";
import { type DetectorDetail, useBacktests, useDetector } from "../api/detectors";
import { Time } from "../clock";
import { JobMark } from "../parts/Job";
import { SeverityMark } from "../parts/Mark";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Empty, Loading, Trouble } from "../parts/States";
import { falseAlarms } from "./DetectorsPage";

const route = getRouteApi("/shell/detectors/$name");

export function DetectorPage() {
  const { name } = route.useParams();
  const detector = useDetector(name);
  if (detector.error)
    return <PageTrouble what={`Loading detector ${name}`} error={detector.error} retry={() => detector.refetch()} />;
  if (!detector.data) return <Loading what="the detector" lines={10} />;
  const d = detector.data;
  return (
    <Page
      title={d.title}
      above={
        <>
          <Link to="/detectors">Detectors</Link>
          <Link to="/products/$name" params={{ name: d.product }}>
            {d.productTitle}
          </Link>
        </>
      }
      actions={
        <>
          <Link to="/findings" search={{ detector: d.name }} className="act quiet">
            Its findings
          </Link>
          {d.threshold && (
            <Link to="/detectors/$name/backtest" params={{ name: d.name }} className="act">
              Backtest
            </Link>
          )}
        </>
      }
    >
      <div className="verdict">
        <SeverityMark severity={d.severity} />
        <span className="mark unknown">{d.type}</span>
        <span>
          {d.name}, version {d.version}
        </span>
      </div>
      <Sheet title="What it does">
        <ul className="plain">
          {d.words.map((w) => (
            <li key={w}>{w}</li>
          ))}
        </ul>
      </Sheet>
      <div className="pair">
        <HowItDoes detector={d} />
        {d.threshold && <Tried name={d.name} />}
      </div>
      <Versions detector={d} />
    </Page>
  );
}

function HowItDoes({ detector: d }: { detector: DetectorDetail }) {
  const c = d.counts;
  const said = c.confirmed + c.noFaultFound;
  const perYear = (n: number) =>
    `${n.toLocaleString("en", { maximumSignificantDigits: 3 })} ${n === 1 ? "alarm" : "alarms"} a unit-year`;
  return (
    <Sheet title="How it does">
      <Facts
        facts={[
          ["Findings", `${c.findings.toLocaleString("en")}, ${c.open.toLocaleString("en")} of them open`],
          ["Confirmed", said === 0 ? "nobody has said" : `${c.confirmed} of ${said} looked at`],
          ["False alarms", said === 0 ? falseAlarms(c) : `${falseAlarms(c)} (${percent(c.noFaultFound / said)})`],
          ["Budget stated", d.use?.stated ? perYear(d.use.stated) : "none"],
          [
            "Used",
            d.use?.used !== undefined
              ? `${perYear(d.use.used)}, over ${counted(Math.round(d.use.unitYears * 100) / 100, "unit-year")} judged`
              : "too little was judged to say",
          ],
        ]}
      />
      {d.use?.stated !== undefined && d.use.stated > 0 && (d.use.used ?? 0) > d.use.stated && (
        <p>
          <span className="mark degraded">over budget</span> It raises more alarms than it states. Look at which units
          do, or try another threshold on history.
        </p>
      )}
      <p className="soft">What was found at the unit is said on each finding’s page.</p>
    </Sheet>
  );
}

function Tried({ name }: { name: string }) {
  const jobs = useBacktests(name);
  return (
    <Sheet title="Tried on history">
      {jobs.error && <Trouble what="Loading backtests" error={jobs.error} retry={() => jobs.refetch()} />}
      {jobs.isPending && <Loading what="backtests" />}
      {jobs.data?.length === 0 && (
        <Empty title="Not yet">A backtest says what other thresholds would have found, and what they would cost.</Empty>
      )}
      <ul className="plain">
        {jobs.data?.slice(0, 8).map((j) => (
          <li key={j.id} className="spread">
            <Link to="/detectors/$name/backtest" params={{ name }} search={{ id: j.id }}>
              <Time at={j.at} />
            </Link>
            <JobMark job={j} />
          </li>
        ))}
      </ul>
    </Sheet>
  );
}

function Versions({ detector: d }: { detector: DetectorDetail }) {
  return (
    <Sheet title="Versions">
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Version</th>
            <th scope="col">What changed</th>
            <th scope="col" className="numeric">
              Findings
            </th>
            <th scope="col" className="wide">
              False alarms
            </th>
          </tr>
        </thead>
        <tbody>
          {d.versions.map((v) => (
            <tr key={v.version}>
              <th scope="row">{v.version}</th>
              <td>
                {v.changes.length === 0 && <span className="soft">{v.version === 1 ? "the first" : "nothing"}</span>}
                <ul className="plain changes">
                  {v.changes.map((c) => (
                    <li key={c.field}>
                      <strong>{c.field}</strong>{" "}
                      {c.before === undefined ? (
                        <>
                          set to <code>{lasting(c.after ?? "")}</code>
                        </>
                      ) : c.after === undefined ? (
                        <>
                          no longer set (was <code>{lasting(c.before)}</code>)
                        </>
                      ) : (
                        <>
                          from <code>{lasting(c.before)}</code> to <code>{lasting(c.after)}</code>
                        </>
                      )}
                    </li>
                  ))}
                </ul>
              </td>
              <td className="numeric">{v.counts.findings}</td>
              <td className="wide day">{falseAlarms(v.counts)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Sheet>
  );
}
