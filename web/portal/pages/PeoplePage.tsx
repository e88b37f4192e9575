import { type FormEvent, useState } from "react";
import { go } from "../address";
import { useLanguage } from "../language";
import {
  answer,
  dropCode,
  farewell,
  type Invited,
  invite,
  makeCode,
  type OnUnit,
  type Person,
  permit,
  removeDriver,
  useChange,
  usePeople,
  withdraw,
} from "../people";
import type { PageProps } from "../routes";
import { Heading, Loading, Trouble, useReason } from "../states";
import { useTimes } from "../when";
import "../people.css";

/** Who owns and who uses a product, and the ways for it to change hands. */
export function PeoplePage({ id }: PageProps) {
  const { t } = useLanguage();
  const people = usePeople(id);
  return (
    <>
      <Heading>{t("people.title")}</Heading>
      {people.isPending && <Loading />}
      {people.error && <Trouble error={people.error} retry={() => people.refetch()} />}
      {people.data &&
        (people.data.role === "owner" ? <Owner id={id} all={people.data} /> : <Driver id={id} all={people.data} />)}
    </>
  );
}

function Owner({ id, all }: { id: string; all: OnUnit }) {
  const { t } = useLanguage();
  const requests = all.invitations.filter((i) => i.kind === "request");
  const sent = all.invitations.filter((i) => i.kind !== "request");
  return (
    <>
      {requests.map((r) => (
        <RequestSheet key={r.id} request={r} />
      ))}
      <section className="sheet" aria-labelledby="who">
        <h2 id="who">{t("people.who")}</h2>
        <ul className="rows">
          <li>
            <p className="who">{t("people.you", { email: all.owner.email ?? "" })}</p>
            <p className="soft">{t("people.role.owner")}</p>
          </li>
          {all.drivers.map((d) => (
            <DriverRow key={d.id} id={id} person={d} />
          ))}
          {sent.map((i) => (
            <SentRow key={i.id} invited={i} />
          ))}
        </ul>
        {all.drivers.length === 0 && sent.length === 0 && <p>{t("people.alone")}</p>}
      </section>
      {all.mail && <InviteSheet id={id} />}
      <HandOver id={id} all={all} />
      <Farewell id={id} />
    </>
  );
}

function RequestSheet({ request }: { request: Invited }) {
  const { t } = useLanguage();
  const decide = useChange(answer, () => {
    if (decide.variables?.accept) go({ name: "home" });
  });
  return (
    <section className="sheet" aria-label={t("people.request.title")}>
      <h2>{t("people.request.title")}</h2>
      <p>{t("people.request.text", { email: request.email, product: request.product })}</p>
      {decide.error && <Trouble error={decide.error} />}
      <div className="buttons">
        <button
          type="button"
          className="main"
          disabled={decide.isPending}
          onClick={() => decide.mutate({ id: request.id, accept: false })}
        >
          {t("people.request.keep")}
        </button>
        <button
          type="button"
          className="quiet danger"
          disabled={decide.isPending}
          onClick={() => decide.mutate({ id: request.id, accept: true })}
        >
          {t("people.request.give")}
        </button>
      </div>
    </section>
  );
}

function DriverRow({ id, person }: { id: string; person: Person }) {
  const { t } = useLanguage();
  const change = useChange(permit(id));
  const remove = useChange(removeDriver(id));
  const error = change.error ?? remove.error;
  const name = person.name ? `${person.name} (${person.email ?? ""})` : (person.email ?? "");
  return (
    <li>
      <p className="who">{name}</p>
      <p className="soft">{t("people.role.driver")}</p>
      <label className="check">
        <input
          type="checkbox"
          checked={person.mayUpdate}
          disabled={change.isPending}
          onChange={(e) => change.mutate({ person: person.id, mayUpdate: e.target.checked })}
        />
        <span>{t("people.mayUpdate")}</span>
      </label>
      {error && <Trouble error={error} />}
      <button
        type="button"
        className="plain"
        aria-label={t("people.remove.who", { name })}
        disabled={remove.isPending}
        onClick={() => remove.mutate(person.id)}
      >
        {t("people.remove")}
      </button>
    </li>
  );
}

function SentRow({ invited }: { invited: Invited }) {
  const { t } = useLanguage();
  const { day } = useTimes();
  const drop = useChange(withdraw);
  return (
    <li>
      <p className="who">{invited.email}</p>
      <p className="soft">
        {t(invited.kind === "own" ? "people.sent.own" : "people.sent.drive", { day: day(invited.expiresAt) })}
      </p>
      {drop.error && <Trouble error={drop.error} />}
      <button
        type="button"
        className="plain"
        aria-label={t("people.takeBack.who", { name: invited.email })}
        disabled={drop.isPending}
        onClick={() => drop.mutate(invited.id)}
      >
        {t("people.takeBack")}
      </button>
    </li>
  );
}

