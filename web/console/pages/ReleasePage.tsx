import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import { bytes, lasting } from "../../chart/measure";
import { useCampaigns } from "../api/campaigns";
import {
  type Holder,
  type Release,
  type ReleaseSpec,
  useHolders,
  useRelease,
  useReleaseSpec,
  useRevert,
  useSizes,
  useWithdraw,
} from "../api/releases";
import { useMay } from "../api/session";
import { Time } from "../clock";
import { Confirm } from "../parts/Confirm";
import { Dialog } from "../parts/Dialog";
import { ChoiceFilter } from "../parts/Filters";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { KindMark, ReleaseMark, SizesTable, takesWords, WithdrawnBanner } from "../parts/ReleaseParts";
import { Empty, Loading, Trouble } from "../parts/States";
import { type Column, Table } from "../parts/Table";
import { columns as campaignColumns } from "./CampaignsPage";

const route = getRouteApi("/shell/releases/$name");

export function ReleasePage() {
  const { name } = route.useParams();
  const release = useRelease(name);
  const spec = useReleaseSpec(name);
  if (release.error)
    return <PageTrouble what={`Loading release ${name}`} error={release.error} retry={() => release.refetch()} />;
  if (!release.data) return <Loading what="the release" lines={10} />;
  const r = release.data;
  return (
    <Page title={r.name} above={<Link to="/releases">Releases</Link>} actions={<Actions release={r} />}>
      <WithdrawnBanner release={r} />
      <div className="pair">
        <About release={r} spec={spec.data} />
        <Notes release={r} spec={spec.data} />
      </div>
      <Compatibility release={r} spec={spec.data} />
      <Images release={r} />
      <Sizes name={r.name} />
      <Campaigns release={r.name} />
      <Units name={r.name} />
    </Page>
  );
}

function About({ release: r, spec }: { release: Release; spec?: ReleaseSpec }) {
  return (
    <Sheet title="Release">
      <Facts
        facts={[
          [
            "Product",
            <Link key="p" to="/products/$name" params={{ name: r.product }}>
              {r.product}
            </Link>,
          ],
          ["Version", r.version],
          ["Kind", <KindMark key="k" kind={r.kind} />],
          ["State", <ReleaseMark key="s" release={r} />],
          ["Counter", r.counter.toLocaleString("en")],
          ["Size", r.images.length > 1 ? `${bytes(r.size)} in ${r.images.length} images` : bytes(r.size)],
          ["Takes", takesWords(r.takes)],
          ["Supported until", r.supportEnd ?? "no end is declared"],
          ["Skilled person", r.skilled ? "needed: it is dispatched, never an owner’s update" : "not needed"],
        ]}
      />
      <p className="soft">
        A unit that has run a release is never offered one of a lower counter. To go back, its content is issued again
        under a higher one.
      </p>
      {spec?.settings && <Settings spec={spec} />}
    </Sheet>
  );
}

function Settings({ spec }: { spec: ReleaseSpec }) {
  const all = [
    ...Object.entries(spec.settings?.parameters ?? {}).map(([k, v]) => [k, JSON.stringify(v)] as const),
    ...Object.entries(spec.settings?.features ?? {}).map(([k, on]) => [k, on ? "on" : "off"] as const),
  ];
  return (
    <>
      <h3>Sets</h3>
      <Facts facts={all.map(([k, v]) => [k, v])} />
    </>
  );
}

const language = (code: string) => new Intl.DisplayNames(["en"], { type: "language" }).of(code) ?? code;

function Notes({ release: r, spec }: { release: Release; spec?: ReleaseSpec }) {
  const unavailable = Object.entries(spec?.unavailable ?? {});
  return (
    <Sheet title="Words">
      {Object.entries(spec?.notes ?? {}).map(([code, words]) => (
        <section key={code}>
          <h3>For owners, {language(code)}</h3>
          <p lang={code}>{words}</p>
        </section>
      ))}
      {unavailable.length > 0 && (
        <>
          <h3>What will not work meanwhile</h3>
          {unavailable.map(([code, words]) => (
            <p key={code} lang={code}>
              {words}
            </p>
          ))}
        </>
      )}
      <h3>For engineers</h3>
      <p className="written">{r.engineerNotes || "Nothing was written."}</p>
    </Sheet>
  );
}

