import { Button, Group, TextInput } from "@mantine/core";
import { getRouteApi, Link } from "@tanstack/react-router";
import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import { type Rate, type UnitConsents, useRates, useUnitConsents } from "../api/rights";
import { useMay } from "../api/session";
import { Time } from "../clock";
import { languageName } from "../parts/NoticeView";
import { Facts, Page, Sheet } from "../parts/Page";
import { ProductChoice, useChosenProduct } from "../parts/ProductChoice";
import { Empty, Loading, Trouble } from "../parts/States";

const route = getRouteApi("/shell/consent");

/** How owners chose: by purpose over a product, and for one unit with every choice it rests on. */
export function ConsentPage() {
  const { product, unit } = route.useSearch();
  const navigate = route.useNavigate();
  const { name } = useChosenProduct(product);
  const officer = useMay("privacy");
  const agent = useMay("personal");
  return (
    <Page title="Consent">
      <ProductChoice value={product} set={(v) => navigate({ search: (s) => ({ ...s, product: v }) })} />
      {name !== "" && <Rates product={name} />}
      {(officer || agent) && (
        <OneUnit key={unit} unit={unit} set={(v) => navigate({ search: (s) => ({ ...s, unit: v }) })} />
      )}
    </Page>
  );
}

function Rates({ product }: { product: string }) {
  const rates = useRates(product);
  const k = rates.data?.[0]?.k ?? 10;
  return (
    <Sheet
      title="How owners chose"
      actions={
        <Link to="/notices" search={{ product }}>
          Notices
        </Link>
      }
    >
      {rates.error && <Trouble what="Loading the rates" error={rates.error} retry={() => rates.refetch()} />}
      {rates.isPending && <Loading what="the rates" />}
      {rates.data && (
        <>
          <table className="table broken cards">
            <thead>
              <tr>
                <th scope="col">Purpose</th>
                <th scope="col" className="numeric">
                  Agreed
                </th>
                <th scope="col" className="numeric">
                  Of units
                </th>
                <th scope="col">Share</th>
              </tr>
            </thead>
            <tbody>
              {rates.data.map((r) => (
                <RateRow key={r.purpose} rate={r} />
              ))}
            </tbody>
          </table>
          <p className="soft">
            Over the active units that you see. k = {k}: what fewer than {k} units chose is not told, counts are rounded
            down to 5, and a share is told only where {k} agreed and {k} did not.
          </p>
        </>
      )}
    </Sheet>
  );
}

function RateRow({ rate: r }: { rate: Rate }) {
  const asks = r.basis === "consent";
  const few = <span className="soft">fewer than {r.k}</span>;
  return (
    <tr>
      <th scope="row">
        {r.title}
        <div className="soft">{asks ? "by consent" : "necessary: there is no switch"}</div>
      </th>
      <td className="numeric" data-head="Agreed">
        {asks ? (r.given?.toLocaleString("en") ?? few) : "–"}
      </td>
      <td className="numeric" data-head="Of units">
        {r.units?.toLocaleString("en") ?? few}
      </td>
      <td data-head="Share">
        {!asks ? (
          "–"
        ) : r.share === undefined ? (
          <span className="soft">not told</span>
        ) : (
          <span className="scale small">
            <span className="meter" aria-hidden="true">
              <span style={{ width: `${100 * r.share}%` }} />
            </span>
            {Math.round(100 * r.share)} %
          </span>
        )}
      </td>
    </tr>
  );
}

function OneUnit({ unit, set }: { unit: string | undefined; set: (v: string | undefined) => void }) {
  const [text, setText] = useState(unit ?? "");
  useEffect(() => setText(unit ?? ""), [unit]);
  function submit(e: FormEvent) {
    e.preventDefault();
    set(text.trim() || undefined);
  }
  return (
    <Sheet title="Choices of a unit">
      <form onSubmit={submit}>
        <Group align="flex-end" mb="md">
          <TextInput
            label="Unit"
            description="Its owner sees that somebody looked"
            placeholder="WC-000010"
            value={text}
            onChange={(e) => setText(e.currentTarget.value)}
          />
          <Button type="submit" disabled={!text.trim()}>
            Show
          </Button>
        </Group>
      </form>
      {unit && <Choices unit={unit} />}
    </Sheet>
  );
}

