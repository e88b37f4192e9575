import uPlot from "uplot";

/** From where a signal was at a time to when it will be at a limit: with 80 % probability between low and high. */
export type Fan = { at: string; level: number; limit: number; low: string; median: string; high: string };

/** Draws a forecast: the limit, the way to it, and how early or late it may be reached. */
export function drawFan(u: uPlot, fan: Fan, colours: { fan: string; limit: string; way: string }) {
  const { ctx, bbox } = u;
  const x = (t: string) => u.valToPos(Date.parse(t) / 1000, "x", true);
  const [from, level, limit] = [x(fan.at), u.valToPos(fan.level, "y", true), u.valToPos(fan.limit, "y", true)];
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = colours.fan;
  ctx.beginPath();
  ctx.moveTo(from, level);
  ctx.lineTo(x(fan.low), limit);
  ctx.lineTo(x(fan.high), limit);
  ctx.closePath();
  ctx.fill();
  ctx.lineWidth = 1.6 * uPlot.pxRatio;
  ctx.strokeStyle = colours.way;
  ctx.setLineDash([5 * uPlot.pxRatio, 4 * uPlot.pxRatio]);
  ctx.beginPath();
  ctx.moveTo(from, level);
  ctx.lineTo(x(fan.median), limit);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.strokeStyle = colours.limit;
  ctx.beginPath();
  ctx.moveTo(bbox.left, limit);
  ctx.lineTo(bbox.left + bbox.width, limit);
  ctx.stroke();
  ctx.restore();
}
