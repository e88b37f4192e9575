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
// al. 2021): what is known of a young unit is worse than of a worn one.
type interval struct {
	at, low, high []float64
}

const (
	knots = 24   // levels at which quantiles are taken
	near  = 0.12 // share of the rows that are about a level
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
	var v interval
	for k := range knots {
		c := (n - 1) * k / (knots - 1)
		errs, weights := byError(all[max(0, c-half):min(n, c+half+1)])
		at := all[c].predicted
		if len(v.at) > 0 && at <= v.at[len(v.at)-1] {
			continue
		}
		tail := (1 - level) / 2
		high := stat.Quantile(1-tail, stat.Empirical, errs, weights)
		above := tail
		if limit > 0 && at+high >= limit-1e-9*limit {
			above = 0
		}
		v.at = append(v.at, at)
		v.low = append(v.low, stat.Quantile(1-level-above, stat.Empirical, errs, weights))
		v.high = append(v.high, high)
	}
	return v
}

// byError is the misses' truth less prediction, ascending, and their weights.
func byError(part []miss) (errs, weights []float64) {
	for _, p := range part {
		errs, weights = append(errs, p.truth-p.predicted), append(weights, p.weight)
	}
	stat.SortWeighted(errs, weights)
	return errs, weights
}

// around is the interval around a prediction.
func (v *interval) around(p float64) (low, high float64) {
	k, _ := slices.BinarySearch(v.at, p)
	switch {
	case k == 0:
		return p + v.low[0], p + v.high[0]
	case k == len(v.at):
		return p + v.low[k-1], p + v.high[k-1]
	}
	w := (p - v.at[k-1]) / (v.at[k] - v.at[k-1])
	w = math.Max(0, math.Min(1, w))
	return p + (1-w)*v.low[k-1] + w*v.low[k], p + (1-w)*v.high[k-1] + w*v.high[k]
}
