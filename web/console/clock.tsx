import { createContext, type ReactNode, useContext, useMemo, useState } from "react";
import { useSession } from "./api/session";

/** Times of the console are read in UTC or in this browser's zone; each says which. */
export type Zone = "UTC" | "local";

type Clock = {
  zone: Zone;
  setZone: (z: Zone) => void;
  /** A time with its zone, or a dash. */
  time: (at: string | number | Date | undefined) => string;
  /** The server's clock, which runs faster than ours under --dev. */
  now: () => Date;
};

const Context = createContext<Clock | null>(null);
const remembered = "fettle.zone";

export function formatTime(at: string | number | Date | undefined, zone: Zone): string {
  if (!at) return "–";
  const date = new Date(at);
  if (zone === "UTC") return `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
  const parts = new Intl.DateTimeFormat("en-CA", {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
    timeZoneName: "short",
  }).formatToParts(date);
  const p = Object.fromEntries(parts.map((x) => [x.type, x.value]));
  return `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute} ${p.timeZoneName}`;
}

export function ClockProvider({ children }: { children: ReactNode }) {
  const [zone, set] = useState<Zone>(() => (localStorage.getItem(remembered) === "local" ? "local" : "UTC"));
  const session = useSession();
  const clock = useMemo<Clock>(() => {
    const { now, speed } = session.data ?? {};
    return {
      zone,
      setZone: (z) => {
        localStorage.setItem(remembered, z);
        set(z);
      },
      time: (at) => formatTime(at, zone),
      now: () => (now ? new Date(Date.parse(now) + (Date.now() - session.dataUpdatedAt) * (speed || 1)) : new Date()),
    };
  }, [zone, session.data, session.dataUpdatedAt]);
  return <Context value={clock}>{children}</Context>;
}

export function useClock(): Clock {
  const clock = useContext(Context);
  if (!clock) throw new Error("no ClockProvider above");
  return clock;
}

export function Time({ at }: { at: string | undefined }) {
  const { time } = useClock();
  if (!at) return <>–</>;
  const [day, ...rest] = time(at).split(" ");
  return (
    <time dateTime={at} className="time">
      <span>{day}</span> <span>{rest.join(" ")}</span>
    </time>
  );
}
