import { Link } from "@tanstack/react-router";
import { type Trust, useTrust } from "../api/releases";
import { Time, useClock } from "../clock";
import { Facts, Page, PageTrouble, Sheet } from "../parts/Page";
import { Empty, Loading } from "../parts/States";

const day = 86_400_000;

/** Whose signatures units trust, and what has to be done about it next. */
export function TrustPage() {
  const trust = useTrust();
  if (trust.error) return <PageTrouble what="Loading the keys" error={trust.error} retry={() => trust.refetch()} />;
  if (!trust.data) return <Loading what="the keys" lines={8} />;
  const t = trust.data;
  return (
    <Page title="Keys">
      <p className="soft">
        Units check two signatures (TUF): the image repository’s, by keys that people keep offline, and the director’s,
        by the service’s own. Offline keys are made and used with <code>fettle keys</code> on another machine, never
        here.
      </p>
      {t.warnings.map((w) => (
        <p key={w} className="verdict" role="status">
          <span className="mark degraded">look here</span>
          <span>{w}</span>
        </p>
      ))}
      {t.next && (
        <Sheet title="Next">
          <p>{t.next}</p>
        </Sheet>
      )}
      <div className="pair">
        {t.roots.length === 0 && (
          <Sheet title="Roots">
            <Empty title="There is no root yet">
              Until the ceremony is done, units that check signatures are offered nothing. Begin it with{" "}
              <code>fettle keys</code>.
            </Empty>
          </Sheet>
        )}
        {t.roots.map((r) => (
          <Root key={r.repository} root={r} />
        ))}
        <Sheet title="The service’s keys">
          <ul className="plain">
            {t.online.map((k) => (
              <li key={`${k.name}${k.state}`} className="spread">
                <span>
                  {k.name} {k.keyId && <code title={k.keyId}>{k.keyId.slice(0, 12)}…</code>}
                </span>
                <span className={`mark ${k.state === "missing" ? "failed" : k.state === "next" ? "acting" : "normal"}`}>
                  {k.state}
                </span>
              </li>
            ))}
          </ul>
        </Sheet>
        <Sheet title="What is signed">
          {t.targets ? (
            <Facts
              facts={[
                ["Images", t.targets.count.toLocaleString("en")],
                ["Version of the list", t.targets.version],
                ["Expires", <Expiry key="e" at={t.targets.expires} />],
              ]}
            />
          ) : (
            <p className="soft">Nothing yet.</p>
          )}
          <h3>Waits for a signature</h3>
          {t.pending.length === 0 ? (
            <p className="soft">Nothing.</p>
          ) : (
            <ul>
              {t.pending.map((p) => (
                <li key={`${p.what}${p.target}`}>
                  {p.what} <code>{p.target}</code>
                </li>
              ))}
            </ul>
          )}
        </Sheet>
        <Sheet title="Products that must be signed">
          {t.required.length === 0 ? (
            <p className="soft">
              None: releases without offline signatures may be offered, to clients that check none.
            </p>
          ) : (
            <ul className="plain">
              {t.required.map((p) => (
                <li key={p.product} className="spread">
                  <Link to="/products/$name" params={{ name: p.product }}>
                    {p.product}
                  </Link>
                  <span className="soft">
                    by {p.by}, <Time at={p.at} />
                  </span>
                </li>
              ))}
            </ul>
          )}
        </Sheet>
      </div>
    </Page>
  );
}

function Root({ root: r }: { root: Trust["roots"][number] }) {
  return (
    <Sheet title={r.repository === "image" ? "Root of the images" : "Root of the director"}>
      <Facts
        facts={[
          ["Version", r.version],
          ["Signatures needed", `${r.threshold} of ${r.holders.filter((h) => h.roles.includes("root")).length}`],
          ["Expires", <Expiry key="e" at={r.expires} />],
          [
            "Fingerprint",
            <code key="f" title={r.fingerprint}>
              {r.fingerprint.slice(0, 16)}…
            </code>,
          ],
        ]}
      />
      <ul className="plain">
        {r.holders.map((h) => (
          <li key={h.keyId} className="spread">
            <span>
              {h.name} <code title={h.keyId}>{h.keyId.slice(0, 12)}…</code>
            </span>
            <span className="soft">{h.roles.join(", ")}</span>
          </li>
        ))}
      </ul>
    </Sheet>
  );
}

function Expiry({ at }: { at: string }) {
  const { now } = useClock();
  const left = Math.floor((Date.parse(at) - now().getTime()) / day);
  const tone = left < 0 ? "failed" : left < 30 ? "degraded" : undefined;
  return (
    <>
      <Time at={at} /> {tone && <span className={`mark ${tone}`}>{left < 0 ? "expired" : `in ${left} days`}</span>}
    </>
  );
}
