import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import {
  type Account,
  type App,
  browserOf,
  changeEmail,
  dropApp,
  endOthers,
  endSession,
  linkIdentity,
  makeApp,
  type Passkey,
  removePasskey,
  renamePasskey,
  saveAccount,
  unlinkIdentity,
  useAccount,
  useApps,
  useIdentities,
  usePasskeys,
  useSessions,
} from "../account";
import { Link } from "../address";
import { type Me, useSignOut } from "../api";
import { languages, names, useLanguage } from "../language";
import { gaveUp, known, makePasskey, passkeysWork } from "../passkeys";
import { answer, type Invited, useChange, useInbox, useWays, withdraw } from "../people";
import type { PageProps } from "../routes";
import { Heading, Loading, Trouble, useReason, useWhole } from "../states";
import { useTimes } from "../when";
import "../people.css";

/** The person's own account: who they are, how they sign in, where they are signed in, which apps act for them. */
export function AccountPage({ me }: PageProps) {
  const { t } = useLanguage();
  const account = useAccount();
  const signOut = useSignOut();
  const whole = useWhole(account, useInbox(), usePasskeys(), useIdentities(), useSessions(), useApps(), useWays());
  const problem = location.hash.startsWith("#problem=")
    ? decodeURIComponent(location.hash.slice("#problem=".length).replace(/\+/g, " "))
    : "";
  if (!whole)
    return (
      <>
        <Heading>{t("account.title")}</Heading>
        <Loading />
      </>
    );
  return (
    <>
      <Heading>{t("account.title")}</Heading>
      {problem && (
        <div className="trouble" role="alert">
          <p>{t("account.refused", { why: problem })}</p>
        </div>
      )}
      <Inbox />
      {account.error && <Trouble error={account.error} retry={() => account.refetch()} />}
      {account.data && (
        <>
          <Profile kept={account.data} />
          <Email kept={account.data} />
        </>
      )}
      <Passkeys />
      <Identities />
      <Sessions />
      <Apps me={me} />
      <section className="sheet" aria-labelledby="more-products">
        <h2 id="more-products">{t("account.claim")}</h2>
        <p>{t("account.claim.text")}</p>
        <p>
          <Link to={{ name: "claim" }}>{t("account.claim.link")}</Link>
        </p>
      </section>
      <p>
        <button type="button" className="quiet" disabled={signOut.isPending} onClick={() => signOut.mutate()}>
          {t("app.signOut")}
        </button>
      </p>
    </>
  );
}

function Inbox() {
  const { t } = useLanguage();
  const inbox = useInbox();
  if (!inbox.data?.length) return null;
  return (
    <section className="sheet" aria-labelledby="inbox">
      <h2 id="inbox">{t("account.inbox")}</h2>
      <ul className="rows">
        {inbox.data.map((i) => (
          <Waiting key={i.id} waiting={i} />
        ))}
      </ul>
    </section>
  );
}

function Waiting({ waiting }: { waiting: Invited }) {
  const { t } = useLanguage();
  const { day } = useTimes();
  const decide = useChange(answer);
  const drop = useChange(withdraw);
  const error = decide.error ?? drop.error;
  const words = waiting.kind === "request" ? (waiting.yours ? "asked" : "asking") : waiting.kind;
  return (
    <li>
      <p className="who">{waiting.product}</p>
      <p>{t(`account.inbox.${words}`, { by: waiting.by ?? "", email: waiting.email })}</p>
      <p className="soft">{t("account.until", { day: day(waiting.expiresAt) })}</p>
      {error && <Trouble error={error} />}
      {waiting.yours ? (
        <div className="buttons">
          <button
            type="button"
            className="quiet"
            disabled={decide.isPending}
            onClick={() => decide.mutate({ id: waiting.id, accept: true })}
          >
            {t("people.accept")}
          </button>
          <button
            type="button"
            className="quiet"
            disabled={decide.isPending}
            onClick={() => decide.mutate({ id: waiting.id, accept: false })}
          >
            {t("people.decline")}
          </button>
        </div>
      ) : (
        <button type="button" className="plain" disabled={drop.isPending} onClick={() => drop.mutate(waiting.id)}>
          {t("people.takeBack")}
        </button>
      )}
    </li>
  );
}

