import "./tips.css";
import { useEffect, useRef } from "react";
import { Link } from "./address";
import { useLanguage } from "./language";
import { useReason } from "./states";
import { type Tip, useReportTip, useTips } from "./tips";

/** The tips of this moment for a product; nothing where there are none, or where they cannot be had. */
export function TipCards({ unit }: { unit: string }) {
  const tips = useTips();
  const now = tips.data?.now.filter((t) => t.unitId === unit) ?? [];
  return (
    <>
      {now.map((t) => (
        <TipCard key={t.id} tip={t} />
      ))}
    </>
  );
}

function TipCard({ tip }: { tip: Tip }) {
  const { t } = useLanguage();
  const { mutate, isPending, error } = useReportTip();
  const reason = useReason(error);
  const seen = useRef("");
  useEffect(() => {
    if (seen.current === tip.id) return;
    seen.current = tip.id;
    mutate({ id: tip.id, event: "shown" });
  }, [tip.id, mutate]);
  const title = `tip-${tip.id}`;
  return (
    <section className="sheet tip" aria-labelledby={title}>
      <p className="soft">{t("tips.one")}</p>
      <h2 id={title}>{tip.title}</h2>
      <p>{tip.text}</p>
      {tip.sources && <p className="soft">{t("tips.sources", { sources: tip.sources.join(", ") })}</p>}
      <div className="buttons">
        {tip.action && tip.link && (
          <a
            className="button main"
            href={tip.link}
            onClick={() => mutate({ id: tip.id, event: "acted" })}
            rel="noreferrer"
          >
            {tip.action}
          </a>
        )}
        <button
          type="button"
          className="quiet"
          disabled={isPending}
          onClick={() => mutate({ id: tip.id, event: "dismissed" })}
        >
          {t("tips.close")}
        </button>
      </div>
      <p role="status">{error && <span className="wrong">{reason}</span>}</p>
      <p>
        <Link to={{ name: "tips" }}>{t("tips.choose")}</Link>
      </p>
    </section>
  );
}
