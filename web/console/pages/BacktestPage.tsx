import { Button, Group, NumberInput, Progress, Text } from "@mantine/core";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { counted, lasting, percent, span } from "../../chart/measure";
import {
  type Backtest,
  type BacktestResult,
  type DetectorDetail,
  type DetectorSpec,
  ended,
  useApplyDetector,
  useBacktest,
  useBacktests,
  useCancelBacktest,
  useDetector,
} from "../api/detectors";
import { useMay } from "../api/session";
import { Time } from "../clock";
import { AlarmCharts } from "../parts/AlarmCharts";
import { BacktestForm } from "../parts/BacktestForm";
import { Confirm } from "../parts/Confirm";
import { JobMark } from "../parts/Job";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Empty, Loading, reasonOf, Trouble } from "../parts/States";
import { ThresholdCurves, thresholdText } from "../parts/ThresholdCurves";

const route = getRouteApi("/shell/detectors/$name/backtest");

/** A detector tried on history: the threshold is moved, and the alarms move. */
export function BacktestPage() {
  const { name } = route.useParams();
  const search = route.useSearch();
  const detector = useDetector(name);
  const jobs = useBacktests(name);
  // Without one in the address: the newest that is of use.
  const id = search.id ?? jobs.data?.find((j) => j.state === "done" || !ended(j))?.id;
  const job = useBacktest(id);
  if (detector.error)
    return <PageTrouble what={`Loading detector ${name}`} error={detector.error} retry={() => detector.refetch()} />;
  if (jobs.error) return <PageTrouble what="Loading backtests" error={jobs.error} retry={() => jobs.refetch()} />;
  if (!detector.data || !jobs.data) return <Loading what="the backtest" lines={10} />;
  const d = detector.data;
  return (
    <Page
      title={`Backtest: ${d.title}`}
      above={
        <>
          <Link to="/detectors">Detectors</Link>
          <Link to="/detectors/$name" params={{ name }}>
            {d.title}
          </Link>
        </>
      }
      actions={<BacktestForm detector={d} />}
    >
      {id === undefined && (
        <Sheet title="Not tried yet">
          <Empty title="This detector has not been tried on history">
            A backtest runs it, with other thresholds beside its own, over all that history holds and owners permit. It
            changes nothing and tells nobody. Begin one above.
          </Empty>
        </Sheet>
      )}
      {job.error && <Trouble what="Loading the backtest" error={job.error} retry={() => job.refetch()} />}
      {id !== undefined && job.isPending && <Loading what="the backtest" lines={8} />}
      {job.data && !ended(job.data) && <Underway job={job.data} />}
      {job.data && (job.data.state === "failed" || job.data.state === "cancelled") && (
        <Sheet title={job.data.state === "failed" ? "It failed" : "It was cancelled"}>
          <p role="alert">{job.data.why}</p>
        </Sheet>
      )}
      {job.data?.result && <Outcome key={job.data.id} detector={d} job={job.data} result={job.data.result} />}
      <Earlier name={name} jobs={jobs.data} shown={id} />
    </Page>
  );
}

function Underway({ job }: { job: Backtest }) {
  const cancel = useCancelBacktest(job.detector.name);
  const may = useMay("analyse");
  return (
    <Sheet title={job.state === "waiting" ? "It waits for others to end" : "It runs"}>
      <div role="status" className="unseen">
        {job.state}, {percent(job.done)}
      </div>
      <Progress value={100 * job.done} aria-label="How far it is" mb="sm" />
      <p>
        {percent(job.done)}, {counted(job.rows, "message")} read.
        {job.begun > 1 && " The service was restarted meanwhile: it was begun again."}
      </p>
      {may && (
        <Button variant="outline" color="danger" loading={cancel.isPending} onClick={() => cancel.mutate(job.id)}>
          Cancel
        </Button>
      )}
      {cancel.error && (
        <Text role="alert" c="danger">
          {reasonOf(cancel.error)}
        </Text>
      )}
    </Sheet>
  );
}

