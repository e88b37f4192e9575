import { useLandingToken } from "../../client/landing";
import { useLanguage } from "../language";
import { useErasure } from "../rights";
import { Heading, Loading, Trouble } from "../states";
import { useTimes } from "../when";
import "../data.css";
import "../unit.css";

/** How far an erasure is, and its receipt. Its number and secret stand behind # in the address. */
export function ErasedPage() {
  const { t } = useLanguage();
  const { time } = useTimes();
  const [id = "", secret = ""] = useLandingToken()[0].split(".");
  const erasure = useErasure(id);
  const r = erasure.data;
  return (
    <section className="sheet narrow mydata">
      <Heading>{t("rights.erased.title")}</Heading>
      {erasure.error && <Trouble error={erasure.error} retry={() => erasure.refetch()} />}
      {id === "" && <p role="alert">{t("rights.erased.nothing")}</p>}
      {id !== "" && erasure.isPending && <Loading />}
      {r && (
        <>
          <div role="status">
            <p>
              {r.endedAt
                ? t("rights.erased.done", { time: time(r.endedAt) })
                : t("rights.erased.going", { done: r.done, of: r.of })}
            </p>
          </div>
          <p>{t("rights.erased.backups", { time: time(r.backupsAt) })}</p>
          {secret && (
            <>
              <p>{t("rights.erased.keep")}</p>
              <p>
                <code className="words">{`${id}.${secret}`}</code>
              </p>
            </>
          )}
          {r.endedAt && r.kept.length > 0 && (
            <>
              <h2>{t("rights.erased.kept")}</h2>
              <ul className="signals" lang="en">
                {r.kept.map((k) => (
                  <li key={k.what}>
                    <strong>{k.what}</strong>
                    <span>{k.how}</span>
                    <span className="soft">{k.why}</span>
                  </li>
                ))}
              </ul>
            </>
          )}
        </>
      )}
    </section>
  );
}
