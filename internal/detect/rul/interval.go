package rul

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// miss is a prediction for a unit that the predictor had not seen, with what
// came true.
type miss struct{ predicted, truth, weight float64 }

// interval is how far below and above a prediction the truth may lie: offsets
// at some predicted levels, straight lines between. They are quantiles of the
// unseen units' errors at about that level (Mondrian conformal prediction, Vovk
// et al. 2005, section 4.5, with folds in place of a calibration set: Barber et
// al. 2021): what is known of a young unit is worse than of a worn one. Errors
// about a level are not of one size, either: they are measured by the usual
// error at their own level (Papadopoulos et al. 2002), else those of longer
// lives would widen the intervals of units near their end.
type interval struct {
	at, low, high []float64
}

const (
	knots = 48   // levels at which quantiles are taken
	near  = 0.12 // share of the rows that are about a level
	steps = 40   // of as many rows each, in which the usual error is taken
)

// newInterval takes the misses' quantiles. The same share is left out on
// either side. Where the truth is often the cap, nothing is left out above it,
// and all below.
func newInterval(all []miss, level, limit float64, units int) interval {
	level = min(0.999, level*(1+1/float64(units))) // what n units promise of the next one

	slices.SortStableFunc(all, func(a, b miss) int {
		switch {
		case a.predicted < b.predicted:
			return -1
		case a.predicted > b.predicted:
			return 1
		}
		return 0
	})
	n := len(all)
	half := max(5, int(near*float64(n)/2))
	usual := usualErrors(all)
	var v interval
	for k := range knots {
		c := (n - 1) * k / (knots - 1)
		at := all[c].predicted
		if len(v.at) > 0 && at <= v.at[len(v.at)-1] {
			continue
		}
		errs, weights := byError(all[max(0, c-half):min(n, c+half+1)], usual)
		size, tail := usual.value(at), (1-level)/2
		high := size * stat.Quantile(1-tail, stat.Empirical, errs, weights)
		above := tail
		if limit > 0 && at+high >= limit-1e-9*limit {
			above = 0
		}
		v.at = append(v.at, at)
		v.low = append(v.low, size*stat.Quantile(1-level-above, stat.Empirical, errs, weights))
		v.high = append(v.high, high)
	}
	return v
}

// line runs straight between points, and level before the first and after the last.
type line struct{ at, of []float64 }

func (l line) value(p float64) float64 {
	k, _ := slices.BinarySearch(l.at, p)
	switch {
	case k == 0:
		return l.of[0]
	case k == len(l.at):
		return l.of[k-1]
	}
	w := (p - l.at[k-1]) / (l.at[k] - l.at[k-1])
	w = math.Max(0, math.Min(1, w))
	return (1-w)*l.of[k-1] + w*l.of[k]
}

// usualErrors are the mean absolute errors by predicted level. The misses
// stand in the order of theirs.
func usualErrors(all []miss) line {
	var l line
	n := min(steps, 1+len(all)/10)
	for k := range n {
		var weight, at, size float64
		for _, p := range all[len(all)*k/n : len(all)*(k+1)/n] {
			weight += p.weight
			at += p.weight * p.predicted
			size += p.weight * math.Abs(p.truth-p.predicted)
		}
		if at /= weight; len(l.at) == 0 || at > l.at[len(l.at)-1] {
			l.at, l.of = append(l.at, at), append(l.of, size/weight)
		}
	}
	least := max(1e-3*slices.Max(l.of), math.SmallestNonzeroFloat32) // a level may have no errors
	for k := range l.of {
		l.of[k] = max(l.of[k], least)
	}
	return l
}

// byError is the misses' truth less prediction in usual errors, ascending, and
// their weights.
func byError(part []miss, usual line) (errs, weights []float64) {
	for _, p := range part {
		errs, weights = append(errs, (p.truth-p.predicted)/usual.value(p.predicted)), append(weights, p.weight)
	}
	stat.SortWeighted(errs, weights)
	return errs, weights
}

// around is the interval around a prediction.
func (v *interval) around(p float64) (low, high float64) {
	return p + line{v.at, v.low}.value(p), p + line{v.at, v.high}.value(p)
}
