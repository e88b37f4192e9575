import { lasting } from "../../chart/measure";
import type { ProductSpec } from "../api/fleet";
import type { Widening } from "../api/rights";

const rtl = new Set(["ar", "he", "fa", "ur"]);

/** A language by its English name, with its tag where that says more. */
export function languageName(tag: string): string {
  try {
    return new Intl.DisplayNames("en", { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag; // a tag that is still being typed
  }
}

export const directionOf = (tag: string) => (rtl.has(tag.split("-")[0] ?? "") ? "rtl" : "ltr");

/** A period as ISO 8601 or Go has it in declarations ("90d"), in words of English. */
export function lengthOf(text: string): string {
  const whole = /^(\d+)([dhms])$/.exec(text);
  if (!whole) return lasting(text);
  const unit = { d: "day", h: "hour", m: "minute", s: "second" }[whole[2] ?? "d"];
  return `${whole[1]} ${unit}${whole[1] === "1" ? "" : "s"}`;
}

type Words = Pick<ProductSpec, "title" | "description" | "purposes" | "signals" | "notice">;

/** A notice as an owner reads it in a language: text, then each purpose with its switch. */
export function NoticeView({ words: w, lang }: { words: Words; lang: string }) {
  const own = w.notice?.language || "en";
  const text = w.notice?.texts[lang];
  const paragraphs = (text?.text ?? "").split(/\n\s*\n/).filter((p) => p.trim());
  const titleOf = (name: string) => {
    const q = w.purposes.find((x) => x.name === name);
    return (lang !== own && q?.texts?.[lang]?.title) || q?.title || name;
  };
  return (
    <article className="notice" lang={lang} dir={directionOf(lang)}>
      <h3>{text?.title || w.title}</h3>
      {paragraphs.map((p) => (
        <p key={p}>{p}</p>
      ))}
      {!text && w.description && <p>{w.description}</p>}
      <ul className="plain">
        {w.purposes.map((q) => {
          const said = (lang !== own && q.texts?.[lang]) || q;
          const signals = w.signals.filter((s) => s.purposes.includes(q.name));
          return (
            <li key={q.name}>
              <span className="spread">
                <strong>{said.title}</strong>
                <span className="mark unknown" lang="en" dir="ltr">
                  {q.basis === "consent" ? "a switch" : "no switch"}
                </span>
              </span>
              <p>{said.description}</p>
              {signals.length > 0 && (
                <p className="soft">
                  {signals.map((s) => (lang !== own && s.texts?.[lang]?.title) || s.title || s.name).join(", ")}
                </p>
              )}
              {q.onWithdrawal === "keep" && <p className="soft">{said.keepReason || q.keepReason}</p>}
            </li>
          );
        })}
      </ul>
      {(w.notice?.recipients ?? []).map((r) => (
        <p key={r.name}>
          <strong>
            {r.name}
            {r.country && ` (${r.country})`}
          </strong>
          : {r.what} <span className="soft">{r.purposes.map(titleOf).join(", ")}</span>
        </p>
      ))}
      {w.notice && (
        <p className="soft">
          {[w.notice.controller.name, w.notice.controller.contact, w.notice.controller.address, w.notice.complaint]
            .filter(Boolean)
            .join(" · ")}
        </p>
      )}
    </article>
  );
}

/** What a version uses data for beyond the one before, and what that means for who agreed. */
export function Widenings({ widens, dry }: { widens: Widening[]; dry?: boolean }) {
  if (widens.length === 0) return <p>It uses data for nothing more than the version before: nobody is asked again.</p>;
  return (
    <ul className="plain">
      {widens.map((w) => (
        <li key={w.purpose}>
          <strong>{w.title}</strong>
          {w.anew && <p>Owners who agreed are asked again. What they agreed to goes on until they answer.</p>}
          {w.items.length > 0 && (
            <p>
              New to it, or kept for longer: {w.items.join(", ")}. Of owners who agreed before, it is not collected
              until they agree again.
            </p>
          )}
          {dry && (
            <p className="soft">
              {w.units === undefined
                ? "Fewer than 10 units agreed."
                : `At least ${w.units.toLocaleString("en")} units agreed.`}
            </p>
          )}
        </li>
      ))}
    </ul>
  );
}

/** How often, in words: a Go or day duration, as 10s. */
export const everyOf = (every: string | undefined) => (every ? `every ${lengthOf(every)}` : "when something happens");

export const bytesOf = (n: number): string => {
  for (const [size, unit] of [
    [1e9, "GB"],
    [1e6, "MB"],
    [1e3, "kB"],
  ] as const)
    if (n >= size) return `${(n / size).toLocaleString("en", { maximumSignificantDigits: 2 })} ${unit}`;
  return `${n} B`;
};
