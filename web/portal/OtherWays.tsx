import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useLanguage } from "./language";
import { gaveUp, passkeysWork, signInByPasskey } from "./passkeys";
import { useWays } from "./people";
import { Trouble } from "./states";
import "./people.css";

/** Signing in without a mail: by passkey, or with an account elsewhere. */
export function OtherWays({ to, then, leaving }: { to: string; then: () => void; leaving?: () => void }) {
  const { t } = useLanguage();
  const ways = useWays();
  const queries = useQueryClient();
  const passkey = useMutation({
    mutationFn: signInByPasskey,
    onSuccess: async () => {
      await queries.resetQueries();
      then();
    },
  });
  const providers = ways.data?.providers ?? [];
  if (!passkeysWork() && providers.length === 0) return null;
  return (
    <div className="ways">
      <p className="soft">{t("signIn.or")}</p>
      {passkeysWork() && (
        <button type="button" className="quiet" disabled={passkey.isPending} onClick={() => passkey.mutate()}>
          {t("signIn.passkey")}
        </button>
      )}
      {providers.map((p) => (
        <a
          key={p.name}
          className="quiet way"
          href={`/owner/v1/sign-in/oidc/${encodeURIComponent(p.name)}?to=${encodeURIComponent(to)}`}
          onClick={leaving}
        >
          {t("signIn.provider", { name: p.title })}
        </a>
      ))}
      {passkey.error &&
        (gaveUp(passkey.error) ? <p role="status">{t("signIn.passkey.gaveUp")}</p> : <Trouble error={passkey.error} />)}
    </div>
  );
}