function Profile({ kept }: { kept: Account }) {
  const { t, choose } = useLanguage();
  const [name, setName] = useState(kept.name);
  const [locale, setLocale] = useState(kept.locale);
  const [zone, setZone] = useState(kept.timeZone);
  const save = useChange(saveAccount, (a) => {
    const code = a.locale.split("-")[0] ?? "";
    if (languages.includes(code)) choose(code);
  });
  const reason = useReason(save.error);
  const base = languages.find((l) => l === locale.split("-")[0]);
  function submit(e: FormEvent) {
    e.preventDefault();
    save.mutate({ name, locale, timeZone: zone });
  }
  return (
    <form className="sheet" onSubmit={submit} aria-labelledby="profile">
      <h2 id="profile">{t("account.profile")}</h2>
      <label className="field">
        <span>{t("account.name")}</span>
        <input autoComplete="name" maxLength={100} value={name} onChange={(e) => setName(e.target.value)} />
      </label>
      <label className="field">
        <span>{t("account.language")}</span>
        <select value={base ?? locale} onChange={(e) => setLocale(e.target.value)}>
          {[...new Set([...languages, base ?? locale])].map((l) => (
            <option key={l} value={l} lang={l}>
              {names[l] ?? l}
            </option>
          ))}
        </select>
      </label>
      <label className="field">
        <span>{t("account.zone")}</span>
        <select value={zone} onChange={(e) => setZone(e.target.value)}>
          {[...new Set([zone, ...Intl.supportedValuesOf("timeZone")])].map((z) => (
            <option key={z} value={z}>
              {z}
            </option>
          ))}
        </select>
      </label>
      {save.error && (
        <p className="wrong" role="alert">
          {reason}
        </p>
      )}
      {save.isSuccess && <p role="status">{t("account.saved")}</p>}
      <button type="submit" className="main" disabled={save.isPending}>
        {t("account.save")}
      </button>
    </form>
  );
}

function Email({ kept }: { kept: Account }) {
  const { t } = useLanguage();
  const [email, setEmail] = useState("");
  const change = useMutation({ mutationFn: changeEmail });
  const reason = useReason(change.error);
  return (
    <form
      className="sheet"
      aria-labelledby="email"
      onSubmit={(e) => {
        e.preventDefault();
        change.mutate(email);
      }}
    >
      <h2 id="email">{t("account.email")}</h2>
      <p>{t("account.email.text", { email: kept.email })}</p>
      <label className="field">
        <span>{t("account.email.new")}</span>
        <input type="email" required autoComplete="email" value={email} onChange={(e) => setEmail(e.target.value)} />
      </label>
      {change.error && (
        <p className="wrong" role="alert">
          {reason}
        </p>
      )}
      {change.isSuccess && <p role="status">{t("account.email.sent", { email: change.variables })}</p>}
      <button type="submit" className="quiet" disabled={change.isPending}>
        {t("account.email.send")}
      </button>
    </form>
  );
}

function Passkeys() {
  const { t } = useLanguage();
  const all = usePasskeys();
  const [name, setName] = useState(() => browserOf(navigator.userAgent));
  const add = useChange(makePasskey);
  return (
    <section className="sheet" aria-labelledby="passkeys">
      <h2 id="passkeys">{t("account.passkeys")}</h2>
      <p>{t("account.passkeys.text")}</p>
      {all.error && <Trouble error={all.error} retry={() => all.refetch()} />}
      {all.data && all.data.length > 0 && (
        <ul className="rows">
          {all.data.map((k) => (
            <PasskeyRow key={k.id} passkey={k} />
          ))}
        </ul>
      )}
      {passkeysWork() ? (
        <form
          onSubmit={(e) => {
            e.preventDefault();
            add.mutate(name);
          }}
        >
          <label className="field">
            <span>{t("account.passkeys.name")}</span>
            <input required maxLength={100} value={name} onChange={(e) => setName(e.target.value)} />
          </label>
          {add.error &&
            (known(add.error) ? (
              <p role="status">{t("account.passkeys.known")}</p>
            ) : gaveUp(add.error) ? (
              <p role="status">{t("signIn.passkey.gaveUp")}</p>
            ) : (
              <Trouble error={add.error} />
            ))}
          {add.isSuccess && <p role="status">{t("account.passkeys.added")}</p>}
          <button type="submit" className="quiet" disabled={add.isPending}>
            {t("account.passkeys.add")}
          </button>
        </form>
      ) : (
        <p className="soft">{t("account.passkeys.none")}</p>
      )}
    </section>
  );
}

