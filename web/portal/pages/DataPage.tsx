import { Link } from "../address";
import { figure } from "../figures";
import { useLanguage } from "../language";
import { askExport, choose, type MyData, type PurposeData, useData, useExports, useMyData, useShares } from "../mydata";
import { Rights } from "../Rights";
import { useRights } from "../rights";
import type { PageProps } from "../routes";
import { Shares } from "../Shares";
import { Heading, Loading, Trouble, useReason, useWhole } from "../states";
import { useTimes } from "../when";
import "../data.css";
import "../unit.css";

/** What is collected of a product and why, by whose choice; and what its owner can do with it. */
export function DataPage({ id }: PageProps) {
  const { t } = useLanguage();
  const data = useMyData(id);
  const whole = useWhole(data, useExports(), useShares(), useRights());
  return (
    <>
      <Heading>{t("data.title")}</Heading>
      {data.error && <Trouble error={data.error} retry={() => data.refetch()} />}
      {!whole && <Loading />}
      {data.data && whole && (
        <>
          <Choices data={data.data} />
          <Lately data={data.data} />
          <Exports />
          <Shares data={data.data} />
          <Receipts data={data.data} />
          <Rights data={data.data} />
          <section className="sheet mydata" aria-labelledby="looks">
            <h2 id="looks">{t("looks.title")}</h2>
            <p>{t("looks.link.text")}</p>
            <p>
              <Link to={{ name: "looks" }}>{t("looks.link")}</Link>
            </p>
          </section>
        </>
      )}
    </>
  );
}

function Choices({ data }: { data: MyData }) {
  const { t } = useLanguage();
  const { notice } = data;
  return (
    <section className="sheet mydata" aria-labelledby="collected">
      <h2 id="collected">{notice.title || t("collected.heading")}</h2>
      {notice.paragraphs.length === 0 && <p>{t("collected.text")}</p>}
      {notice.paragraphs.map((text) => (
        <p key={text} lang={notice.language}>
          {text}
        </p>
      ))}
      {notice.controller && (
        <p className="soft">{t("data.controller", { name: notice.controller, contact: notice.contact ?? "" })}</p>
      )}
      {data.restricted && <p role="status">{t("data.restricted")}</p>}
      <ul className="purposes">
        {data.purposes.map((p) => (
          <li key={p.name}>
            <PurposeRow data={data} purpose={p} />
          </li>
        ))}
      </ul>
      <h3>{t("data.recipients")}</h3>
      {data.recipients.length === 0 ? (
        <p className="soft">{t("data.nobody")}</p>
      ) : (
        <ul className="signals">
          {data.recipients.map((r) => (
            <li key={r.name}>
              <strong>{r.name}</strong>
              <span>{r.what}</span>
              <span className="soft">{r.purposes.join(", ")}</span>
            </li>
          ))}
        </ul>
      )}
      <p className="soft">{t("data.version", { version: notice.version })}</p>
    </section>
  );
}

/** One switch a purpose: the same one to give and to withdraw, with what each means beside it. */
function PurposeRow({ data, purpose }: { data: MyData; purpose: PurposeData }) {
  const { t } = useLanguage();
  const { time } = useTimes();
  const consent = useData(choose(data.unitId, purpose.name, data.notice.version, data.notice.language));
  const reason = useReason(consent.error);
  const given = consent.isPending ? Boolean(consent.variables) : purpose.given;
  const label = `purpose-${purpose.name}`;
  const about = `about-${purpose.name}`;
  const going = data.withdrawals.find((w) => w.purpose === purpose.name && !w.endedAt);
  return (
    <>
      <div className="purpose">
        <div>
          <h3 id={label} lang={data.notice.language}>
            {purpose.title}
          </h3>
          <p id={about} lang={data.notice.language}>
            {purpose.description}
          </p>
        </div>
        {purpose.basis === "consent" ? (
          <button
            type="button"
            role="switch"
            className="switch"
            aria-checked={given}
            aria-labelledby={label}
            aria-describedby={about}
            aria-busy={consent.isPending}
            onClick={() => consent.mutate(!given)}
          >
            <span aria-hidden="true">{given ? t("collected.on") : t("collected.off")}</span>
          </button>
        ) : (
          <p className="always">{t("collected.necessary")}</p>
        )}
      </div>
      {purpose.basis === "necessary" && <p className="soft">{t("collected.necessaryWhy")}</p>}
      {purpose.basis === "consent" && (
        <p className="soft">
          {purpose.onWithdrawal === "keep" ? t("data.keeps", { why: purpose.keepReason ?? "" }) : t("data.erases")}
        </p>
      )}
      {purpose.ask && (
        <div className="ask">
          <p>{t("data.changed", { what: purpose.new.join(", ") || purpose.title })}</p>
          <div className="buttons">
            <button type="button" className="quiet" onClick={() => consent.mutate(true)}>
              {t("data.agree")}
            </button>
            <button type="button" className="quiet" onClick={() => consent.mutate(false)}>
              {t("data.withdraw")}
            </button>
          </div>
        </div>
      )}
      <p className="receipt" role="status">
        {consent.isPending && t("collected.saving")}
        {consent.isError && <span className="wrong">{reason}</span>}
        {consent.isSuccess && t("collected.receipt", { time: time(consent.data.at), id: consent.data.id })}
        {going && ` ${t("data.erasing", { done: going.done, total: going.total })}`}
      </p>
      <details>
        <summary>{t("collected.signals")}</summary>
        {purpose.items.length === 0 ? (
          <p className="soft">{t("collected.noSignals")}</p>
        ) : (
          <ul className="signals">
            {data.items
              .filter((i) => purpose.items.includes(i.title))
              .map((i) => (
                <li key={i.name}>
                  <strong>{i.title}</strong>
                  <span>{i.description}</span>
                  <Kept time={i.retention} />
                </li>
              ))}
          </ul>
        )}
      </details>
    </>
  );
}

