import { Anchor } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import { measure } from "../../chart/measure";
import type { Range } from "../../chart/SignalChart";
import { useFindings } from "../api/findings";
import {
  type UnitDetail,
  useAccounting,
  useIssueUnitToken,
  useLatest,
  useProduct,
  useUnit,
  useUnitAction,
} from "../api/fleet";
import { useMay } from "../api/session";
import { Time, useClock } from "../clock";
import { Confirm } from "../parts/Confirm";
import { Dialog } from "../parts/Dialog";
import { Events, hasEvents } from "../parts/Events";
import { UnitForecasts } from "../parts/Foresight";
import { Maintenance } from "../parts/Maintenance";
import { ConditionMark, FindingMark, SeverityMark } from "../parts/Mark";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Secret } from "../parts/Secret";
import { Empty, Loading, Trouble } from "../parts/States";
import { presets, RangeBar, UnitCharts } from "../parts/UnitCharts";
import { UnitPrognosis } from "../parts/UnitPrognosis";
import { UnitSettings, UnitVersions } from "../parts/UnitVersions";

const route = getRouteApi("/shell/units/$id");
const follow = 5_000;

export function UnitPage() {
  const { id } = route.useParams();
  const unit = useUnit(id);
  if (unit.error) return <PageTrouble what={`Loading unit ${id}`} error={unit.error} retry={() => unit.refetch()} />;
  if (!unit.data) return <Loading what="the unit" lines={10} />;
  return (
    <Page title={unit.data.id} above={<Link to="/units">Units</Link>} actions={<Actions unit={unit.data} />}>
      <div className="verdict">
        <ConditionMark condition={unit.data.condition} />
        <span>{unit.data.conditionWhy}</span>
      </div>
      <Signals key={unit.data.id} unit={unit.data} />
      <div className="pair">
        <About unit={unit.data} />
        <Collected unit={unit.data} />
        <UnitVersions unitId={id} />
        <UnitSettings unitId={id} />
        <Findings id={id} />
        <UnitForecasts unitId={id} />
        <UnitPrognosis unitId={id} product={unit.data.product} />
        <Maintenance unitId={id} />
        <Accounting id={id} />
      </div>
    </Page>
  );
}

/** The range of the address: two times, or a preset that ends at the server's now and moves with it. */
function useRange(): [Range, string | undefined] {
  const search = route.useSearch();
  const { now } = useClock();
  const fixed = search.from !== undefined && search.to !== undefined;
  const preset = fixed ? undefined : (search.range ?? "7d");
  const [end, setEnd] = useState(() => now().getTime());
  useEffect(() => {
    if (fixed) return;
    setEnd(now().getTime());
    const timer = setInterval(() => setEnd(now().getTime()), follow);
    return () => clearInterval(timer);
  }, [fixed, now]);
  const range = useMemo(() => {
    if (search.from && search.to) return { from: new Date(search.from), to: new Date(search.to) };
    const length = presets.find((p) => p.key === preset)?.ms ?? 7 * 24 * 3_600_000;
    return { from: new Date(end - length), to: new Date(end) };
  }, [search.from, search.to, preset, end]);
  return [range, preset];
}

function Signals({ unit }: { unit: UnitDetail }) {
  const navigate = route.useNavigate();
  const [range, preset] = useRange();
  const product = useProduct(unit.product);
  const findings = useFindings({ unit: unit.id, shelved: true });
  const signals = product.data?.signals ?? [];
  const show = (r: Range) =>
    navigate({ search: { from: r.from.toISOString(), to: r.to.toISOString() }, replace: true, resetScroll: false });
  return (
    <Sheet title="Signals">
      <RangeBar
        preset={preset}
        range={range}
        show={show}
        choose={(p) => navigate({ search: { range: p }, replace: true, resetScroll: false })}
      />
      {product.error && <Trouble what="Loading the product" error={product.error} retry={() => product.refetch()} />}
      {product.isPending && <Loading what="signals" lines={8} />}
      <UnitCharts unitId={unit.id} signals={signals} findings={findings.rows} range={range} onZoom={show} />
      {hasEvents(product.data) && <Events unitId={unit.id} range={range} />}
      <Latest id={unit.id} />
    </Sheet>
  );
}