function PasskeyRow({ passkey }: { passkey: Passkey }) {
  const { t } = useLanguage();
  const { day, time } = useTimes();
  const [name, setName] = useState<string>();
  const rename = useChange(renamePasskey, () => setName(undefined));
  const remove = useChange(removePasskey);
  const error = rename.error ?? remove.error;
  return (
    <li>
      {name === undefined ? (
        <p className="who">{passkey.name}</p>
      ) : (
        <form
          onSubmit={(e) => {
            e.preventDefault();
            rename.mutate({ id: passkey.id, name });
          }}
        >
          <label className="field">
            <span>{t("account.passkeys.name")}</span>
            <input required maxLength={100} value={name} onChange={(e) => setName(e.target.value)} />
          </label>
          <button type="submit" className="quiet" disabled={rename.isPending}>
            {t("account.save")}
          </button>
        </form>
      )}
      {passkey.clonedAt ? (
        <p className="wrong">{t("account.passkeys.cloned")}</p>
      ) : (
        <p className="soft">
          {t("account.made", { day: day(passkey.createdAt) })}
          {passkey.usedAt && ` ${t("account.used", { time: time(passkey.usedAt) })}`}
          {passkey.synced && ` ${t("account.passkeys.synced")}`}
        </p>
      )}
      {error && <Trouble error={error} />}
      <div className="buttons">
        {name === undefined && (
          <button
            type="button"
            className="plain"
            aria-label={t("account.rename.what", { name: passkey.name })}
            onClick={() => setName(passkey.name)}
          >
            {t("account.rename")}
          </button>
        )}
        <button
          type="button"
          className="plain"
          aria-label={t("people.remove.who", { name: passkey.name })}
          disabled={remove.isPending}
          onClick={() => remove.mutate(passkey.id)}
        >
          {t("people.remove")}
        </button>
      </div>
    </li>
  );
}

function Identities() {
  const { t } = useLanguage();
  const { day } = useTimes();
  const ways = useWays();
  const all = useIdentities();
  const link = useMutation({
    mutationFn: linkIdentity,
    onSuccess: (at) => location.assign(at.url),
  });
  const drop = useChange(unlinkIdentity);
  const error = link.error ?? drop.error;
  const providers = ways.data?.providers ?? [];
  if (providers.length === 0 && !all.data?.length) return null;
  const title = (name: string) => providers.find((p) => p.name === name)?.title ?? name;
  return (
    <section className="sheet" aria-labelledby="identities">
      <h2 id="identities">{t("account.identities")}</h2>
      <p>{t("account.identities.text")}</p>
      <ul className="rows">
        {all.data?.map((i) => (
          <li key={i.id}>
            <p className="who">{title(i.provider)}</p>
            <p className="soft">
              {i.email} {t("account.made", { day: day(i.createdAt) })}
            </p>
            <button
              type="button"
              className="plain"
              aria-label={t("people.remove.who", { name: title(i.provider) })}
              disabled={drop.isPending}
              onClick={() => drop.mutate(i.id)}
            >
              {t("people.remove")}
            </button>
          </li>
        ))}
      </ul>
      {error && <Trouble error={error} />}
      <div className="buttons">
        {providers.map((p) => (
          <button
            key={p.name}
            type="button"
            className="quiet"
            disabled={link.isPending}
            onClick={() => link.mutate(p.name)}
          >
            {t("account.identities.link", { name: p.title })}
          </button>
        ))}
      </div>
    </section>
  );
}

