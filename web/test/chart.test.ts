import { expect, test } from "vitest";
import { toColumns, valueRange } from "../chart/columns";
import { counted, lasting, measure, percent, span, unitName } from "../chart/measure";

const at = (minutes: number) => new Date(minutes * 60_000).toISOString();
const point = (minutes: number, mean: number) => ({ at: at(minutes), min: mean - 1, max: mean + 1, mean, count: 3 });

test("a hole is left where samples are missing for long", () => {
  const [times, high, low, mean] = toColumns([point(0, 1), point(10, 2), point(20, 3), point(200, 4), point(210, 5)]);
  expect(times).toEqual([0, 600, 1200, 6600, 12_000, 12_600]);
  expect(mean).toEqual([1, 2, 3, null, 4, 5]);
  expect(high[3]).toBeNull();
  expect(low[0]).toBe(0);
  expect(toColumns([])).toEqual([[], [], [], []]);
});

test("the range of values holds all values and all bounds", () => {
  const [low, high] = valueRange([point(0, 20), point(1, 30)], [{ max: 75 }]);
  expect(low).toBeLessThan(19);
  expect(high).toBeGreaterThan(75);
  expect(valueRange([], [])).toEqual([0, 1]);
});

test("values and times are written with their units", () => {
  expect(measure(88.4321, "Cel")).toBe("88.43 °C");
  expect(measure(12_345, "kW.h")).toBe("12,350 kWh");
  expect(measure(3, "{cycles}")).toBe("3 cycles");
  expect(measure(undefined, "A")).toBe("–");
  expect(measure(Number.NaN)).toBe("–");
  for (const [code, words] of Object.entries({
    "1": "",
    A: "A",
    "[psi]": "psi",
    "m/s2": "m/s²",
    "/min": "1/min",
    "{rev}/min": "rev/min",
    "W/(m2.K)": "W/(m²·K)",
    "s-1": "s⁻¹",
    "10*3/uL": "10³/uL",
  }))
    expect(unitName(code), code).toBe(words);
  expect(counted(1, "unit")).toBe("1 unit");
  expect(counted(29_222, "unit")).toBe("29,222 units");
  expect(["3600s", "1h0m0s", "1.5h", "2w", "90d12h", "1h30m", "at once", "500ms"].map(lasting)).toEqual([
    "1 h",
    "1 h",
    "1 h 30 min",
    "14 d",
    "90 d 12 h",
    "1 h 30 min",
    "at once",
    "500ms",
  ]);
  expect(span(40)).toBe("40 s");
  expect(span(640)).toBe("11 min");
  expect(span(136_800)).toBe("38 h");
  expect(span(9.3 * 86_400)).toBe("9 d 7 h");
  expect(percent(0.6905)).toBe("69.1 %");
});