function Compatibility({ release: r, spec }: { release: Release; spec?: ReleaseSpec }) {
  const requires = Object.entries(spec?.requires ?? {});
  return (
    <Sheet title="Who may have it, and when">
      <Facts
        facts={[
          ["Hardware", spec?.hardware?.join(", ") || "any"],
          ["Installed over", spec?.from?.join(", ") || "any version"],
          ["Requires", requires.map(([c, v]) => `${c} ${v.join(" or ")}`).join("; ") || "nothing of other components"],
        ]}
      />
      <h3>Preconditions</h3>
      {r.preconditions.length === 0 ? (
        <p className="soft">None: it may be offered whatever the unit’s last state.</p>
      ) : (
        <table className="table">
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Must hold</th>
              <th scope="col">Of values no older than</th>
              <th scope="col" className="wide">
                Owners read
              </th>
            </tr>
          </thead>
          <tbody>
            {r.preconditions.map((p) => (
              <tr key={p.name}>
                <th scope="row">{p.name}</th>
                <td>
                  <code>{p.when}</code>
                </td>
                <td>{lasting(p.age ?? "")}</td>
                <td className="wide">{p.words?.en ?? Object.values(p.words ?? {})[0] ?? "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Sheet>
  );
}

function Images({ release: r }: { release: Release }) {
  if (r.images.length === 0 || r.images.every((i) => !i.sha256)) return null;
  return (
    <Sheet title={r.images.length > 1 ? "Images, in the order of installation; all or none" : "Image"}>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Component</th>
            <th scope="col">Version</th>
            <th scope="col" className="wide">
              File
            </th>
            <th scope="col" className="numeric">
              Size
            </th>
            <th scope="col" className="wide">
              SHA-256
            </th>
          </tr>
        </thead>
        <tbody>
          {r.images.map((i) => (
            <tr key={i.component}>
              <th scope="row">{i.component}</th>
              <td>{i.version}</td>
              <td className="wide">{i.filename}</td>
              <td className="numeric">{bytes(i.size)}</td>
              <td className="wide">
                <code title={i.sha256}>{i.sha256.slice(0, 16)}…</code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Sheet>
  );
}

function Sizes({ name }: { name: string }) {
  const sizes = useSizes(name);
  return (
    <Sheet title="What units fetch">
      {sizes.error && <Trouble what="Loading the sizes" error={sizes.error} retry={() => sizes.refetch()} />}
      {sizes.isPending && <Loading what="the sizes" />}
      {sizes.data &&
        (sizes.data.length === 0 ? (
          <Empty title="Nothing to fetch">No unit of the product has reported a version it could come from.</Empty>
        ) : (
          <SizesTable sizes={sizes.data} />
        ))}
    </Sheet>
  );
}

const unsorted = campaignColumns
  .filter((c) => !["product", "release"].includes(c.key))
  .map(({ sort: _, ...column }) => column);

function Campaigns({ release }: { release: string }) {
  const campaigns = useCampaigns({ release });
  return (
    <Sheet title="Campaigns">
      <Table
        cards
        what="campaigns"
        columns={unsorted}
        pages={campaigns}
        rowKey={(c) => c.name}
        onSort={() => {}}
        empty={<Empty title="No campaign">None installs this release.</Empty>}
      />
    </Sheet>
  );
}

const holdings: Holder["holding"][] = ["has it", "had it", "on the way", "not begun", "never had"];
const holdingTones: Record<Holder["holding"], string> = {
  "has it": "normal",
  "had it": "unknown",
  "on the way": "acting",
  "not begun": "unknown",
  "never had": "unknown",
};

const columns: Column<Holder>[] = [
  {
    key: "unit",
    title: "Unit",
    sort: (h) => h.unitId,
    cell: (h) => (
      <Link to="/units/$id" params={{ id: h.unitId }}>
        {h.unitId}
      </Link>
    ),
  },
  {
    key: "holding",
    title: "Has it",
    sort: (h) => holdings.indexOf(h.holding),
    cell: (h) => <span className={`mark ${holdingTones[h.holding]}`}>{h.holding}</span>,
  },
  {
    key: "versions",
    title: "Reports",
    wide: true,
    cell: (h) =>
      Object.entries(h.versions ?? {})
        .map(([c, v]) => `${c} ${v}`)
        .join(", ") || "nothing yet",
  },
  { key: "state", title: "Assignment", wide: true, cell: (h) => h.state ?? "none: it came with it from elsewhere" },
  { key: "at", title: "Changed", sort: (h) => h.at ?? "", cell: (h) => <Time at={h.at} /> },
];

function Units({ name }: { name: string }) {
  const { sort, holding } = route.useSearch();
  const navigate = route.useNavigate();
  const set = (key: string) => (value: string | undefined) =>
    navigate({ search: (s) => ({ ...s, [key]: value }), replace: true, resetScroll: false });
  const units = useHolders(name, holding as Holder["holding"] | undefined);
  return (
    <Sheet title="Who has it">
      <search className="filters">
        <ChoiceFilter label="Has it" value={holding} set={set("holding")} options={holdings} />
      </search>
      <Table
        what="units"
        columns={columns}
        pages={units}
        rowKey={(h) => h.unitId}
        sort={sort}
        onSort={set("sort")}
        empty={<Empty title="No unit">{holding ? "None matches the filter." : "It has been given to nobody."}</Empty>}
      />
    </Sheet>
  );
}

function Actions({ release: r }: { release: Release }) {
  const may = useMay("release");
  const withdraw = useWithdraw(r.name);
  const revert = useRevert(r.name);
  const [said, setSaid] = useState<"withdrawn" | "reverted">();
  if (!may) return null;
  return (
    <>
      <Confirm
        label="Make the way back"
        variant="default"
        reason="Why, for operators"
        title={`Make the way back from ${r.name}?`}
        confirm={async (why) => {
          await revert.mutateAsync(why || "no reason was given");
          setSaid("reverted");
        }}
      >
        The content of the release before it is issued again under a higher counter, and a campaign is drafted for the
        units that report {r.version}. Nothing is offered before you look at that campaign and start it.
      </Confirm>
      {!r.withdrawn && (
        <Confirm
          danger
          label="Withdraw"
          reason="Why, for everybody who looks for it"
          title={`Withdraw ${r.name}?`}
          confirm={async (why) => {
            await withdraw.mutateAsync(why || "no reason was given");
            setSaid("withdrawn");
          }}
        >
          It is offered to nobody any more, for good. What no unit has begun ends at once, and its files can no longer
          be fetched; units that have begun are asked to stop. Those that have it keep it: see the way back.
        </Confirm>
      )}
      <Dialog open={said === "withdrawn"} close={() => setSaid(undefined)} title={`${r.name} is withdrawn`}>
        {withdraw.data && (
          <Facts
            facts={[
              ["Ended before they began", withdraw.data.canceled.toLocaleString("en")],
              ["Asked to stop", withdraw.data.asked.toLocaleString("en")],
              ["Too late to stop", withdraw.data.tooLate.toLocaleString("en")],
            ]}
          />
        )}
      </Dialog>
      <Dialog open={said === "reverted"} close={() => setSaid(undefined)} title="The way back is made">
        {revert.data && (
          <>
            <p>
              Release{" "}
              <Link to="/releases/$name" params={{ name: revert.data.release }}>
                {revert.data.release}
              </Link>{" "}
              has the old content under counter {revert.data.counter}.
            </p>
            {revert.data.campaign ? (
              <p>
                Campaign{" "}
                <Link to="/campaigns/$name" params={{ name: revert.data.campaign }}>
                  {revert.data.campaign}
                </Link>{" "}
                is drafted: look at it and start it.
              </p>
            ) : (
              <p>No campaign was drafted: {revert.data.missing}</p>
            )}
          </>
        )}
      </Dialog>
    </>
  );
}