function Sessions() {
  const { t } = useLanguage();
  const { time } = useTimes();
  const all = useSessions();
  const end = useChange(endSession);
  const others = useChange(endOthers);
  const error = all.error ?? end.error ?? others.error;
  return (
    <section className="sheet" aria-labelledby="sessions">
      <h2 id="sessions">{t("account.sessions")}</h2>
      {error && <Trouble error={error} />}
      <ul className="rows">
        {all.data?.map((s) => (
          <li key={s.id}>
            <p className="who">{browserOf(s.agent ?? "") || t("account.sessions.unknown")}</p>
            <p className="soft">
              {t("account.sessions.since", { time: time(s.createdAt) })}
              {s.usedAt && ` ${t("account.used", { time: time(s.usedAt) })}`}
              {s.address && ` ${t("account.sessions.from", { address: s.address })}`}
            </p>
            {s.current ? (
              <p className="soft">{t("account.sessions.this")}</p>
            ) : (
              <button type="button" className="plain" disabled={end.isPending} onClick={() => end.mutate(s.id)}>
                {t("account.sessions.end")}
              </button>
            )}
          </li>
        ))}
      </ul>
      {(all.data?.length ?? 0) > 1 && (
        <button type="button" className="quiet" disabled={others.isPending} onClick={() => others.mutate(undefined)}>
          {t("account.sessions.others")}
        </button>
      )}
    </section>
  );
}

function Apps({ me }: { me: Me }) {
  const { t } = useLanguage();
  const all = useApps();
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const [scope, setScope] = useState<"read" | "act">("read");
  const [unit, setUnit] = useState("");
  const make = useMutation({
    mutationFn: makeApp,
    onSuccess: () => {
      setName("");
      return queries.invalidateQueries({ queryKey: ["apps"] });
    },
  });
  const reason = useReason(make.error);
  function submit(e: FormEvent) {
    e.preventDefault();
    make.mutate({ name, scope, units: unit ? [unit] : [] });
  }
  return (
    <section className="sheet" aria-labelledby="apps">
      <h2 id="apps">{t("account.apps")}</h2>
      <p>{t("account.apps.text")}</p>
      {all.error && <Trouble error={all.error} retry={() => all.refetch()} />}
      {all.data && all.data.length > 0 && (
        <ul className="rows">
          {all.data.map((a) => (
            <AppRow key={a.id} app={a} me={me} />
          ))}
        </ul>
      )}
      <form onSubmit={submit}>
        <label className="field">
          <span>{t("account.apps.name")}</span>
          <input required maxLength={100} value={name} onChange={(e) => setName(e.target.value)} />
        </label>
        <label className="field">
          <span>{t("account.apps.scope")}</span>
          <select value={scope} onChange={(e) => setScope(e.target.value === "act" ? "act" : "read")}>
            <option value="read">{t("account.apps.scope.read")}</option>
            <option value="act">{t("account.apps.scope.act")}</option>
          </select>
        </label>
        {me.units.length > 1 && (
          <label className="field">
            <span>{t("account.apps.units")}</span>
            <select value={unit} onChange={(e) => setUnit(e.target.value)}>
              <option value="">{t("account.apps.units.all")}</option>
              {me.units.map((u) => (
                <option key={u.id} value={u.id}>{`${u.productTitle} ${u.serial}`}</option>
              ))}
            </select>
          </label>
        )}
        {make.error && (
          <p className="wrong" role="alert">
            {reason}
          </p>
        )}
        {make.data && (
          <div role="status">
            <p>{t("account.apps.once")}</p>
            <strong className="code">{make.data.token}</strong>
          </div>
        )}
        <button type="submit" className="quiet" disabled={make.isPending}>
          {t("account.apps.make")}
        </button>
      </form>
    </section>
  );
}

function AppRow({ app, me }: { app: App; me: Me }) {
  const { t } = useLanguage();
  const { day, time } = useTimes();
  const drop = useChange(dropApp);
  const units = app.units.map((id) => me.units.find((u) => u.id === id)?.serial ?? id).join(", ");
  return (
    <li>
      <p className="who">{app.name}</p>
      <p className="soft">
        {t(`account.apps.scope.${app.scope}`)} {units || t("account.apps.units.all")}
      </p>
      <p className="soft">
        {t("account.until", { day: day(app.expiresAt) })}{" "}
        {app.usedAt ? t("account.used", { time: time(app.usedAt) }) : t("account.unused")}
      </p>
      {drop.error && <Trouble error={drop.error} />}
      <button
        type="button"
        className="plain"
        aria-label={t("people.remove.who", { name: app.name })}
        disabled={drop.isPending}
        onClick={() => drop.mutate(app.id)}
      >
        {t("people.remove")}
      </button>
    </li>
  );
}
