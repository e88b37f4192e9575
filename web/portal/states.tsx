import { Problem, Unreachable } from "../client/problem";
import { useLanguage } from "./language";

export function Loading() {
  const { t } = useLanguage();
  return (
    <p className="loading" role="status">
      {t("app.loading")}
    </p>
  );
}

/** What went wrong, in the server's words where it has some, and what to do. */
export function useReason(error: unknown): string {
  const { t } = useLanguage();
  if (error instanceof Unreachable) return t("app.unreachable");
  if (error instanceof Problem) return t("app.failed", { why: error.message });
  return t("app.failed", { why: String(error) });
}

export function Trouble({ error, retry }: { error: unknown; retry?: () => void }) {
  const { t } = useLanguage();
  const reason = useReason(error);
  return (
    <div className="trouble" role="alert">
      <p>{reason}</p>
      {retry && (
        <button type="button" className="quiet" onClick={retry}>
          {t("app.retry")}
        </button>
      )}
    </div>
  );
}
