import { Link } from "@tanstack/react-router";
import { counted } from "../../chart/measure";
import { severities } from "../api/findings";
import type { ProductOverview } from "../api/fleet";
import { useOverview } from "../api/fleet";
import { Time } from "../clock";
import { conditionShares, ShareBar, taskShares } from "../parts/Bars";
import { CampaignMark, SeverityMark } from "../parts/Mark";
import { Page, Sheet } from "../parts/Page";
import { Empty, Loading, Trouble } from "../parts/States";

export function OverviewPage() {
  const overview = useOverview();
  return (
    <Page title="Overview">
      {overview.error && (
        <Trouble what="Loading the overview" error={overview.error} retry={() => overview.refetch()} />
      )}
      {overview.isPending && <Loading what="the overview" lines={8} />}
      {overview.data && (
        <>
          <p className="tally">
            As of <Time at={overview.data.at} />
          </p>
          {overview.data.products.length === 0 && (
            <Empty title="No product is declared yet">
              Write a file of kind Product and run <code>fettle apply -f DIR</code>.
            </Empty>
          )}
          {overview.data.products.map((p) => (
            <ProductSheet key={p.name} product={p} />
          ))}
        </>
      )}
    </Page>
  );
}

function ProductSheet({ product: p }: { product: ProductOverview }) {
  const open = severities.filter((s) => (p.openFindings[s] ?? 0) > 0);
  return (
    <Sheet
      title={p.title || p.name}
      actions={
        <Link to="/units" search={{ product: p.name }}>
          {counted(p.units, "unit")}
        </Link>
      }
    >
      <h3>Condition of active units</h3>
      <ShareBar
        label="Condition"
        empty="No unit is active yet."
        shares={conditionShares(p.conditions, (c) => (
          <Link to="/units" search={{ product: p.name, condition: c }}>
            {c}
          </Link>
        ))}
      />
      <div className="columns">
        <div>
          <h3>Open findings</h3>
          {open.length === 0 ? (
            <p className="soft">None.</p>
          ) : (
            <ul className="plain">
              {open.map((s) => (
                <li key={s} className="spread">
                  <SeverityMark severity={s} />
                  <Link to="/findings" search={{ product: p.name, severity: s, state: "open" }}>
                    {(p.openFindings[s] ?? 0).toLocaleString("en")} open
                  </Link>
                </li>
              ))}
            </ul>
          )}
        </div>
        <div>
          <h3>Software</h3>
          {p.versions.length === 0 ? <p className="soft">No unit has reported a version.</p> : <Versions product={p} />}
        </div>
        <div>
          <h3>Campaigns</h3>
          {p.campaigns.length === 0 && <p className="soft">None is running.</p>}
          {p.campaigns.map((c) => (
            <div key={c.name} className="campaign">
              <p className="spread">
                <Link to="/campaigns/$name" params={{ name: c.name }}>
                  {c.spec.title.en || c.name}
                </Link>
                <CampaignMark state={c.state} />
              </p>
              <ShareBar label={c.name} shares={taskShares(c.counts)} empty="No tasks yet." />
            </div>
          ))}
        </div>
      </div>
    </Sheet>
  );
}

function Versions({ product: p }: { product: ProductOverview }) {
  const most = Math.max(...p.versions.map((v) => v.units));
  return (
    <ul className="plain">
      {p.versions.slice(0, 8).map((v) => (
        <li key={v.version} className="version">
          {v.version ? (
            <Link to="/units" search={{ product: p.name, version: v.version }}>
              {v.version}
            </Link>
          ) : (
            <span className="soft">none reported</span>
          )}
          <span className="meter" aria-hidden="true">
            <span style={{ width: `${(100 * v.units) / most}%` }} />
          </span>
          <span className="numeric">{v.units.toLocaleString("en")}</span>
        </li>
      ))}
    </ul>
  );
}