function Kept({ time }: { time: string }) {
  const { t } = useLanguage();
  const days = /^(\d+)d$/.exec(time);
  return (
    <span className="soft">
      {days?.[1] ? t("collected.kept", { days: Number(days[1]) }) : t("collected.keptOther", { time })}
    </span>
  );
}

function Lately({ data }: { data: MyData }) {
  const { t, locale } = useLanguage();
  const { time } = useTimes();
  const written = (i: MyData["items"][number]) => {
    if (i.number === undefined) return i.text ?? "";
    if (i.type === "boolean") return i.number ? t("data.yes") : t("data.no");
    return figure(i.number, i.unit, locale);
  };
  const collected = data.items.filter((i) => i.collected || i.lastAt);
  return (
    <section className="sheet mydata" aria-labelledby="lately">
      <h2 id="lately">{t("data.lately")}</h2>
      {collected.length === 0 && <p>{t("data.nothing")}</p>}
      <ul className="signals">
        {collected.map((i) => (
          <li key={i.name}>
            <strong>{i.title}</strong>
            <span>
              {written(i)}
              {i.lastAt && ` · ${time(i.lastAt)}`}
            </span>
            <span className="soft">
              {i.collected ? t("data.today", { n: i.today }) : t("data.held")} {i.purposes.join(", ")}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Exports() {
  const { t, locale } = useLanguage();
  const { time } = useTimes();
  const exports = useExports();
  const ask = useData(askExport);
  const reason = useReason(ask.error ?? exports.error);
  const shown = exports.data?.filter((e) => e.state !== "expired") ?? [];
  return (
    <section className="sheet mydata" aria-labelledby="export">
      <h2 id="export">{t("data.export")}</h2>
      <p>{t("data.export.text")}</p>
      <button type="button" className="main" onClick={() => ask.mutate(undefined)} disabled={ask.isPending}>
        {t("data.export.ask")}
      </button>
      <div role="status">
        {(ask.isError || exports.isError) && <p className="wrong">{reason}</p>}
        {shown.map((e) => (
          <p key={e.id}>
            {e.state === "ready" && (
              <a href={`/owner/v1/exports/${e.id}/archive`} download>
                {t("data.export.download", {
                  time: time(e.endedAt),
                  size: ((e.bytes ?? 0) / 1e6).toLocaleString(locale, { maximumFractionDigits: 1 }),
                  until: time(e.expiresAt),
                })}
              </a>
            )}
            {(e.state === "waiting" || e.state === "running") &&
              t("data.export.making", { done: e.done, total: e.total })}
            {e.state === "failed" && <span className="wrong">{e.why}</span>}
          </p>
        ))}
      </div>
    </section>
  );
}

function Receipts({ data }: { data: MyData }) {
  const { t } = useLanguage();
  const { time } = useTimes();
  return (
    <section className="sheet mydata" aria-labelledby="receipts">
      <h2 id="receipts">{t("data.receipts")}</h2>
      {data.receipts.length === 0 ? (
        <p>{t("data.receipts.none")}</p>
      ) : (
        <>
          <p>
            <a href={`/owner/v1/units/${encodeURIComponent(data.unitId)}/receipts`} download>
              {t("data.receipts.all")}
            </a>
          </p>
          <ul className="signals">
            {data.receipts.map((r) => (
              <li key={r.id}>
                <strong>{r.title}</strong>
                <span>
                  {r.given ? t("data.given") : t("data.notGiven")} · {time(r.at)}
                </span>
                <a href={`/owner/v1/receipts/${encodeURIComponent(r.id)}`} download>
                  {t("data.receipts.one", { id: r.id })}
                </a>
              </li>
            ))}
          </ul>
        </>
      )}
      {data.withdrawals.length > 0 && (
        <>
          <h3>{t("data.gone")}</h3>
          <ul className="signals">
            {data.withdrawals.map((w) => (
              <li key={`${w.purpose}${w.at}`}>
                <strong>{w.title}</strong>
                <span>{w.endedAt ? time(w.endedAt) : t("data.erasing", { done: w.done, total: w.total })}</span>
                {w.erased.length > 0 && <span>{t("data.erased", { what: w.erased.join(", ") })}</span>}
                {w.kept.length > 0 && <span>{t("data.kept", { what: w.kept.join(", "), why: w.reason ?? "" })}</span>}
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}
