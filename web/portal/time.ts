// Making a formatter costs a hundred times what using it does.
const made = new Map<string, Intl.DateTimeFormat>();

function formatter(locale: string, how: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = locale + JSON.stringify(how);
  let format = made.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat(locale, how);
    made.set(key, format);
  }
  return format;
}

/** Times are shown in the owner's zone, and always say which one that is. */
export function formatTime(at: string | Date, locale: string, zone: string): string {
  return formatter(locale, {
    weekday: "short",
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "numeric",
    minute: "2-digit",
    timeZone: zone,
    timeZoneName: "short",
  }).format(new Date(at));
}

export function formatDay(at: string | Date, locale: string, zone: string): string {
  return formatter(locale, {
    weekday: "long",
    day: "numeric",
    month: "long",
    year: "numeric",
    timeZone: zone,
  }).format(new Date(at));
}

function parts(at: Date, zone: string): Record<string, string> {
  const format = formatter("en-CA", {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
    timeZone: zone,
  });
  return Object.fromEntries(format.formatToParts(at).map((p) => [p.type, p.value]));
}

/** The wall clock in a zone, as an input of type datetime-local writes it. */
export function wallTime(at: Date, zone: string): string {
  const p = parts(at, zone);
  return `${p.year}-${p.month}-${p.day}T${p.hour}:${p.minute}`;
}

/**
 * The instant at which the wall clock of a zone shows a local time. A time that
 * a change of clocks skips becomes the one an hour later; of two, the earlier.
 */
export function instantOf(local: string, zone: string): Date {
  const guess = Date.parse(`${local}:00Z`);
  const offsetAt = (t: number) => Date.parse(`${wallTime(new Date(t), zone)}:00Z`) - t;
  const day = 24 * 3600 * 1000;
  const before = guess - offsetAt(guess - day);
  if (wallTime(new Date(before), zone) === local) return new Date(before);
  const after = guess - offsetAt(guess + day);
  return wallTime(new Date(after), zone) === local ? new Date(after) : new Date(before);
}

/** Zones the browser does not know are shown as UTC. */
export function knownZone(zone: string | undefined): string {
  try {
    return formatter("en", { timeZone: zone || "UTC" }).resolvedOptions().timeZone;
  } catch {
    return "UTC";
  }
}
