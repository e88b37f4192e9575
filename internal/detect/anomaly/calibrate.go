package anomaly

import "math"

// year in milliseconds.
const year = 365.25 * 24 * 3600 * 1000

// tail learns how rare each value of a raw statistic is, from the statistic's
// own past, and turns it into a score: the logarithm of its probability over
// that of the budget, so that 1 is at the budget.
type tail struct {
	n        float64
	mean, m2 float64 // of the statistic
	interval float64 // between rows, in milliseconds
}

func (t *tail) step(stat float64, elapsed int64, budget float64) float64 {
	score := 0.0
	if t.n > 50 {
		z := (stat - t.mean) / (math.Sqrt(t.m2/t.n) + 1e-9)
		p := 0.5 * math.Erfc(z/math.Sqrt2)
		rows := year / max(t.interval, 1)
		score = max(0, math.Log(max(p, 1e-300))/math.Log(min(budget/rows, 0.1)))
	}
	t.n++
	d := stat - t.mean
	t.mean += d / t.n
	t.m2 += d * (stat - t.mean)
	t.interval += (float64(elapsed) - t.interval) / min(t.n, 1000)
	return score
}

// hold makes onsets and a state of levels.
type hold struct {
	open  bool
	calm  int     // rows below the clearing level
	floor float64 // what a level must outdo to be an onset
}

const (
	clearBelow = 0.6 // the state clears at this level
	clearRows  = 10  // held for so many rows
	forgetRows = 200 // an onset is forgotten over so many rows
)

func (h *hold) step(level float64) (score float64, onset, open bool) {
	if level > h.floor {
		score, h.floor = level, level
	}
	h.floor *= 1 - 1.0/forgetRows
	switch {
	case level >= 1:
		onset, h.open, h.calm = !h.open, true, 0
	case h.open && level < clearBelow:
		if h.calm++; h.calm >= clearRows {
			h.open = false
		}
	}
	return score, onset, h.open
}