type OutcomeProps = { detector: DetectorDetail; job: Backtest; result: BacktestResult };

function Outcome({ detector, job, result: r }: OutcomeProps) {
  const search = route.useSearch();
  const navigate = useNavigate();
  const asked = Number(search.at ?? "");
  const start = search.at !== undefined && Number.isInteger(asked) && r.thresholds[asked] ? asked : r.declared;
  const [chosen, setChosen] = useState(start);
  // The address follows a moment later, so that a slider that is dragged does not fill the history.
  useEffect(() => {
    const later = setTimeout(() => {
      if (String(chosen) !== (search.at ?? String(r.declared)))
        navigate({
          to: "/detectors/$name/backtest",
          params: { name: detector.name },
          search: { id: job.id, at: String(chosen) },
          replace: true,
        });
    }, 300);
    return () => clearTimeout(later);
  }, [chosen, search.at, r.declared, navigate, detector.name, job.id]);
  return (
    <>
      <Sheet title="Threshold" className="threshold">
        <Chooser result={r} chosen={chosen} choose={setChosen} />
        <Said result={r} chosen={chosen} />
        <Adopt detector={detector} job={job} result={r} chosen={chosen} />
      </Sheet>
      {r.thresholds.length > 1 && (
        <Sheet title="By threshold">
          <ThresholdCurves result={r} chosen={chosen} choose={setChosen} />
          <p className="soft keys">
            <span className="key-item">
              <span className="swatch chosen" aria-hidden="true" /> chosen
            </span>
            <span className="key-item">
              <span className="swatch declared" aria-hidden="true" /> as declared
            </span>
            <span>Click a chart to choose.</span>
          </p>
        </Sheet>
      )}
      <Sheet title="Alarms under this threshold">
        <AlarmCharts job={job} result={r} chosen={chosen} />
      </Sheet>
      {r.thresholds.length > 1 && <AllOfThem result={r} chosen={chosen} choose={setChosen} />}
      <About job={job} result={r} />
    </>
  );
}

type ChooserProps = { result: BacktestResult; chosen: number; choose: (place: number) => void };

function Chooser({ result: r, chosen, choose }: ChooserProps) {
  const at = r.thresholds[chosen];
  const [typed, setTyped] = useState<number | string>(at?.value ?? 0);
  useEffect(() => setTyped(at?.value ?? 0), [at]);
  if (!at) return null;
  if (r.thresholds.length === 1)
    return <p>Only the detector as declared was tried. Begin another backtest that moves a setting.</p>;
  const nearest = (v: number) => {
    let best = 0;
    r.thresholds.forEach((t, i) => {
      if (Math.abs(t.value - v) < Math.abs((r.thresholds[best]?.value ?? 0) - v)) best = i;
    });
    return best;
  };
  return (
    <div className="chooser">
      <label htmlFor="threshold">
        <strong>{r.field}</strong>{" "}
        <span className="soft">{at.text.startsWith(`${r.field} `) ? thresholdText(r, at) : at.text}</span>
      </label>
      <input
        id="threshold"
        type="range"
        min={0}
        max={r.thresholds.length - 1}
        step={1}
        value={chosen}
        aria-valuetext={`${thresholdText(r, at)}: ${at.text}`}
        onChange={(e) => choose(Number(e.currentTarget.value))}
      />
      <NumberInput
        aria-label={`${r.field}${r.unit === "s" ? ", in seconds" : ""}`}
        value={typed}
        onChange={setTyped}
        onBlur={() => choose(nearest(Number(typed)))}
        onKeyDown={(e) => e.key === "Enter" && choose(nearest(Number(typed)))}
        hideControls
        decimalScale={6}
        w={120}
      />
      <Group gap="xs">
        <Button size="compact-sm" variant="default" disabled={chosen === r.declared} onClick={() => choose(r.declared)}>
          As declared
        </Button>
        {r.best >= 0 && (
          <Button size="compact-sm" variant="default" disabled={chosen === r.best} onClick={() => choose(r.best)}>
            Least cost
          </Button>
        )}
      </Group>
    </div>
  );
}