/** What a unit's owner chose; also shown on the unit's own page. */
export function Choices({ unit }: { unit: string }) {
  const consents = useUnitConsents(unit);
  const officer = useMay("privacy");
  if (consents.error)
    return <Trouble what={`Loading the choices of ${unit}`} error={consents.error} retry={() => consents.refetch()} />;
  if (!consents.data) return <Loading what="the choices" />;
  const c = consents.data;
  return (
    <>
      <Facts
        facts={[
          [
            "Unit",
            <Link key="u" to="/units/$id" params={{ id: c.unitId }}>
              {c.unitId}
            </Link>,
          ],
          ["Owner", c.owned ? "has one" : "none: nobody can choose"],
          ...(c.since ? [["Theirs since", <Time key="s" at={c.since} />] as [string, ReactNode]] : []),
          [
            "Notice now",
            <Link key="n" to="/notices/$product/versions/$version" params={{ product: c.product, version: c.notice }}>
              {c.notice}
            </Link>,
          ],
          ...(c.restricted
            ? [["Restricted", "data is stored and not used (GDPR art. 18)"] as [string, ReactNode]]
            : []),
        ]}
      />
      <Standing consents={c} />
      <History consents={c} />
      {c.withdrawals.length > 0 && <Withdrawals consents={c} />}
      {officer && c.owned && c.choices.length > 0 && (
        <a className="act quiet" href={`/v1/units/${encodeURIComponent(c.unitId)}/receipts`} download>
          Download the receipts
        </a>
      )}
    </>
  );
}

function Standing({ consents: c }: { consents: UnitConsents }) {
  return (
    <ul className="plain">
      {c.purposes.map((q) => (
        <li key={q.name}>
          <span className="spread">
            <strong>{q.title}</strong>
            <span className={`mark ${q.permitted ? "normal" : "unknown"}`}>
              {q.basis === "necessary" ? "necessary" : q.permitted ? "permitted" : "not permitted"}
            </span>
          </span>
          {q.objected && <p>Its owner objected (GDPR art. 21).</p>}
          {q.new.length > 0 && <p>Not covered until they choose again: {q.new.join(", ")}.</p>}
          {q.chosenAt && (
            <p className="soft">
              chosen <Time at={q.chosenAt} />
              {q.notice && ` by notice ${q.notice}`}
            </p>
          )}
        </li>
      ))}
    </ul>
  );
}

const whom: Record<string, string> = { owner: "the owner", import: "with the unit, by the maker", other: "others" };

function History({ consents: c }: { consents: UnitConsents }) {
  if (c.choices.length === 0)
    return <Empty title="Nothing was ever chosen">No choice means no: only what is necessary is collected.</Empty>;
  return (
    <>
      <table className="table broken">
        <caption>Every choice, the newest first</caption>
        <thead>
          <tr>
            <th scope="col">When</th>
            <th scope="col">Choice</th>
            <th scope="col" className="wide">
              By
            </th>
            <th scope="col" className="wide">
              Notice
            </th>
          </tr>
        </thead>
        <tbody>
          {c.choices.map((x) => (
            <tr key={x.id}>
              <td>
                <Time at={x.at} />
              </td>
              <td>
                {x.given ? "agreed to" : "withdrew"} {x.title || x.purpose}
                {x.former && <div className="soft">under an earlier owner; it counts no more</div>}
              </td>
              <td className="wide">{whom[x.by] ?? x.by}</td>
              <td className="wide">
                {x.notice || "–"}
                {x.language && <span className="soft"> in {languageName(x.language)}</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {c.more !== undefined && c.more > 0 && (
        <p className="soft">{c.more.toLocaleString("en")} older choices stand in the receipts.</p>
      )}
    </>
  );
}

function Withdrawals({ consents: c }: { consents: UnitConsents }) {
  return (
    <>
      <h3>What became of what was collected</h3>
      <ul className="plain">
        {c.withdrawals.map((w) => (
          <li key={`${w.purpose}${w.at}`}>
            <span className="spread">
              <strong>{w.title}</strong>
              {w.endedAt ? (
                <span className="mark normal">done</span>
              ) : (
                <span className="mark acting">
                  step {w.done} of {w.total}
                </span>
              )}
            </span>
            <p>
              Withdrawn <Time at={w.at} />.{" "}
              {w.erased.length > 0 ? `Erased: ${w.erased.join(", ")}.` : "Nothing is erased."}{" "}
              {w.kept.length > 0 && `Kept: ${w.kept.join(", ")}.`} {w.reason}
            </p>
          </li>
        ))}
      </ul>
    </>
  );
}
