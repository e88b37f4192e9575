// The words of internal/condition/words: findings say units in the same way.
const names: Record<string, string> = {
  "1": "",
  Cel: "°C",
  "[degF]": "°F",
  "[degR]": "°R",
  Ohm: "Ω",
  kOhm: "kΩ",
  MOhm: "MΩ",
  deg: "°",
  "10*": "10",
  "10^": "10",
  um: "µm",
  us: "µs",
  uA: "µA",
  uV: "µV",
  uW: "µW",
  ug: "µg",
  uF: "µF",
  "kW.h": "kWh",
  "W.h": "Wh",
};

const raised = (exponent: string) =>
  exponent.replace(/./g, (c) => (c === "+" ? "" : c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹".charAt(Number(c))));

/** A UCUM code as people write it. */
export function unitName(ucum: string | undefined): string {
  if (!ucum) return "";
  if (ucum in names) return names[ucum] ?? "";
  const symbols =
    (ucum.startsWith("/") ? `1${ucum}` : ucum).match(/10[*^]|\{[^}]*\}|\[[^\]]*\]|[A-Za-z%]+|[+-]?\d+|./g) ?? [];
  let letters = false;
  return symbols
    .map((s) => {
      let word = names[s] || s;
      if (word === s && /[}\]]$/.test(s)) word = s.slice(1, -1);
      else if (/\d$/.test(s) && letters) word = raised(s);
      else if (s === ".") word = "·";
      letters = !"·/()".includes(word);
      return word;
    })
    .join("");
}

/** A value with four significant digits and its unit. */
export function measure(value: number | null | undefined, ucum?: string): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = value.toLocaleString("en", { maximumSignificantDigits: 4 });
  const unit = unitName(ucum);
  return unit ? `${text} ${unit}` : text;
}

/** How many of a thing: 1 unit, 29,222 units. */
export function counted(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
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

const inSeconds: Record<string, number> = { w: 604800, d: 86400, h: 3600, m: 60, s: 1 };

/** A duration as it is declared (3d, 1h30m, 1.5h) in the words of span: 3 d, 1 h 30 min; anything else as it is. */
export function lasting(declared: string): string {
  if (!/^([\d.]+[wdhms])+$/.test(declared)) return declared;
  const parts = declared.match(/[\d.]+[wdhms]/g) ?? [];
  return span(parts.reduce((sum, p) => sum + Number.parseFloat(p) * (inSeconds[p.slice(-1)] ?? 0), 0));
}

export function percent(share: number): string {
  return `${(100 * share).toLocaleString("en", { maximumFractionDigits: 1 })} %`;
}

/** A number of bytes in units of a thousand: 512 B, 46.3 MB. */
export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let v = n;
  for (; v >= 999.5 && at < units.length - 1; at++) v /= 1000;
  return `${v.toLocaleString("en", { maximumSignificantDigits: 3 })} ${units[at]}`;
}
