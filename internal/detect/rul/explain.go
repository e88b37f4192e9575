package rul

import "math"

// newest is how many readings are a unit's newest in Drift, and as many are
// its first.
const newest = 5

// Drift tells for each column how far the newest of a unit's readings are from
// its own first ones, on average, in the deviations that the column has in
// their operating regimes. NaN for columns that were not learned from, and
// where there are too few readings.
func (m *Model) Drift(u Unit) ([]float64, error) {
	if err := check(&u, len(m.columns)); err != nil {
		return nil, err
	}
	out := make([]float64, len(m.columns))
	for c := range out {
		out[c] = math.NaN()
	}
	n := len(u.Time)
	if n <= newest {
		return out, nil
	}
	for k, z := range m.normalised(&u, m.regimes.all(&u)) {
		s := &m.signals[k]
		out[s.column] = s.sign * (average(z[max(newest, n-newest):]) - average(z[:newest]))
	}
	return out, nil
}

// average of those that are there.
func average(v []float64) float64 {
	sum, n := 0.0, 0.0
	for _, x := range v {
		if !math.IsNaN(x) {
			sum, n = sum+x, n+1
		}
	}
	return sum / n
}
