import type uPlot from "uplot";

// What the charts share: colours of the theme and how times are written.

/** A token of the theme as a colour that a canvas knows. */
export function colourOf(host: HTMLElement, token: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${token})`;
  host.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;
const date = "\n{D} {MMM}";
const full = "\n{D} {MMM} {YYYY}";

/** How times are written at a step, and again where a year, month, day or hour begins: in 24 hours, with the month as a word. */
export const timeFormats: uPlot.Axis.Values = [
  [365 * day, "{YYYY}", null, null, null, null, null, null, 1],
  [28 * day, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [day, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [hour, "{HH}:{mm}", full, null, date, null, null, null, 1],
  [minute, "{HH}:{mm}", full, null, date, null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", full, null, date, null, null, null, 1],
];
