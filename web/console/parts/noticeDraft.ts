import type { ProductSpec } from "../api/fleet";
import type { NoticeDraft } from "../api/rights";

type Notice = NoticeDraft["notice"];

/** A draft that says what is said now, under the version of a month. */
export function draftOf(p: ProductSpec, after: string, now: Date): NoticeDraft {
  const own = p.notice?.language || "en";
  const notice: Notice = p.notice
    ? structuredClone(p.notice)
    : {
        version: "",
        controller: { name: p.help?.contact.name ?? "", contact: p.help?.contact.mail ?? "" },
        texts: { [own]: { title: p.title, text: p.description ?? "" } },
      };
  notice.version = versionAfter(after, now);
  notice.widens = [];
  return {
    after,
    title: p.title,
    description: p.description,
    notice,
    purposes: p.purposes.map(({ name, title, description, keepReason, texts }) => ({
      name,
      title,
      description,
      keepReason,
      texts: texts && structuredClone(texts),
    })),
    signals: p.signals.map(({ name, title, description, texts }) => ({
      name,
      title,
      description,
      texts: texts && structuredClone(texts),
    })),
  };
}

/** As 2026-11; where that is taken, 2026-11.2 and so on. */
export function versionAfter(before: string, now: Date): string {
  const month = now.toISOString().slice(0, 7);
  if (before !== month && !before.startsWith(`${month}.`)) return month;
  return `${month}.${Number(before.slice(month.length + 1) || "1") + 1}`;
}

/** The words of a language, empty where there are none yet. */
export function withLanguage(d: NoticeDraft, lang: string): NoticeDraft {
  const empty = { title: "", description: "" };
  return {
    ...d,
    notice: { ...d.notice, texts: { ...d.notice.texts, [lang]: d.notice.texts[lang] ?? { title: "", text: "" } } },
    purposes: d.purposes.map((q) => ({ ...q, texts: { ...q.texts, [lang]: q.texts?.[lang] ?? empty } })),
  };
}

export function withoutLanguage(d: NoticeDraft, lang: string): NoticeDraft {
  const drop = <T>(texts: Record<string, T> | undefined) =>
    texts && Object.fromEntries(Object.entries(texts).filter(([l]) => l !== lang));
  return {
    ...d,
    notice: { ...d.notice, texts: drop(d.notice.texts) ?? {} },
    purposes: d.purposes.map((q) => ({ ...q, texts: drop(q.texts) })),
    signals: d.signals.map((s) => ({ ...s, texts: drop(s.texts) })),
  };
}

/** A draft as the product would be with it, to be looked at. */
export function drafted(p: ProductSpec, d: NoticeDraft): ProductSpec {
  return {
    ...p,
    title: d.title,
    description: d.description,
    notice: d.notice,
    purposes: p.purposes.map((q, i) => ({ ...q, ...d.purposes[i] })),
    signals: p.signals.map((s, i) => ({ ...s, ...d.signals[i] })),
  };
}
