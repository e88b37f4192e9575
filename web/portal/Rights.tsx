import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useLanguage } from "./language";
import { type MyData, useData } from "./mydata";
import { type Asked, askFor, eraseMe, type Kind, kinds, lift, useRights } from "./rights";
import { Loading, Trouble } from "./states";
import { useTimes } from "./when";

/** What the owner may ask for about the data, and what came of it. */
export function Rights({ data }: { data: MyData }) {
  const { t } = useLanguage();
  const { time } = useTimes();
  const rights = useRights();
  const end = useData(lift);
  const title = (name?: string) => data.purposes.find((p) => p.name === name)?.title ?? name ?? "";
  const limits = rights.data?.limits.filter((l) => l.unitId === data.unitId) ?? [];
  return (
    <section className="sheet mydata" aria-labelledby="rights">
      <h2 id="rights">{t("rights.title")}</h2>
      <p>{t("rights.text")}</p>
      {rights.error && <Trouble error={rights.error} retry={() => rights.refetch()} />}
      {rights.isPending && <Loading />}
      {limits.map((l) => (
        <div key={l.purpose ?? ""} className="ask">
          <p>
            {l.purpose
              ? t("rights.objects", { purpose: title(l.purpose), time: time(l.since) })
              : t("rights.restricted", { time: time(l.since) })}
          </p>
          <button type="button" className="quiet" disabled={end.isPending} onClick={() => end.mutate(l)}>
            {t("rights.lift")}
          </button>
        </div>
      ))}
      {end.error && <Trouble error={end.error} />}
      {rights.data && rights.data.requests.length > 0 && (
        <ul className="signals">
          {rights.data.requests.map((r) => (
            <li key={r.id}>
              <strong>{t(`rights.kind.${r.kind}`)}</strong>
              <span>{r.answer || r.text}</span>
              <span className="soft">{standing(r)}</span>
            </li>
          ))}
        </ul>
      )}
      <Ask data={data} />
      <Erase />
    </section>
  );

  function standing(r: Asked): string {
    if (r.state === "done" || r.state === "refused") return t(`rights.state.${r.state}`, { time: time(r.answeredAt) });
    return t("rights.state.open", { asked: time(r.at), due: time(r.dueAt) });
  }
}

function Ask({ data }: { data: MyData }) {
  const { t } = useLanguage();
  const [kind, setKind] = useState<Kind>("access");
  const send = useData(askFor);
  const purposes = data.purposes.filter((p) => p.basis !== "consent");

  function submit(e: FormEvent<HTMLFormElement>) {
    e.preventDefault();
    const form = e.currentTarget;
    const f = new FormData(form);
    const purpose = kind === "objection" ? String(f.get("purpose")) : undefined;
    const text = String(f.get("text")).trim() || undefined;
    send.mutate({ kind, unitId: data.unitId, purpose, text }, { onSuccess: () => form.reset() });
  }

  return (
    <form onSubmit={submit}>
      <label className="field">
        <span>{t("rights.ask")}</span>
        <select value={kind} onChange={(e) => setKind(e.target.value as Kind)}>
          {kinds
            .filter((k) => k !== "objection" || purposes.length > 0)
            .map((k) => (
              <option key={k} value={k}>
                {t(`rights.kind.${k}`)}
              </option>
            ))}
        </select>
      </label>
      <p className="soft">{t(`rights.about.${kind}`)}</p>
      {kind === "objection" && (
        <label className="field">
          <span>{t("rights.purpose")}</span>
          <select name="purpose">
            {purposes.map((p) => (
              <option key={p.name} value={p.name}>
                {p.title}
              </option>
            ))}
          </select>
        </label>
      )}
      <label className="field">
        <span>{t("rights.words")}</span>
        <textarea name="text" rows={3} maxLength={4000} />
      </label>
      {send.error && <Trouble error={send.error} />}
      <div role="status">{send.isSuccess && <p>{t("rights.sent", { due: send.data.dueAt.slice(0, 10) })}</p>}</div>
      <button type="submit" className="main" disabled={send.isPending}>
        {t("rights.send")}
      </button>
    </form>
  );
}

/** There is no way back, so it is folded away, and the address is typed once more. */
function Erase() {
  const { t } = useLanguage();
  const [email, setEmail] = useState("");
  // Whoever is erased is signed out: the receipt is a page of its own, which needs no session.
  const erase = useMutation({
    mutationFn: eraseMe,
    onSuccess: ({ receipt, secret }) => location.assign(`/my/erased#${receipt.id}.${secret}`),
  });
  return (
    <details>
      <summary>{t("rights.erase")}</summary>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          erase.mutate(email);
        }}
      >
        <p>{t("rights.erase.text")}</p>
        <label className="field">
          <span>{t("rights.erase.email")}</span>
          <input type="email" required autoComplete="email" value={email} onChange={(e) => setEmail(e.target.value)} />
        </label>
        {erase.error && <Trouble error={erase.error} />}
        <button type="submit" className="main danger" disabled={erase.isPending || erase.isSuccess}>
          {t("rights.erase.button")}
        </button>
      </form>
    </details>
  );
}
