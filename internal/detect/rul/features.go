package rul

import (
	"math"
	"slices"
)

// scale is what normalises a signal in one regime.
type scale struct{ mean, dev float64 }

// signal is a column that takes part, and how.
type signal struct {
	column int
	sign   float64 // +1 or -1: normalised so that it rises as life runs out
	scales []scale // of each regime
}

// windows of readings, as shares of the median life of units that failed, so
// that nothing depends on the unit of time or on how often units report.
var windows = [...]float64{0.025, 0.05, 0.1, 0.25}

// prepare finds the signals: columns that change, normalised by regime, in an
// order and with signs that don't depend on the columns' names, order, scale
// or direction.
func (m *Model) prepare(units []*Unit, labels [][]int) error {
	type ranked struct {
		signal
		strength float64
	}
	var found []ranked
	for c := range m.columns {
		s := signal{column: c, sign: 1, scales: scales(units, labels, c, m.regimes.count())}
		if s.scales == nil {
			continue
		}
		// How it goes along with the share of life that has passed, in units that failed.
		var sxy, sxx, syy, n float64
		for k, u := range units {
			if !u.Failed {
				continue
			}
			start, end := u.start(), u.end()
			for i, v := range u.Values[c] {
				if z := s.normal(v, labels[k][i]); !math.IsNaN(z) && end > start {
					x := (u.Time[i]-start)/(end-start) - 0.5
					sxy, sxx, syy, n = sxy+x*z, sxx+x*x, syy+z*z, n+1
				}
			}
		}
		if n == 0 || sxx == 0 || syy == 0 {
			continue
		}
		r := sxy / math.Sqrt(sxx*syy)
		if r < 0 {
			s.sign = -1
		}
		found = append(found, ranked{s, math.Abs(r)})
	}
	if len(found) == 0 {
		return ErrNoSignal
	}
	slices.SortStableFunc(found, func(a, b ranked) int {
		switch {
		case a.strength > b.strength:
			return -1
		case a.strength < b.strength:
			return 1
		}
		return 0
	})
	for _, f := range found {
		m.signals = append(m.signals, f.signal)
	}
	return nil
}

// scales are a column's mean and deviation in each regime; nil when it
// changes in none.
func scales(units []*Unit, labels [][]int, column, regimes int) []scale {
	n, mean, m2 := make([]float64, regimes), make([]float64, regimes), make([]float64, regimes)
	for k, u := range units {
		for i, v := range u.Values[column] {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			r := labels[k][i]
			n[r]++
			d := v - mean[r]
			mean[r] += d / n[r]
			m2[r] += d * (v - mean[r])
		}
	}
	out := make([]scale, regimes)
	changes := false
	for r := range out {
		dev := math.Sqrt(m2[r] / max(n[r], 1))
		if dev <= 1e-9*math.Abs(mean[r]) {
			dev = 0
		}
		out[r] = scale{mean[r], dev}
		changes = changes || dev > 0
	}
	if !changes {
		return nil
	}
	return out
}

// normal is v in its regime's deviations from its mean; NaN where the column
// doesn't change in that regime.
func (s *signal) normal(v float64, regime int) float64 {
	c := s.scales[regime]
	if c.dev == 0 || math.IsInf(v, 0) {
		return math.NaN()
	}
	return s.sign * (v - c.mean) / c.dev
}

// normalised are the unit's signals.
func (m *Model) normalised(u *Unit, labels []int) [][]float64 {
	out := make([][]float64, len(m.signals))
	for k := range m.signals {
		s := &m.signals[k]
		z := make([]float64, len(u.Time))
		for i, v := range u.Values[s.column] {
			z[i] = s.normal(v, labels[i])
		}
		out[k] = z
	}
	return out
}

// running are sums over a signal's readings from the first on, so that any
// window's mean and slope are differences.
type running struct{ n, z, t, tz, tt []float64 }

func newRunning(n int) running {
	k := n + 1
	space := make([]float64, 5*k)
	return running{space[:k], space[k : 2*k], space[2*k : 3*k], space[3*k : 4*k], space[4*k:]}
}

func (r *running) fill(t, z []float64) {
	for i, v := range z {
		n, t := 1.0, t[i]
		if math.IsNaN(v) {
			n, t, v = 0, 0, 0
		}
		r.n[i+1], r.z[i+1], r.t[i+1] = r.n[i]+n, r.z[i]+v, r.t[i]+t
		r.tz[i+1], r.tt[i+1] = r.tz[i]+t*v, r.tt[i]+t*t
	}
}

// mean of readings from..to-1; NaN without any.
func (r *running) mean(from, to int) float64 { return (r.z[to] - r.z[from]) / (r.n[to] - r.n[from]) }

// slope of readings from..to-1, NaN for fewer than three.
func (r *running) slope(from, to int) float64 {
	n := r.n[to] - r.n[from]
	if n < 3 {
		return math.NaN()
	}
	t, z := r.t[to]-r.t[from], r.z[to]-r.z[from]
	d := n*(r.tt[to]-r.tt[from]) - t*t
	if d <= 1e-12*t*t {
		return math.NaN()
	}
	return (n*(r.tz[to]-r.tz[from]) - t*z) / d
}

// first is how long a unit's first readings are, as a share of a median life.
const first = 0.05

// features has each feature's values at the rows asked for: the age; for each
// signal and mixture means over recent windows, their drift against the unit's
// first readings, slopes.
func (m *Model) features(u *Unit, at []int) [][]float64 {
	n := len(u.Time)
	z := m.mix(m.normalised(u, m.regimes.all(u)))
	start := u.start()
	age := make([]float64, n) // in median lives
	for i, t := range u.Time {
		age[i] = (t - start) / m.life
	}
	head := 0 // how many readings are its first
	for head < n && (head < 3 || age[head]-age[0] < first) {
		head++
	}
	space := make([]float64, len(at)*(1+len(z)*perSignal))
	out := make([][]float64, 0, 1+len(z)*perSignal)
	column := func() []float64 {
		col := space[:len(at):len(at)]
		space = space[len(at):]
		out = append(out, col)
		return col
	}
	col := column()
	for k, i := range at {
		col[k] = age[i]
	}
	from := make([][len(windows)]int, len(at)) // where each window begins; three readings, if there are so many
	for k, i := range at {
		for w, length := range windows {
			j, _ := slices.BinarySearchFunc(age[:i], age[i]-length, func(a, b float64) int {
				if a <= b {
					return -1
				}
				return 1
			})
			from[k][w] = max(0, min(j, i-2))
		}
	}
	r := newRunning(n)
	for _, signal := range z {
		r.fill(age, signal)
		var cols [perSignal][]float64
		for c := range cols {
			cols[c] = column()
		}
		for k, i := range at {
			base := r.mean(0, min(head, i+1))
			for w := range windows {
				cols[w][k] = r.mean(from[k][w], i+1)
			}
			cols[4][k] = cols[1][k] - base
			cols[5][k] = cols[2][k] - base
			cols[6][k] = r.mean(0, i+1) - base
			cols[7][k] = r.slope(from[k][2], i+1)
			cols[8][k] = r.slope(from[k][3], i+1)
		}
	}
	return out
}

const perSignal = 9 // features of a signal
