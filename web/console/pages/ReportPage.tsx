import { Button } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { span } from "../../chart/measure";
import { type Report, useReport } from "../api/campaigns";
import { useMay } from "../api/session";
import { Time } from "../clock";
import { EffectView } from "../parts/Effect";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Loading } from "../parts/States";

const route = getRouteApi("/shell/campaigns/$name/report");

const rows: [keyof Report, string, string][] = [
  ["involved", "Involved", "units in the frozen cohort"],
  ["offered", "Offered", "owners who were told"],
  ["started", "Started", "the unit began"],
  ["claimed", "Claimed", "the unit’s client said it succeeded"],
  ["installed", "Installed", "the unit reported the new version"],
  ["verified", "Verified", "the same detector, quiet over the required exposure"],
  ["relapsed", "Relapsed", "the fault came back"],
  ["notJudgeable", "Not judgeable", "installed, but without consent, or silent"],
  ["notYetExposed", "Not yet exposed", "installed, but not used enough to tell"],
  ["declined", "Declined", "by the owner"],
  ["failed", "Failed", "the installation did not go through"],
  ["unreachable", "Unreachable", "not heard of"],
];

export function ReportPage() {
  const { name } = route.useParams();
  const report = useReport(name);
  const personal = useMay("personal");
  if (report.error)
    return <PageTrouble what="Loading the report" error={report.error} retry={() => report.refetch()} />;
  if (!report.data) return <Loading what="the report" lines={12} />;
  const r = report.data;
  const file = (path: string) => `/v1/campaigns/${encodeURIComponent(name)}/${path}`;
  return (
    <Page
      title={`Report: ${r.title}`}
      above={
        <Link to="/campaigns/$name" params={{ name }}>
          The campaign
        </Link>
      }
      actions={
        <>
          <Button variant="default" component="a" href={file("report/units?format=csv")} download className="unprinted">
            Units (CSV)
          </Button>
          {personal && (
            <Button variant="default" component="a" href={file("reach/owners")} download className="unprinted">
              Owners (CSV)
            </Button>
          )}
          <Button variant="default" component="a" href={file("quarterly")} download className="unprinted">
            Quarterly file (CSV)
          </Button>
          <Button variant="default" onClick={() => window.print()} className="unprinted">
            Print
          </Button>
        </>
      }
    >
      <p>
        Campaign <code>{r.campaign}</code>, as of <Time at={r.at} />.
      </p>
      <Sheet title="Completion">
        <table className="table">
          <thead>
            <tr>
              <th scope="col">Count</th>
              <th scope="col" className="numeric">
                Units
              </th>
              <th scope="col">Meaning</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(([key, label, meaning]) => (
              <tr key={key}>
                <th scope="row">{label}</th>
                <td className="numeric">{Number(r[key]).toLocaleString("en")}</td>
                <td>{meaning}</td>
              </tr>
            ))}
          </tbody>
        </table>
        <p>
          Half of the findings opened within {span(r.onsetToFindingP50)} of their onset; half of the verified units were
          verified within {span(r.findingToVerifiedP50)} of the finding.
        </p>
      </Sheet>
      <Sheet title="Owners">
        <Facts
          facts={[
            ["Told", r.reach.told.toLocaleString("en")],
            ["Acknowledged", r.reach.acknowledged.toLocaleString("en")],
            ["Unit remedied first", r.reach.remedied.toLocaleString("en")],
            ["Opted out", r.reach.optedOut.toLocaleString("en")],
            ["Still tried", r.reach.climbing.toLocaleString("en")],
            ["Unreachable", r.reach.unreachable.toLocaleString("en")],
          ]}
        />
      </Sheet>
      <Sheet title="Waves">
        {r.byWave.map((w) => (
          <div key={w.name} className="wave">
            <h3>{w.name}</h3>
            <Facts
              facts={[
                ["Opened", <Time key="o" at={w.openedAt} />],
                ["Units", w.units.toLocaleString("en")],
                ["Installed", w.installed.toLocaleString("en")],
                ["Verified", w.verified.toLocaleString("en")],
                ["Relapsed", w.relapsed.toLocaleString("en")],
                ["Failed", w.failed.toLocaleString("en")],
              ]}
            />
            <p>Gate {w.gate}</p>
          </div>
        ))}
      </Sheet>
      <Sheet title="Effect">
        <EffectView effect={r.effect} final />
      </Sheet>
    </Page>
  );
}