function Latest({ id }: { id: string }) {
  const latest = useLatest(id);
  if (!latest.data) return null;
  return (
    <table className="table">
      <caption>Newest values</caption>
      <thead>
        <tr>
          <th scope="col">Signal</th>
          <th scope="col" className="numeric">
            Value
          </th>
          <th scope="col">Measured</th>
        </tr>
      </thead>
      <tbody>
        {latest.data.map((v) => (
          <tr key={v.signal}>
            <td>{v.title || v.signal}</td>
            <td className="numeric">
              {v.withheld
                ? "not permitted"
                : v.type === "boolean" && v.number !== undefined
                  ? v.number
                    ? "on"
                    : "off"
                  : (v.text ?? measure(v.number, v.unit))}
            </td>
            <td>
              <Time at={v.at} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function About({ unit }: { unit: UnitDetail }) {
  const versions = Object.entries(unit.versions ?? {});
  return (
    <Sheet title="Unit">
      <Facts
        facts={[
          [
            "Product",
            <Link key="p" to="/products/$name" params={{ name: unit.product }}>
              {unit.product}
            </Link>,
          ],
          ["Serial", unit.serial],
          ["State", unit.state],
          ...versions.map(([c, v]): [string, string] => [c === "software" ? "Software" : `Version of ${c}`, v]),
          ["Version reported", <Time key="v" at={unit.versionAt} />],
          ["Hardware", unit.hardware || "–"],
          ["Batch", unit.batch || "–"],
          ["Region", unit.region || "–"],
          ["Last heard of", <Time key="l" at={unit.lastContact} />],
          ["Clock", clockSkew(unit.clockSkewSeconds)],
          ["Credential", unit.credential],
          [
            "Owner",
            unit.owner ? (
              <Anchor key="o" href={`mailto:${unit.owner.email}`}>
                {unit.owner.name || unit.owner.email}
              </Anchor>
            ) : (
              "none"
            ),
          ],
          ["Owner’s time zone", unit.owner?.timeZone ?? "–"],
        ]}
      />
      {unit.exposures.length > 0 && (
        <>
          <h3>Exposure</h3>
          <ul className="plain">
            {unit.exposures.map((e) => (
              <li key={`${e.detector.name}@${e.detector.version}`}>
                {e.hours.toLocaleString("en", { maximumFractionDigits: 1 })} h under {e.detector.name} version{" "}
                {e.detector.version}, since <Time at={e.since} />
              </li>
            ))}
          </ul>
        </>
      )}
    </Sheet>
  );
}

/** How far a unit's clock is off; a message may take a moment. */
function clockSkew(ahead: number | undefined) {
  if (ahead === undefined) return "not known";
  if (Math.abs(ahead) < 5) return "right";
  const off = Math.abs(ahead);
  const size =
    off < 120
      ? `${Math.round(off)} s`
      : off < 7_200
        ? `${Math.round(off / 60)} min`
        : off < 172_800
          ? `${Math.round(off / 3_600)} h`
          : `${Math.round(off / 86_400)} days`;
  return ahead > 0 ? `${size} ahead` : `${size} behind, or all it sends is that late`;
}

function Collected({ unit }: { unit: UnitDetail }) {
  return (
    <Sheet title="Purposes">
      <ul className="plain">
        {unit.permitted.map((p) => (
          <li key={p.name} className="spread">
            <span>{p.title}</span>
            <span className={`mark ${p.permitted && p.basis === "consent" ? "normal" : "unknown"}`}>
              {p.basis === "necessary" ? "necessary" : p.permitted ? "consent given" : "no consent"}
            </span>
          </li>
        ))}
      </ul>
      <p className="soft">Only the owner changes these, in the portal.</p>
    </Sheet>
  );
}

function Findings({ id }: { id: string }) {
  const { now } = useClock();
  const findings = useFindings({ unit: id, shelved: true });
  return (
    <Sheet
      title="Findings"
      actions={
        <Link to="/findings" search={{ unit: id }}>
          In the list
        </Link>
      }
    >
      {findings.error && <Trouble what="Loading findings" error={findings.error} />}
      {!findings.isPending && findings.rows.length === 0 && (
        <Empty title="None">Nothing has been found on this unit.</Empty>
      )}
      <ul className="plain">
        {findings.rows.slice(0, 10).map((f) => (
          <li key={f.id} className="finding">
            <span className="spread">
              <Link to="/findings/$id" params={{ id: f.id }}>
                {f.title}
              </Link>
              <FindingMark finding={f} now={now()} />
            </span>
            <span className="soft">
              <SeverityMark severity={f.severity} /> from <Time at={f.onset} />
            </span>
          </li>
        ))}
      </ul>
    </Sheet>
  );
}

function Accounting({ id }: { id: string }) {
  const account = useAccounting(id);
  const n = (v: number) => v.toLocaleString("en");
  return (
    <Sheet title="Accounting of samples">
      {account.error && <Trouble what="Loading the accounting" error={account.error} retry={() => account.refetch()} />}
      {account.data && (
        <>
          <Facts
            facts={[
              ["Acknowledged", n(account.data.acknowledged)],
              ["Stored", n(account.data.stored)],
              ["Not consented", n(account.data.notConsented)],
              ["Undeclared", n(account.data.undeclared)],
              ["Duplicate", n(account.data.duplicate)],
              ["Refused as invalid", n(account.data.invalid)],
            ]}
          />
          <p className="soft">
            Acknowledged {n(account.data.acknowledged)} = {n(account.data.stored)} + {n(account.data.notConsented)} +{" "}
            {n(account.data.undeclared)} + {n(account.data.duplicate)} + {n(account.data.invalid)}. What is dropped on
            purpose is acknowledged too, or a unit would send it for ever.
          </p>
        </>
      )}
    </Sheet>
  );
}

function Actions({ unit }: { unit: UnitDetail }) {
  const act = useUnitAction(unit.id);
  const issue = useIssueUnitToken(unit.id);
  const may = useMay("enrol");
  if (!may) return null;
  return (
    <>
      <Confirm
        label="New token"
        title={`Issue a new token for ${unit.id}?`}
        variant="default"
        confirm={() => issue.mutateAsync()}
      >
        The token it has stops working at once, and a connection that uses it is closed.
      </Confirm>
      {unit.state === "active" ? (
        <>
          <Confirm danger label="Retire" title={`Retire ${unit.id}?`} confirm={() => act.mutateAsync("retire")}>
            It is taken out of service and no longer watched. What is stored stays until its retention ends.
          </Confirm>
          <Confirm danger label="Revoke" title={`Revoke ${unit.id}?`} confirm={() => act.mutateAsync("revoke")}>
            It is disconnected at once and refused until it is restored.
          </Confirm>
        </>
      ) : (
        <Confirm label="Restore" title={`Restore ${unit.id}?`} confirm={() => act.mutateAsync("restore")}>
          It may connect again and is watched from now on.
        </Confirm>
      )}
      <Dialog open={issue.isSuccess} close={() => issue.reset()} title="The new token">
        <Secret value={issue.data?.token ?? ""} />
      </Dialog>
    </>
  );
}
