import "../notices.css";
import "../people.css";
import { useState } from "react";
import { Link } from "../address";
import { usePreferences } from "../api";
import type { Key } from "../areas";
import { useLanguage } from "../language";
import { type Notice, useAcknowledge, useContact, useNoteRead, useNotices } from "../notices";
import { Pushing } from "../Pushing";
import { usePushing } from "../push";
import { Reaching } from "../Reaching";
import type { PageProps } from "../routes";
import { Heading, Loading, Trouble, useReason, useWhole } from "../states";
import { formatTime, knownZone } from "../time";

/** What the owner was told, what waits, what was not sent and why; and how they are reached. */
export function NoticesPage({ me }: PageProps) {
  const { t } = useLanguage();
  const notices = useNotices();
  const whole = useWhole(notices, usePreferences(), useContact(), usePushing());
  const all = notices.data?.pages.flatMap((p) => p.items) ?? [];
  if (!whole)
    return (
      <>
        <Heading>{t("notices.title")}</Heading>
        <Loading />
      </>
    );
  return (
    <>
      <Heading>{t("notices.title")}</Heading>
      <section className="sheet" aria-label={t("notices.title")}>
        {notices.error && <Trouble error={notices.error} retry={() => notices.refetch()} />}
        {notices.data && all.length === 0 && <p>{t("notices.none")}</p>}
        <ul className="notices">
          {all.map((n) => (
            <li key={n.id}>
              <One notice={n} zone={knownZone(me.timeZone)} />
            </li>
          ))}
        </ul>
        {notices.hasNextPage && (
          <div className="buttons">
            <button
              type="button"
              className="quiet"
              disabled={notices.isFetchingNextPage}
              onClick={() => notices.fetchNextPage()}
            >
              {t("notices.more")}
            </button>
          </div>
        )}
      </section>
      <Pushing />
      <Reaching me={me} />
      <p>
        <Link to={{ name: "settings" }}>{t("nav.settings")}</Link> ·{" "}
        <Link to={{ name: "tips" }}>{t("tips.title")}</Link>
      </p>
    </>
  );
}

const kinds: Record<Notice["kind"], Key> = {
  safety: "notices.kind.safety",
  security: "notices.kind.security",
  service: "notices.kind.service",
  feature: "notices.kind.feature",
  tip: "notices.kind.tip",
  account: "notices.kind.account",
  operations: "notices.kind.account",
};

/** Why something was not sent, or later. */
const reasons: Record<string, Key> = {
  "switched off": "notices.reason.off",
  cap: "notices.reason.cap",
  "quiet hours": "notices.reason.quiet",
  "safety contact only": "notices.reason.safetyOnly",
  "no address": "notices.reason.address",
  expired: "notices.reason.late",
};

function One({ notice: n, zone }: { notice: Notice; zone: string }) {
  const { t, locale } = useLanguage();
  const read = useNoteRead();
  const acknowledge = useAcknowledge();
  const reason = useReason(acknowledge.error);
  const [open, setOpen] = useState(false);
  const when = (at: string) => formatTime(at, locale, zone);
  const unread = n.verdict === "told" && !n.readAt && !n.ackedAt;
  return (
    <details
      className={unread ? "notice unread" : "notice"}
      open={open}
      onToggle={(e) => {
        setOpen(e.currentTarget.open);
        if (e.currentTarget.open && unread && !read.isPending) read.mutate(n.id);
      }}
    >
      <summary>
        <span className="subject">
          {n.subject || t(kinds[n.kind])}
          {unread && <span className="unseen"> ({t("notices.unread")})</span>}
        </span>
        <span className="soft">
          {t(kinds[n.kind])} · {state(n, t, when)}
        </span>
      </summary>
      {n.body && (
        <p className="body" lang={n.language}>
          {n.body}
        </p>
      )}
      {n.overrode && n.overrode.length > 0 && <p className="soft">{t("notices.overrode")}</p>}
      {n.acknowledge && !n.ackedAt && n.verdict === "told" && (
        <div className="buttons">
          <button
            type="button"
            className="main"
            disabled={acknowledge.isPending}
            onClick={() => acknowledge.mutate(n.id)}
          >
            {t("notices.ack")}
          </button>
        </div>
      )}
      <p role="status">
        {n.ackedAt && t("notices.acked", { when: when(n.ackedAt) })}
        {acknowledge.isError && <span className="wrong">{reason}</span>}
      </p>
    </details>
  );
}

/** What became of a notice, in words. */
function state(n: Notice, t: ReturnType<typeof useLanguage>["t"], when: (at: string) => string): string {
  const why = n.reason && reasons[n.reason];
  if (n.verdict === "later" && n.dueAt) return t("notices.later", { when: when(n.dueAt) });
  if (n.verdict === "merged") return t("notices.merged", { when: when(n.toldAt ?? n.createdAt) });
  if (n.verdict === "withheld") return why ? t(why) : t("notices.withheld");
  return when(n.toldAt ?? n.createdAt);
}
