import { useSyncExternalStore } from "react";
import { useLanguage } from "./language";
import { changeOver, isNewer, onNewer } from "./worker";

function onLine(tell: () => void): () => void {
  window.addEventListener("online", tell);
  window.addEventListener("offline", tell);
  return () => {
    window.removeEventListener("online", tell);
    window.removeEventListener("offline", tell);
  };
}

/** What holds for every page: that there is no connection, or a newer portal. */
export function Bars() {
  const { t } = useLanguage();
  const online = useSyncExternalStore(onLine, () => navigator.onLine);
  const newer = useSyncExternalStore(onNewer, isNewer);
  return (
    <div role="status">
      {!online && <p className="bar">{t("app.offline")}</p>}
      {newer && (
        <p className="bar">
          {t("app.newer")}{" "}
          <button type="button" className="plain" onClick={changeOver}>
            {t("app.change")}
          </button>
        </p>
      )}
    </div>
  );
}
