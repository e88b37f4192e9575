import { Component, type ReactNode, useEffect, useRef, useState } from "react";
import { Problem, Unreachable } from "../client/problem";
import { arrival } from "./address";
import { useLanguage } from "./language";

export function Loading() {
  const { t } = useLanguage();
  return (
    <p className="loading" role="status">
      {t("app.loading")}
    </p>
  );
}

/**
 * The one first heading of a page. Who comes from another page is set down on
 * it, so that a screen reader begins here and not at the end of the last page.
 */
export function Heading({ children }: { children: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (arrival()) heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {children}
    </h1>
  );
}

/**
 * Whether all that a page shows has been answered once, well or not: what came
 * later would push away what is being read. It stays so, for a query that
 * failed is pending again whenever it is asked anew.
 */
export function useWhole(...asked: { isPending: boolean }[]): boolean {
  const [whole, setWhole] = useState(false);
  const now = whole || !asked.some((q) => q.isPending);
  if (now && !whole) setWhole(true);
  return now;
}

/** What went wrong, in the server's words where it has some, and what to do. */
export function useReason(error: unknown): string {
  const { t } = useLanguage();
  if (error instanceof Unreachable) return t(navigator.onLine ? "app.unreachable" : "app.offline");
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

/** Catches what a page throws; most often its code could not be fetched, or a newer portal has replaced it. */
export class Caught extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  override render() {
    return this.state.failed ? <Broken /> : this.props.children;
  }
}

function Broken() {
  const { t } = useLanguage();
  return (
    <div className="trouble" role="alert">
      <p>{t(navigator.onLine ? "app.broken" : "app.offline")}</p>
      <button type="button" className="quiet" onClick={() => location.reload()}>
        {t("app.reload")}
      </button>
    </div>
  );
}
