package rul

import "slices"

// lags are how far back first predictions are looked at, in median lives.
var lags = [...]float64{0, 0.005, 0.01, 0.02, 0.035, 0.055, 0.08, 0.11, 0.15, 0.2}

// course has the features of the second trees at each time: the age, and the
// prediction that stood a lag before, or the unit's first.
func course(start, life float64, times, predicted []float64) [][]float64 {
	out := make([][]float64, 1+len(lags))
	for i, t := range times {
		out[0] = append(out[0], (t-start)/life)
		for k, lag := range lags {
			out[k+1] = append(out[k+1], predicted[before(times[:i+1], t-lag*life)])
		}
	}
	return out
}

// before is the newest reading at or before a time, or the first one.
func before(times []float64, t float64) int {
	i, _ := slices.BinarySearchFunc(times, t, func(a, t float64) int {
		if a <= t {
			return -1
		}
		return 1
	})
	return max(0, i-1)
}
