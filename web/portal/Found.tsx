import { lazy, Suspense } from "react";
import type { Finding, Me } from "./api";
import "./found.css";
import { figure, secondsOf, span } from "./figures";
import { type Language, useLanguage } from "./language";
import { Caught, Loading } from "./states";
import { formatTime, knownZone } from "./time";

const FoundChart = lazy(() => import("./FoundChart").then((m) => ({ default: m.FoundChart })));

/** What was found and why we think so: in words, with the figures, and with the chart. */
export function Found({ finding, unit, me }: { finding: Finding; unit: string; me: Me }) {
  const language = useLanguage();
  const { t, locale } = language;
  const zone = knownZone(me.timeZone);
  const heading = `found-${finding.id}`;
  return (
    <section className="found" aria-labelledby={heading}>
      <h3 id={heading}>{finding.title}</h3>
      <p className="soft">
        {finding.until
          ? t("found.until", {
              from: formatTime(finding.since, locale, zone),
              to: formatTime(finding.until, locale, zone),
            })
          : t("found.since", { time: formatTime(finding.since, locale, zone) })}
      </p>
      {finding.meaning && <p>{finding.meaning}</p>}
      <h4>{t("found.why")}</h4>
      {reasons(finding, language).map((reason) => (
        <p key={reason}>{reason}</p>
      ))}
      {finding.signal && (
        <div className="charted">
          <Caught>
            <Suspense fallback={<Loading />}>
              <FoundChart finding={finding} unit={unit} me={me} />
            </Suspense>
          </Caught>
        </div>
      )}
    </section>
  );
}

/** Why we think so, in sentences. Where the figures do not make one, the rule's own. */
export function reasons(f: Finding, { t, locale }: Pick<Language, "t" | "locale">): string[] {
  const signal = f.signalTitle ?? "";
  const peak = figure(f.peak, f.unit, locale);
  const hold = secondsOf(f.hold);
  const lasting = hold > 0 ? [t("found.hold", { time: span(hold, locale) })] : [];
  const varying = f.bands.some((b) => b.when) ? [t("found.varying")] : [];
  switch (f.type) {
    case "silence":
      return [t("found.silence", { time: span(f.peak, locale) })];
    case "peers":
      return signal ? [t("found.peers", { signal })] : [f.why];
    case "trend":
      return signal ? [t("found.trend", { signal }), ...limits(f, { t, locale })] : [f.why];
    case "anomaly":
      return [t("found.anomaly")];
    case "prognosis":
      return [t("found.prognosis")];
    case "tolerance":
      if (!signal) return [f.why];
      if (f.share)
        return [
          t("found.share", {
            signal,
            share: f.peak.toLocaleString(locale, { maximumFractionDigits: 0 }),
            time: span(secondsOf(f.window), locale),
          }),
          ...limits(f, { t, locale }),
          ...varying,
        ];
      if (f.count)
        return [
          t("found.count", { signal, n: f.peak, time: span(secondsOf(f.window), locale) }),
          ...limits(f, { t, locale }),
          ...varying,
        ];
      if (f.within) return [t("found.change", { signal, peak, time: span(secondsOf(f.within), locale) }), ...lasting];
      return [t("found.was", { signal, peak }), ...limits(f, { t, locale }), ...lasting, ...varying];
    default:
      return [f.why];
  }
}

/** Where the signal belongs, by the bands that the furthest value lies outside of. */
function limits(f: Finding, { t, locale }: Pick<Language, "t" | "locale">): string[] {
  const broken = f.share || f.count || f.type === "trend" ? f.bands : f.bands.filter((b) => outside(f.peak, b));
  // Of several that were broken, the nearest to what was measured is the one that says most.
  const band = broken.toSorted((a, b) => distance(f.peak, a) - distance(f.peak, b))[0];
  if (!band) return [];
  const min = band.min === undefined ? "" : figure(band.min, f.unit, locale);
  const max = band.max === undefined ? "" : figure(band.max, f.unit, locale);
  if (min && max) return [t("found.between", { min, max })];
  if (max) return [t("found.atMost", { max })];
  return min ? [t("found.atLeast", { min })] : [];
}

type Band = Finding["bands"][number];
const outside = (v: number, b: Band) => (b.min !== undefined && v < b.min) || (b.max !== undefined && v > b.max);
const distance = (v: number, b: Band) => Math.min(Math.abs(v - (b.min ?? Infinity)), Math.abs(v - (b.max ?? Infinity)));