function lead(seconds: number): string {
  return seconds < 0 ? `${span(-seconds)} after it` : span(seconds);
}

/** The chosen threshold, in figures; read out when it changes. */
function Said({ result: r, chosen }: { result: BacktestResult; chosen: number }) {
  const t = r.thresholds[chosen];
  if (!t) return null;
  const figures: [string, string, string?][] = [
    ["Units flagged", `${t.units} of ${r.judged}`],
    [
      "Alarms",
      t.alarms.toLocaleString("en"),
      `${t.alarmsPerUnitMonth.toLocaleString("en", { maximumSignificantDigits: 3 })} a unit-month`,
    ],
    ["In alarm", percent(t.inAlarm), "of the time watched"],
    [
      "Precision",
      t.precision === undefined ? "–" : percent(t.precision),
      t.precision === undefined
        ? "no alarm could be judged"
        : `${t.true} true, ${t.false} false${t.unjudged ? `, ${t.unjudged} not judged` : ""}`,
    ],
    [
      "Failures found",
      t.recall === undefined ? "–" : percent(t.recall),
      t.recall === undefined ? "none is known" : `${t.found} of ${r.failures}`,
    ],
    ["Lead time", t.leadTimeP50 === undefined ? "–" : lead(t.leadTimeP50), t.leadTimeP50 === undefined ? "" : "median"],
    [
      "Cost",
      t.cost === undefined ? "–" : t.cost.toLocaleString("en", { maximumSignificantDigits: 4 }),
      `${r.cost.false} a false alarm, ${r.cost.missed} a missed failure`,
    ],
  ];
  return (
    <dl className="figures" aria-live="polite">
      {figures.map(([name, value, note]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            {value}
            {note && <span className="soft">{note}</span>}
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** A value of a setting as it stands in a file. */
function written(r: BacktestResult, value: number): unknown {
  if (r.unit === "{alarms}/a") return `${value}/year`;
  return r.unit === "s" ? `${Math.round(value)}s` : value;
}

/** A definition with one setting changed, as margin or trend.horizon. */
function changed(spec: DetectorSpec, field: string, value: unknown): DetectorSpec {
  const [block, inner] = field.split(".");
  if (!block || !inner) return { ...spec, [field]: value };
  return { ...spec, [block]: { ...(spec as unknown as Record<string, object>)[block], [inner]: value } };
}

function Adopt({ detector: d, job, result: r, chosen }: OutcomeProps & { chosen: number }) {
  const may = useMay("analyse");
  const apply = useApplyDetector(d.name);
  const [done, setDone] = useState(false);
  const t = r.thresholds[chosen];
  // biome-ignore lint/correctness/useExhaustiveDependencies: another threshold has not been applied
  useEffect(() => setDone(false), [chosen]);
  if (!may || !t || !r.field || !job.spec) return null;
  if (done)
    return (
      <p role="status">
        <span className="mark normal">applied</span> It watches from now on, as version {d.version}.
      </p>
    );
  if (chosen === r.declared)
    return <p className="soft">This is the threshold as declared. Move it to apply another.</p>;
  const field = r.field;
  const spec = changed(job.spec, field, written(r, t.value));
  return (
    <Confirm
      label="Apply as new version"
      title={`Version ${d.version + 1} of ${d.title}`}
      confirm={async () => {
        await apply.mutateAsync(spec);
        setDone(true);
      }}
    >
      <p>
        <strong>{field}</strong> becomes <strong>{thresholdText(r, t)}</strong> ({t.text}). The new version watches from
        now on; what version {d.version} has open is closed. Campaigns that have frozen a version go on with theirs.
      </p>
      <p>
        On history it would have flagged {counted(t.units, "unit")} with {counted(t.alarms, "alarm")}. If the detector
        stands in a file, change it there, too: the next <code>fettle apply</code> would take this back.
      </p>
    </Confirm>
  );
}

function AllOfThem({ result: r, chosen, choose }: ChooserProps) {
  return (
    <Sheet title="All thresholds">
      <div className="scroll">
        <table className="table thresholds">
          <thead>
            <tr>
              <th scope="col">{r.field}</th>
              <th scope="col" className="numeric wide">
                Units
              </th>
              <th scope="col" className="numeric">
                Alarms
              </th>
              <th scope="col" className="numeric">
                Precision
              </th>
              <th scope="col" className="numeric">
                Recall
              </th>
              <th scope="col" className="numeric">
                Cost
              </th>
            </tr>
          </thead>
          <tbody>
            {r.thresholds.map((t, i) => (
              <tr key={t.value} aria-current={i === chosen ? "true" : undefined}>
                <th scope="row">
                  <button type="button" className="pick" onClick={() => choose(i)}>
                    {thresholdText(r, t)}
                  </button>
                  {i === r.declared && <span className="soft"> declared</span>}
                  {i === r.best && <span className="soft"> least cost</span>}
                </th>
                <td className="numeric wide">{t.units}</td>
                <td className="numeric">{t.alarms}</td>
                <td className="numeric">{t.precision === undefined ? "–" : percent(t.precision)}</td>
                <td className="numeric">{t.recall === undefined ? "–" : percent(t.recall)}</td>
                <td className="numeric">{t.cost === undefined ? "–" : t.cost.toLocaleString("en")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Sheet>
  );
}

function About({ job: j, result: r }: { job: Backtest; result: BacktestResult }) {
  const sources = Object.entries(j.sources ?? {}).map(([k, n]) => `${n} ${k}`);
  return (
    <Sheet title="What was looked at">
      <Facts
        facts={[
          ["Detector", `${j.detector.name}, version ${j.detector.version}`],
          [
            "Period",
            r.from ? (
              <span key="p">
                <Time at={r.from} /> to <Time at={r.to} />
              </span>
            ) : (
              "no data"
            ),
          ],
          ["Units", `${r.judged} judged, ${r.noData} without data${j.cohort ? `, of cohort ${j.cohort}` : ""}`],
          ["Withheld", `${j.withheld}, whose owners do not permit it`],
          ["Watched", `${r.unitMonths.toLocaleString("en", { maximumSignificantDigits: 4 })} unit-months`],
          [
            "Known failures",
            sources.length === 0
              ? "none"
              : `${r.failures} while watched${r.failuresOutside ? `, ${r.failuresOutside} outside` : ""} (${sources.join(", ")})`,
          ],
          [
            "Counted as foreseen",
            `alarms up to ${lasting(r.match.horizon)} before${r.match.late !== "0s" && r.match.late !== "0" ? `, up to ${lasting(r.match.late)} after` : ""}`,
          ],
        ]}
      />
      {!r.complete && (
        <p className="soft">
          Not all failures are known, so an alarm of which nobody has said anything counts neither as true nor as false.
        </p>
      )}
    </Sheet>
  );
}

function Earlier({ name, jobs, shown }: { name: string; jobs: Backtest[]; shown?: string }) {
  const rest = jobs.filter((j) => j.id !== shown);
  if (rest.length === 0) return null;
  return (
    <Sheet title="Other backtests">
      <ul className="plain">
        {rest.slice(0, 10).map((j) => (
          <li key={j.id} className="spread">
            <Link to="/detectors/$name/backtest" params={{ name }} search={{ id: j.id }}>
              <Time at={j.at} /> by {j.by}
            </Link>
            <JobMark job={j} />
          </li>
        ))}
      </ul>
    </Sheet>
  );
}
