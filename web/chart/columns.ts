export type Point = { at: string; min: number; max: number; mean: number; count: number };

/** Times in seconds, then highest, lowest and mean: what uPlot draws. */
export type Columns = [number[], (number | null)[], (number | null)[], (number | null)[]];

/**
 * Points as columns, with a hole wherever samples are missing for much longer
 * than is usual here: a line across an outage would say what nobody measured.
 */
export function toColumns(points: Point[]): Columns {
  const columns: Columns = [[], [], [], []];
  const times = points.map((p) => Date.parse(p.at) / 1000);
  const steps = times
    .slice(1)
    .map((t, i) => t - (times[i] ?? t))
    .sort((a, b) => a - b);
  const usual = steps[Math.floor(steps.length / 2)] ?? 0;
  points.forEach((p, i) => {
    const t = times[i] ?? 0;
    const before = times[i - 1];
    if (before !== undefined && t - before > 4 * usual) {
      columns[0].push((before + t) / 2);
      columns[1].push(null);
      columns[2].push(null);
      columns[3].push(null);
    }
    columns[0].push(t);
    columns[1].push(p.max);
    columns[2].push(p.min);
    columns[3].push(p.mean);
  });
  return columns;
}

export type Bounds = { min?: number; max?: number };

/** The range to show: all values and all bounds, with a little air. */
export function valueRange(points: Point[], bands: Bounds[]): [number, number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  const take = (v: number | undefined) => {
    if (v === undefined) return;
    low = Math.min(low, v);
    high = Math.max(high, v);
  };
  for (const p of points) {
    take(p.min);
    take(p.max);
  }
  for (const b of bands) {
    take(b.min);
    take(b.max);
  }
  if (low > high) return [0, 1];
  const air = (high - low || Math.abs(high) || 1) * 0.08;
  return [low - air, high + air];
}
