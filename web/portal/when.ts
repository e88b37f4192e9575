import { useLanguage } from "./language";

/** Days and times as the reader's language writes them; "" for none. */
export function useTimes() {
  const { locale } = useLanguage();
  const write = (at: string | undefined, how: Intl.DateTimeFormatOptions) =>
    at ? new Date(at).toLocaleString(locale, how) : "";
  return {
    day: (at?: string) => write(at, { dateStyle: "long" }),
    time: (at?: string) => write(at, { dateStyle: "medium", timeStyle: "short" }),
  };
}
