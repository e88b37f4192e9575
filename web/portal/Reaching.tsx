import { type FormEvent, useState } from "react";
import { type Me, type Preferences, usePreferences, useSavePreferences } from "./api";
import { languages, names, useLanguage } from "./language";
import { type Contact, useContact, useSaveContact } from "./notices";
import { Loading, Trouble, useReason } from "./states";

/** How messages come, which are wanted, and where the owner can be reached. */
export function Reaching({ me }: { me: Me }) {
  const { t } = useLanguage();
  const preferences = usePreferences();
  const contact = useContact();
  const error = preferences.error ?? contact.error;
  return (
    <section className="sheet reaching" aria-labelledby="reaching">
      <h2 id="reaching">{t("notices.reach")}</h2>
      {error && <Trouble error={error} retry={() => Promise.all([preferences.refetch(), contact.refetch()])} />}
      {(preferences.isPending || contact.isPending) && !error && <Loading />}
      {preferences.data && contact.data && <Form me={me} kept={preferences.data} contact={contact.data} />}
    </section>
  );
}

const optional = ["tip", "feature", "service"] as const;
const ways = ["mail", "push", "sms", "voice"] as const;
type Way = (typeof ways)[number];

function Form({ me, kept, contact }: { me: Me; kept: Preferences; contact: Contact }) {
  const { t } = useLanguage();
  const save = useSavePreferences();
  const saveContact = useSaveContact();
  const failed = save.error ?? saveContact.error;
  const reason = useReason(failed);
  const [off, setOff] = useState<string[]>(kept.off ?? []);
  const [way, setWay] = useState<Way>((kept.channels?.service?.[0] as Way | undefined) ?? "mail");
  const [urgent, setUrgent] = useState<Way>((kept.channels?.safety?.[0] as Way | undefined) ?? "mail");
  const [language, setLanguage] = useState(kept.language ?? "");
  const [units, setUnits] = useState(kept.units ?? "");
  const [most, setMost] = useState(String(kept.caps?.["tip/week"] ?? 3));
  const [phone, setPhone] = useState(contact.phone ?? "");
  const [street, setStreet] = useState(contact.address?.lines.join("\n") ?? "");
  const [code, setCode] = useState(contact.address?.postalCode ?? "");
  const [city, setCity] = useState(contact.address?.city ?? "");
  const [country, setCountry] = useState(contact.address?.country ?? "");
  const [safetyOnly, setSafetyOnly] = useState((contact.safetyOnly ?? []).includes("phone"));

  async function submit(e: FormEvent) {
    e.preventDefault();
    const order = (first: Way) => [first, ...ways.filter((w) => w !== first && w !== "voice")];
    const others = { ...kept.channels };
    for (const kind of ["service", "feature", "tip", "security"]) others[kind] = order(way);
    others.safety = order(urgent);
    const lines = street.split("\n").map((l) => l.trim());
    await saveContact.mutateAsync({
      ...contact,
      phone: phone.replaceAll(/[^+\d]/g, "") || undefined,
      address: street.trim()
        ? {
            ...contact.address,
            lines: lines.filter(Boolean),
            postalCode: code.trim() || undefined,
            city: city.trim(),
            country: country.trim().toUpperCase(),
          }
        : undefined,
      safetyOnly: safetyOnly
        ? [...(contact.safetyOnly ?? []).filter((s) => s === "email"), "phone", "address"]
        : (contact.safetyOnly ?? []).filter((s) => s === "email"),
    });
    save.mutate({
      ...kept,
      off: off as Preferences["off"],
      channels: others,
      language: language || undefined,
      units: (units || undefined) as Preferences["units"],
      caps: { ...kept.caps, "tip/week": Number(most) },
    });
  }

  return (
    <form onSubmit={submit}>
      <fieldset>
        <legend>{t("notices.wanted")}</legend>
        {optional.map((kind) => (
          <label key={kind} className="check">
            <input
              type="checkbox"
              checked={!off.includes(kind)}
              onChange={(e) => setOff(e.target.checked ? off.filter((k) => k !== kind) : [...off, kind])}
            />
            <span>{t(`notices.kind.${kind}`)}</span>
          </label>
        ))}
        <p className="soft">{t("notices.always")}</p>
      </fieldset>
      <label className="field">
        <span>{t("notices.most")}</span>
        <input
          type="number"
          min="0"
          max="50"
          inputMode="numeric"
          value={most}
          onChange={(e) => setMost(e.target.value)}
        />
      </label>
      <Ways label={t("notices.way")} value={way} set={setWay} />
      <Ways label={t("notices.way.safety")} value={urgent} set={setUrgent} />
      <label className="field">
        <span>{t("notices.language")}</span>
        <select value={language} onChange={(e) => setLanguage(e.target.value)}>
          <option value="">
            {t("notices.language.same", { language: names[me.locale.slice(0, 2)] ?? me.locale })}
          </option>
          {languages.map((l) => (
            <option key={l} value={l} lang={l}>
              {names[l]}
            </option>
          ))}
        </select>
      </label>
      <label className="field">
        <span>{t("notices.units")}</span>
        <select value={units} onChange={(e) => setUnits(e.target.value as typeof units)}>
          <option value="">{t("notices.units.region")}</option>
          <option value="metric">{t("notices.units.metric")}</option>
          <option value="us">{t("notices.units.us")}</option>
          <option value="uk">{t("notices.units.uk")}</option>
        </select>
      </label>

      <h3>{t("notices.contact")}</h3>
      <p>{t("notices.contact.text")}</p>
      <label className="field">
        <span>{t("notices.phone")}</span>
        <input type="tel" autoComplete="tel" value={phone} onChange={(e) => setPhone(e.target.value)} />
      </label>
      <label className="field">
        <span>{t("notices.street")}</span>
        <textarea rows={2} autoComplete="street-address" value={street} onChange={(e) => setStreet(e.target.value)} />
      </label>
      <label className="field">
        <span>{t("notices.postcode")}</span>
        <input autoComplete="postal-code" value={code} onChange={(e) => setCode(e.target.value)} />
      </label>
      <label className="field">
        <span>{t("notices.city")}</span>
        <input
          autoComplete="address-level2"
          required={street !== ""}
          value={city}
          onChange={(e) => setCity(e.target.value)}
        />
      </label>
      <label className="field">
        <span>{t("notices.country")}</span>
        <input
          autoComplete="country"
          maxLength={2}
          required={street !== ""}
          value={country}
          onChange={(e) => setCountry(e.target.value)}
        />
      </label>
      <label className="check">
        <input type="checkbox" checked={safetyOnly} onChange={(e) => setSafetyOnly(e.target.checked)} />
        <span>{t("notices.safetyOnly")}</span>
      </label>
      <div className="buttons">
        <button type="submit" className="main" disabled={save.isPending || saveContact.isPending}>
          {t("notices.save")}
        </button>
      </div>
      <p role="status">
        {save.isSuccess && !failed && t("notices.saved")}
        {failed && <span className="wrong">{reason}</span>}
      </p>
    </form>
  );
}

function Ways({ label, value, set }: { label: string; value: Way; set: (w: Way) => void }) {
  const { t } = useLanguage();
  return (
    <label className="field">
      <span>{label}</span>
      <select value={value} onChange={(e) => set(e.target.value as Way)}>
        {ways.map((w) => (
          <option key={w} value={w}>
            {t(`notices.way.${w}`)}
          </option>
        ))}
      </select>
    </label>
  );
}
