import { useHelp } from "../api";
import { useLanguage } from "../language";
import type { PageProps } from "../routes";
import { Heading, Loading, Trouble, useWhole } from "../states";

const cases = ["silent", "update", "failed", "sold", "wrong"] as const;

/** How to reach the maker, what owners ask most, and what to do if. */
export function HelpPage({ me, id }: PageProps) {
  const { t } = useLanguage();
  const help = useHelp(id);
  const whole = useWhole(help);
  if (!whole)
    return (
      <>
        <Heading>{t("help.title")}</Heading>
        <Loading />
      </>
    );
  const serial = me.units.find((u) => u.id === id)?.serial ?? id;
  return (
    <>
      <Heading>{t("help.title")}</Heading>
      <section className="sheet" aria-labelledby="maker">
        <h2 id="maker">{t("help.maker")}</h2>
        {help.error && <Trouble error={help.error} retry={() => help.refetch()} />}
        {help.data && (help.data.name ? <Maker help={help.data} /> : <p>{t("help.maker.none", { serial })}</p>)}
      </section>
      {help.data && help.data.questions.length > 0 && (
        <section className="sheet" aria-labelledby="questions">
          <h2 id="questions">{t("help.questions")}</h2>
          {help.data.questions.map((q) => (
            <details key={q.question}>
              <summary>{q.question}</summary>
              <p>{q.answer}</p>
            </details>
          ))}
        </section>
      )}
      <section className="sheet" aria-labelledby="if">
        <h2 id="if">{t("help.if")}</h2>
        {cases.map((c) => (
          <details key={c}>
            <summary>{t(`help.if.${c}`)}</summary>
            <p>{t(`help.if.${c}.text`)}</p>
          </details>
        ))}
      </section>
    </>
  );
}

type Help = NonNullable<ReturnType<typeof useHelp>["data"]>;

function Maker({ help }: { help: Help }) {
  const { t } = useLanguage();
  return (
    <>
      <p>
        <strong>{help.name}</strong>
      </p>
      <dl className="reach">
        {help.phone && (
          <div>
            <dt>{t("help.phone")}</dt>
            <dd>
              <a href={`tel:${help.phone.replace(/[^+\d]/g, "")}`}>{help.phone}</a>
            </dd>
          </div>
        )}
        {help.mail && (
          <div>
            <dt>{t("help.mail")}</dt>
            <dd>
              <a href={`mailto:${help.mail}?subject=${encodeURIComponent(help.serial)}`}>{help.mail}</a>
            </dd>
          </div>
        )}
        {help.url && (
          <div>
            <dt>{t("help.site")}</dt>
            <dd>
              <a href={help.url}>{new URL(help.url).host}</a>
            </dd>
          </div>
        )}
        {help.hours && (
          <div>
            <dt>{t("help.hours")}</dt>
            <dd>{help.hours}</dd>
          </div>
        )}
        {help.manual && (
          <div>
            <dt>{t("help.manual")}</dt>
            <dd>
              <a href={help.manual}>{new URL(help.manual).host}</a>
            </dd>
          </div>
        )}
      </dl>
      <p className="soft">{t("help.serial", { serial: help.serial })}</p>
    </>
  );
}
