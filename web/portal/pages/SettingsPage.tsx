import { type FormEvent, useState } from "react";
import { type Me, type Preferences, usePreferences, useSavePreferences } from "../api";
import { useLanguage } from "../language";
import type { PageProps } from "../routes";
import { Heading, Loading, Trouble, useReason } from "../states";
import { knownZone } from "../time";

export function SettingsPage({ me }: PageProps) {
  const { t } = useLanguage();
  const preferences = usePreferences();
  return (
    <>
      <Heading>{t("settings.title")}</Heading>
      {preferences.error && <Trouble error={preferences.error} retry={() => preferences.refetch()} />}
      {preferences.isPending && <Loading />}
      {preferences.data && <Form me={me} kept={preferences.data} />}
    </>
  );
}

type Span = { from: string; to: string };
const night: Span = { from: "21:00", to: "08:00" };
const small: Span = { from: "01:00", to: "05:00" };

/** What is kept beside the times of day, as days of the week, is left as it is. */
const spanOf = (hours: Preferences["quiet"], otherwise: Span): Span => ({ ...otherwise, ...hours?.[0] });

function Form({ me, kept }: { me: Me; kept: Preferences }) {
  const { t } = useLanguage();
  const save = useSavePreferences();
  const reason = useReason(save.error);
  const [quiet, setQuiet] = useState(() => spanOf(kept.quiet, night));
  const [limited, setLimited] = useState((kept.hours ?? []).length > 0);
  const [hours, setHours] = useState(() => spanOf(kept.hours, small));
  const [manual, setManual] = useState(kept.manual ?? false);
  const zone = knownZone(kept.timeZone || me.timeZone);
  const [ownZone, setOwnZone] = useState(kept.timeZone ?? "");

  function submit(e: FormEvent) {
    e.preventDefault();
    save.mutate({ ...kept, timeZone: ownZone || undefined, quiet: [quiet], hours: limited ? [hours] : [], manual });
  }

  return (
    <form className="sheet settings" onSubmit={submit}>
      <h2>{t("settings.quiet")}</h2>
      <p>{t("settings.quiet.text")}</p>
      <Times name="quiet" value={quiet} set={setQuiet} />

      <h2>{t("settings.security")}</h2>
      <p>{t("settings.security.text")}</p>
      <label className="check">
        <input type="checkbox" checked={!manual} onChange={(e) => setManual(!e.target.checked)} />
        <span>{t("settings.security.auto")}</span>
      </label>
      {manual ? (
        <p className="soft">{t("settings.security.off")}</p>
      ) : (
        <>
          <label className="check">
            <input type="checkbox" checked={limited} onChange={(e) => setLimited(e.target.checked)} />
            <span>{t("settings.security.hours")}</span>
          </label>
          {limited && <Times name="hours" value={hours} set={setHours} />}
        </>
      )}
      <p className="soft">{t("settings.security.others")}</p>

      <h2>{t("settings.zone")}</h2>
      <label className="field">
        <span>{t("settings.zone.text")}</span>
        <select value={ownZone || zone} onChange={(e) => setOwnZone(e.target.value)}>
          {[...new Set([zone, ...Intl.supportedValuesOf("timeZone")])].map((z) => (
            <option key={z} value={z}>
              {z}
            </option>
          ))}
        </select>
      </label>

      <div className="buttons">
        <button type="submit" className="main" disabled={save.isPending}>
          {t("settings.save")}
        </button>
      </div>
      <p role="status">
        {save.isSuccess && t("settings.saved")}
        {save.isError && <span className="wrong">{reason}</span>}
      </p>
    </form>
  );
}

function Times({ name, value, set }: { name: string; value: Span; set: (v: Span) => void }) {
  const { t } = useLanguage();
  return (
    <div className="times">
      {(["from", "to"] as const).map((end) => (
        <label key={end} className="field">
          <span>{t(`settings.${end}`)}</span>
          <input
            type="time"
            name={`${name}-${end}`}
            required
            value={value[end]}
            onChange={(e) => set({ ...value, [end]: e.target.value })}
          />
        </label>
      ))}
    </div>
  );
}
