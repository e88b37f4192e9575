import { useLanguage } from "./language";

/** Days and times as the reader's language writes them; "" for none. */
export function useTimes() {
  const { locale } = useLanguage();
  const write = (at: string | undefined, how: Intl.DateTimeFormatOptions) =>
    at ? new Date(at).toLocaleString(locale, how) : "";
  return {
    day: (at?: string) => write(at, { dateStyle: "long" }),
    /** The zone is said with it: open pages know no owner, and take the browser's. */
    time: (at?: string) =>
      write(at, {
        day: "numeric",
        month: "short",
        year: "numeric",
        hour: "numeric",
        minute: "2-digit",
        timeZoneName: "short",
      }),
  };
}