function InviteSheet({ id }: { id: string }) {
  const { t } = useLanguage();
  const [email, setEmail] = useState("");
  const [mayUpdate, setMayUpdate] = useState(false);
  const send = useChange(invite(id), () => setEmail(""));
  const reason = useReason(send.error);
  function submit(e: FormEvent) {
    e.preventDefault();
    send.mutate({ kind: "drive", email, mayUpdate });
  }
  return (
    <form className="sheet" onSubmit={submit} aria-labelledby="invite">
      <h2 id="invite">{t("people.invite")}</h2>
      <p>{t("people.invite.text")}</p>
      <label className="field">
        <span>{t("people.email")}</span>
        <input type="email" required autoComplete="off" value={email} onChange={(e) => setEmail(e.target.value)} />
      </label>
      <label className="check">
        <input type="checkbox" checked={mayUpdate} onChange={(e) => setMayUpdate(e.target.checked)} />
        <span>{t("people.mayUpdate")}</span>
      </label>
      {send.error && (
        <p className="wrong" role="alert">
          {reason}
        </p>
      )}
      {send.data && <p role="status">{t("people.invited", { email: send.data.email })}</p>}
      <button type="submit" className="main" disabled={send.isPending}>
        {t("people.invite.send")}
      </button>
    </form>
  );
}

function HandOver({ id, all }: { id: string; all: OnUnit }) {
  const { t } = useLanguage();
  const { day } = useTimes();
  const [email, setEmail] = useState("");
  const send = useChange(invite(id), () => setEmail(""));
  const code = useChange(makeCode(id));
  const drop = useChange(dropCode(id), () => code.reset());
  const error = send.error ?? code.error ?? drop.error;
  return (
    <section className="sheet" aria-labelledby="hand-over">
      <h2 id="hand-over">{t("people.handOver")}</h2>
      <p>{t("people.handOver.text")}</p>
      {all.mail && (
        <form
          onSubmit={(e) => {
            e.preventDefault();
            send.mutate({ kind: "own", email });
          }}
        >
          <label className="field">
            <span>{t("people.handOver.email")}</span>
            <input type="email" required autoComplete="off" value={email} onChange={(e) => setEmail(e.target.value)} />
          </label>
          {send.data && <p role="status">{t("people.handOver.sent", { email: send.data.email })}</p>}
          <p>
            <button type="submit" className="quiet" disabled={send.isPending}>
              {t("people.handOver.send")}
            </button>
          </p>
        </form>
      )}
      <h3>{t("people.code")}</h3>
      <p>{t("people.code.text")}</p>
      {code.data && (
        <div role="status">
          <strong className="code">{code.data.code}</strong>
          <p className="soft">{t("people.code.once", { day: day(code.data.expiresAt ?? "") })}</p>
        </div>
      )}
      {!code.data && all.code && <p>{t("people.code.stands", { day: day(all.code.expiresAt ?? "") })}</p>}
      {error && <Trouble error={error} />}
      <div className="buttons">
        <button type="button" className="quiet" disabled={code.isPending} onClick={() => code.mutate(undefined)}>
          {t(all.code ? "people.code.another" : "people.code.make")}
        </button>
        {all.code && (
          <button type="button" className="plain" disabled={drop.isPending} onClick={() => drop.mutate(undefined)}>
            {t("people.takeBack")}
          </button>
        )}
      </div>
    </section>
  );
}

function Farewell({ id }: { id: string }) {
  const { t } = useLanguage();
  const [sure, setSure] = useState(false);
  const leave = useChange(farewell(id), () => go({ name: "home" }));
  return (
    <section className="sheet" aria-labelledby="farewell">
      <h2 id="farewell">{t("people.farewell")}</h2>
      <p>{t("people.farewell.text")}</p>
      {leave.error && <Trouble error={leave.error} />}
      {sure ? (
        <>
          <p role="alert">{t("people.farewell.sure")}</p>
          <div className="buttons">
            <button type="button" className="quiet" onClick={() => setSure(false)}>
              {t("people.farewell.keep")}
            </button>
            <button
              type="button"
              className="quiet danger"
              disabled={leave.isPending}
              onClick={() => leave.mutate(undefined)}
            >
              {t("people.farewell.yes")}
            </button>
          </div>
        </>
      ) : (
        <button type="button" className="quiet danger" onClick={() => setSure(true)}>
          {t("people.farewell.button")}
        </button>
      )}
    </section>
  );
}

function Driver({ id, all }: { id: string; all: OnUnit }) {
  const { t } = useLanguage();
  const [sure, setSure] = useState(false);
  const leave = useChange(removeDriver(id), () => go({ name: "home" }));
  const me = all.drivers.find((d) => d.you);
  const owner = all.owner.name || t("people.theOwner");
  return (
    <section className="sheet">
      <p>{t("people.driver.you", { owner })}</p>
      <p>{t(me?.mayUpdate ? "people.driver.may" : "people.driver.mayNot")}</p>
      {leave.error && <Trouble error={leave.error} />}
      {sure ? (
        <>
          <p role="alert">{t("people.leave.sure")}</p>
          <div className="buttons">
            <button type="button" className="quiet" onClick={() => setSure(false)}>
              {t("people.leave.stay")}
            </button>
            <button
              type="button"
              className="quiet danger"
              disabled={leave.isPending}
              onClick={() => leave.mutate(me?.id ?? "")}
            >
              {t("people.leave.yes")}
            </button>
          </div>
        </>
      ) : (
        <button type="button" className="quiet danger" onClick={() => setSure(true)}>
          {t("people.leave")}
        </button>
      )}
    </section>
  );
}
