const names: Record<string, string> = {
  Cel: "°C",
  "[degF]": "°F",
  "kW.h": "kWh",
  "W.h": "Wh",
  Ohm: "Ω",
  "m/s2": "m/s²",
  "/min": "1/min",
  "{cycles}": "cycles",
  "1": "",
};

/** A UCUM code as people write it. */
export function unitName(ucum: string | undefined): string {
  if (!ucum) return "";
  return names[ucum] ?? ucum.replace(/^\{(.*)\}$/, "$1");
}

/** A value with four significant digits and its unit. */
export function measure(value: number | null | undefined, ucum?: string): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = value.toLocaleString("en", { maximumSignificantDigits: 4 });
  const unit = unitName(ucum);
  return unit ? `${text} ${unit}` : text;
}

/** Seconds in the largest units that say it: 3 d 4 h, 12 min, 40 s. */
export function span(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

export function percent(share: number): string {
  return `${(100 * share).toLocaleString("en", { maximumFractionDigits: 1 })} %`;
}
