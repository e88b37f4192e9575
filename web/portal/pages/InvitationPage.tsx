import { useMutation, useQuery } from "@tanstack/react-query";
import { useLandingToken } from "../../client/landing";
import { Link } from "../address";
import { useLanguage } from "../language";
import { answerByLink, lookAtInvitation, useChange } from "../people";
import { Heading, Loading, Trouble } from "../states";

/** An invitation, opened by the link that was mailed: accept or decline. */
export function InvitationPage() {
  const { t } = useLanguage();
  const [token] = useLandingToken();
  const seen = useQuery({
    queryKey: ["invitation", token],
    queryFn: () => lookAtInvitation(token),
    retry: false,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const decline = useMutation({ mutationFn: answerByLink });
  const accept = useChange(answerByLink);
  const done = accept.data ?? decline.data;
  const o = seen.data;
  return (
    <section className="sheet narrow">
      <Heading>{t("invitation.title")}</Heading>
      {seen.isPending && <Loading />}
      {seen.error && <Trouble error={seen.error} />}
      {done?.state === "declined" && <p role="status">{t("invitation.declined")}</p>}
      {done?.state === "accepted" && (
        <div role="status">
          <p>{t(done.kind === "own" ? "invitation.owned" : "invitation.driven", { email: done.email ?? "" })}</p>
          <p>
            <Link
              to={done.unitId ? { name: done.kind === "own" ? "data" : "unit", id: done.unitId } : { name: "home" }}
            >
              {t(done.kind === "own" ? "claim.done.data" : "claim.done.unit")}
            </Link>
          </p>
        </div>
      )}
      {o && !done && o.state !== "open" && <p role="alert">{t(`invitation.state.${o.state}`)}</p>}
      {o && !done && o.state === "open" && (
        <>
          <p>{t(o.kind === "own" ? "invitation.own" : "invitation.drive", { by: o.by ?? "", product: o.product })}</p>
          <p>{t(o.kind === "own" ? "invitation.own.means" : "invitation.drive.means")}</p>
          <p className="soft">{t("invitation.as", { email: o.email })}</p>
          {(accept.error ?? decline.error) && <Trouble error={accept.error ?? decline.error} />}
          <div className="buttons">
            <button
              type="button"
              className="main"
              disabled={accept.isPending}
              onClick={() => accept.mutate({ token, accept: true })}
            >
              {t("people.accept")}
            </button>
            <button
              type="button"
              className="quiet"
              disabled={decline.isPending}
              onClick={() => decline.mutate({ token, accept: false })}
            >
              {t("people.decline")}
            </button>
          </div>
        </>
      )}
    </section>
  );
}
