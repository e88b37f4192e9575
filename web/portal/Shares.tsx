import { type FormEvent, useState } from "react";
import { useLanguage } from "./language";
import { endShare, type MyData, type Share, share, useData, useShares, useShareUses } from "./mydata";
import { Loading, Trouble, useReason } from "./states";
import { useTimes } from "./when";

/** What the owner shares of a product with third parties, what these have fetched, and a new share. */
export function Shares({ data }: { data: MyData }) {
  const { t } = useLanguage();
  const shares = useShares();
  const make = useData(share(data.unitId));
  const reason = useReason(make.error);
  const [picked, setPicked] = useState<string[]>([]);
  const here = shares.data?.filter((s) => s.unitId === data.unitId) ?? [];
  const signals = data.items.filter((i) => i.type);

  function submit(e: FormEvent<HTMLFormElement>) {
    e.preventDefault();
    const form = e.currentTarget;
    const f = new FormData(form);
    const until = new Date(`${f.get("until")}T23:59:59`);
    make.mutate(
      {
        recipient: String(f.get("recipient")),
        contact: String(f.get("contact")),
        signals: picked,
        until: until.toISOString(),
      },
      {
        onSuccess: () => {
          form.reset();
          setPicked([]);
        },
      },
    );
  }

  return (
    <section className="sheet mydata" aria-labelledby="share">
      <h2 id="share">{t("data.share")}</h2>
      <p>{t("data.share.text")}</p>
      {here.map((s) => (
        <ShareRow key={s.id} share={s} data={data} />
      ))}
      <form onSubmit={submit}>
        <label className="field">
          <span>{t("data.share.recipient")}</span>
          <input name="recipient" required maxLength={200} autoComplete="off" />
        </label>
        <label className="field">
          <span>{t("data.share.contact")}</span>
          <input name="contact" required maxLength={300} autoComplete="off" />
        </label>
        <fieldset>
          <legend>{t("data.share.what")}</legend>
          {signals.map((i) => (
            <label className="check" key={i.name}>
              <input
                type="checkbox"
                checked={picked.includes(i.name)}
                onChange={(e) => setPicked(e.target.checked ? [...picked, i.name] : picked.filter((n) => n !== i.name))}
              />
              <span>{i.title}</span>
            </label>
          ))}
        </fieldset>
        <label className="field">
          <span>{t("data.share.until")}</span>
          <input type="date" name="until" required />
        </label>
        <button type="submit" className="main" disabled={make.isPending || picked.length === 0}>
          {t("data.share.make")}
        </button>
      </form>
      <div role="status">
        {make.isError && <p className="wrong">{reason}</p>}
        {make.isSuccess && (
          <>
            <p>{t("data.share.token", { recipient: make.data.recipient, address: make.data.address })}</p>
            <p>
              <code className="words">{make.data.token}</code>
            </p>
          </>
        )}
      </div>
    </section>
  );
}

function ShareRow({ share, data }: { share: Share; data: MyData }) {
  const { t } = useLanguage();
  const { day } = useTimes();
  const end = useData(endShare);
  const reason = useReason(end.error);
  return (
    <div className="shared">
      <p>
        <strong>{share.recipient}</strong> ·{" "}
        {share.signals.map((n) => data.items.find((i) => i.name === n)?.title ?? n).join(", ")}
      </p>
      <p className="soft">
        {share.endedAt
          ? t("data.share.ended", { day: day(share.endedAt) })
          : t("data.share.runs", { day: day(share.until) })}
      </p>
      {!share.endedAt && (
        <button type="button" className="quiet" onClick={() => end.mutate(share.id)} disabled={end.isPending}>
          {t("data.share.end", { recipient: share.recipient })}
        </button>
      )}
      {end.isError && <p className="wrong">{reason}</p>}
      <Uses share={share} />
    </div>
  );
}

/** What was fetched by a share: when, what, how much. */
function Uses({ share }: { share: Share }) {
  const { t, locale } = useLanguage();
  const { time } = useTimes();
  const [open, setOpen] = useState(false);
  const [most, setMost] = useState(20);
  const uses = useShareUses(share.id, open);
  const all = uses.data ?? [];
  const sum = all.reduce((n, u) => n + u.samples, 0);
  return (
    <details className="uses" open={open} onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>{t("data.share.uses", { recipient: share.recipient })}</summary>
      {open && uses.isPending && <Loading />}
      {uses.error && <Trouble error={uses.error} retry={() => uses.refetch()} />}
      {uses.data && all.length === 0 && <p>{t("data.share.uses.none")}</p>}
      {all.length > 0 && (
        <>
          <p>{t("data.share.uses.sum", { n: sum, times: all.length, time: time(all[0]?.at) })}</p>
          {all.length >= 500 && <p className="soft">{t("data.share.uses.most")}</p>}
          <table>
            <thead>
              <tr>
                <th scope="col">{t("data.share.uses.when")}</th>
                <th scope="col">{t("data.share.uses.what")}</th>
                <th scope="col">{t("data.share.uses.much")}</th>
              </tr>
            </thead>
            <tbody>
              {all.slice(0, most).map((u) => (
                <tr key={`${u.at}${u.what}`}>
                  <td>
                    {time(u.at)}
                    {u.what === "live" &&
                      ` ${u.endedAt ? t("data.share.use.until", { time: time(u.endedAt) }) : t("data.share.use.running")}`}
                  </td>
                  <td>{t(`data.share.use.${u.what}`)}</td>
                  <td className="number">{u.what === "described" ? "" : u.samples.toLocaleString(locale)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {all.length > most && (
            <button type="button" className="quiet" onClick={() => setMost(500)}>
              {t("looks.older")}
            </button>
          )}
        </>
      )}
    </details>
  );
}
