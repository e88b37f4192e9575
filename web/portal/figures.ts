import { unitName } from "../chart/measure";

// Numbers as the owner's locale writes them, in the units that are used there.

/** Where people read Fahrenheit, feet and pounds: the United States, and few beside (CLDR, measurementSystem US). */
const customary = new Set(["US", "LR", "MM", "PR", "GU", "VI", "AS", "MP"]);

type Conversion = { to: string; factor: number; offset?: number };

const conversions: Record<string, Conversion> = {
  Cel: { to: "[degF]", factor: 1.8, offset: 32 },
  km: { to: "mi", factor: 0.621371 },
  m: { to: "ft", factor: 3.28084 },
  "km/h": { to: "mph", factor: 0.621371 },
  kg: { to: "lb", factor: 2.204623 },
  L: { to: "gal", factor: 0.264172 },
  bar: { to: "psi", factor: 14.50377 },
  kPa: { to: "psi", factor: 0.1450377 },
};

function conversionOf(ucum: string | undefined, locale: string): Conversion | undefined {
  return ucum && customary.has(new Intl.Locale(locale).region ?? "") ? conversions[ucum] : undefined;
}

/** A value in the unit that is used where the locale is. */
export function converted(value: number, ucum: string | undefined, locale: string): number {
  const c = conversionOf(ucum, locale);
  return c ? value * c.factor + (c.offset ?? 0) : value;
}

/** The name of the unit that is used where the locale is. */
export function unitIn(ucum: string | undefined, locale: string): string {
  const c = conversionOf(ucum, locale);
  return unitName(c ? c.to : ucum);
}

/** A value with its unit: 71,3 °C in German, 160.3 °F in the United States. */
export function figure(value: number, ucum: string | undefined, locale: string): string {
  const unit = unitIn(ucum, locale);
  const n = converted(value, ucum, locale).toLocaleString(locale, { maximumSignificantDigits: 4 });
  return unit ? `${n}\u00a0${unit}` : n;
}

const seconds: Record<string, number> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600, d: 86_400 };

/** The seconds of a duration as the API writes it, as 1h30m or 90d. */
export function secondsOf(duration: string | undefined): number {
  let sum = 0;
  for (const [, n, unit] of (duration ?? "").matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h|d)/g))
    sum += Number(n) * (seconds[unit ?? ""] ?? 0);
  return sum;
}

const steps: [number, string][] = [
  [2 * 86_400, "day"],
  [2 * 3600, "hour"],
  [60, "minute"],
  [0, "second"],
];
const sizes: Record<string, number> = { day: 86_400, hour: 3600, minute: 60, second: 1 };

/** A length of time in the largest unit that says it well: 45 minutes, 30 hours, 3 days. */
export function span(length: number, locale: string): string {
  const unit = steps.find(([from]) => length >= from)?.[1] ?? "second";
  const n = length / (sizes[unit] ?? 1);
  return new Intl.NumberFormat(locale, {
    style: "unit",
    unit,
    unitDisplay: "long",
    maximumFractionDigits: n < 10 && !Number.isInteger(n) ? 1 : 0,
  }).format(n);
}

/** Hours of use: with one decimal while there are few. */
export function hours(n: number, locale: string): string {
  return n.toLocaleString(locale, { maximumFractionDigits: n < 10 ? 1 : 0 });
}
