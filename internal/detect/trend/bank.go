package trend

import (
	"math"
	"slices"
)

// series is the past as the bank reads it: times in units, the newest at 0.
type series struct {
	unit      float64 // in ms; the same for all, so that the same buckets give the same forecast to the last bit
	at        int64   // Unix ms of time 0
	grain     float64
	low, high float64 // of the cycle around the level
	points    []point
}

type point struct {
	t, y, k float64 // time, mean without its cycle, finest buckets in it
}

// The bank: every growth with every wander, in terms of what was seen. A growth
// of g makes the slope exp(g) times as steep over the whole past. A wander is
// the variance that the level, or the level by way of the slope, gains over it,
// in variances of a bucket's noise: no signal keeps to a curve for good, so that
// there is none without. Finer grids, further decades and rigid models change
// the coverage by a few points (docs/benchmarks.md).
var (
	growths = []float64{-4, -2, -1, 0, 1, 2, 4, 8}
	wanders = []wander{{0, 10}, {10, 10}, {1000, 10}, {0, 1e3}, {0, 1e5}, {0, 1e7}}
)

type wander struct{ level, slope float64 }

const (
	outlier    = 0.01 // prior probability that a bucket is one
	priorNoise = 3    // degrees of freedom of the first guess of the noise
)

// filter is one model's posterior: level and slope with their covariance in
// units of the noise's variance, which is known by s on n degrees of freedom.
type filter struct {
	growth        float64 // of the slope, a unit of time
	level, slope  float64 // variances gained a unit of time
	m1, m2        float64
	c11, c12, c22 float64
	n, s          float64
	log           float64 // likelihood
	weight        float64
	astray        int // outliers in a row
	side          float64
}

// model is what the bank makes of a series. The filters work on values from
// base on, in widths, so that they know no scale.
type model struct {
	series
	base, width float64
	span        float64 // units of time seen
	filters     []filter
	level       float64 // in widths
	slope       float64 // in widths a unit of time
	noise       float64 // in widths
}

// run filters the series through the bank.
func (s *series) run() (*model, Support) {
	n := len(s.points)
	first := s.points[0]
	span := -first.t
	low, high := first.y, first.y
	for _, p := range s.points {
		low, high = math.Min(low, p.y), math.Max(high, p.y)
	}
	width := high - low
	if !(width > 1e-12*math.Max(math.Abs(low), math.Abs(high))) || math.IsInf(width, 0) || span <= 0 || s.grain > width {
		return nil, Constant // a step larger than the width was one within a cycle, or within a bucket
	}
	m := &model{series: *s, base: first.y, width: width, span: span, filters: make([]filter, 0, len(growths)*len(wanders))}
	for i := range m.points {
		m.points[i].y = (m.points[i].y - first.y) / width
	}
	grain := s.grain / width
	noise := m.off(grain)
	floor := grain * grain / 12 / noise // a rounded value is no better known for being read often
	for _, g := range growths {
		// Whatever its growth, a model may have moved about as far as was seen.
		per := 1 / span
		if g != 0 {
			per = g / span / math.Expm1(g)
		}
		for _, w := range wanders {
			m.filters = append(m.filters, filter{
				growth: g / span, level: w.level / span, slope: w.slope / (span * span * span),
				c11: 1 / noise, c22: per * per / noise, n: priorNoise, s: noise,
			})
		}
	}
	grown := make([]change, n+1) // of the slope, from point to point, and to now
	for i := range m.filters {
		f := &m.filters[i]
		if i%len(wanders) == 0 { // as for all of this growth
			before := first.t
			for j := range n {
				grown[j] = f.over(m.points[j].t - before)
				before = m.points[j].t
			}
			grown[n] = f.over(-before)
		}
		likely := 1.0 // a product for each logarithm
		for j := range n {
			p := &m.points[j]
			f.move(&grown[j])
			if likely *= f.see(p.y, 1/p.k+floor); likely < 1e-200 || likely > 1e200 {
				f.log += math.Log(likely)
				likely = 1
			}
		}
		f.log += math.Log(likely)
		f.move(&grown[n])
	}
	top := math.Inf(-1)
	for i := range m.filters {
		top = math.Max(top, m.filters[i].log)
	}
	total := 0.0
	for i := range m.filters {
		m.filters[i].weight = math.Exp(m.filters[i].log - top)
		total += m.filters[i].weight
	}
	for i := range m.filters {
		f := &m.filters[i]
		f.weight /= total
		m.level += f.weight * f.m1
		m.slope += f.weight * f.m2
		m.noise += f.weight * f.s
	}
	m.noise = math.Sqrt(m.noise)
	return m, Supported
}

// off is a first guess at the variance of a finest bucket's noise, from how far
// each point lies off the line through its neighbours; the median, so that
// steps and outliers do not count. It is no less than a thousandth of the
// width, squared: no signal is a model's curve exactly.
func (s *series) off(grain float64) float64 {
	off := make([]float64, 0, len(s.points))
	for i := 1; i+1 < len(s.points); i++ {
		a, b, c := &s.points[i-1], &s.points[i], &s.points[i+1]
		if c.t <= a.t {
			continue
		}
		f := (b.t - a.t) / (c.t - a.t)
		d := b.y - (a.y + f*(c.y-a.y))
		off = append(off, d*d/(1/b.k+(1-f)*(1-f)/a.k+f*f/c.k))
	}
	v := 0.0
	if len(off) > 0 {
		slices.Sort(off)
		v = off[len(off)/2] / 0.4549 // the median of a chi-squared variable of one degree
	}
	return math.Max(v, math.Max(1e-6, grain*grain/12))
}

// change is what a time does to a slope: it becomes a
// times as steep, and the level gains b times the slope.
type change struct{ dt, a, b float64 }

// over is the change over a time.
func (f *filter) over(dt float64) change {
	if f.growth == 0 {
		return change{dt, 1, dt}
	}
	x := f.growth * dt
	return change{dt, math.Exp(x), math.Expm1(x) / f.growth}
}

// move lets time pass.
func (f *filter) move(c *change) {
	dt, a, b := c.dt, c.a, c.b
	if dt <= 0 {
		return
	}
	f.m1, f.m2 = f.m1+b*f.m2, a*f.m2
	c11 := f.c11 + 2*b*f.c12 + b*b*f.c22
	c12 := a * (f.c12 + b*f.c22)
	f.c11 = c11 + f.level*dt + f.slope*dt*dt*dt/3
	f.c12 = c12 + f.slope*dt*dt/2
	f.c22 = a*a*f.c22 + f.slope*dt
}

// see takes a mean that is known to v variances of the noise, and gives its
// likelihood. One that the model all but rules out counts as an outlier; a
// second one on the same side as a step of the level, which leaves the slope as
// it was.
func (f *filter) see(y, v float64) float64 {
	e := y - f.m1
	q := f.c11 + v
	scale := math.Sqrt(f.s * q)
	u := e / scale
	density := studentT(u, f.n) / scale
	in := (1 - outlier) * density
	out := outlier / 2 // anywhere within the width, on either side
	w := in / (in + out)
	if w < 0.5 {
		if side := math.Copysign(1, e); f.astray > 0 && f.side == side {
			f.c11 += 1 / f.s // it has stepped: learn the level anew
			q = f.c11 + v
			f.astray = 0
			f.update(e, q, 1, false)
			return in + out
		}
		f.astray++
		f.side = math.Copysign(1, e)
	} else {
		f.astray = 0
	}
	f.update(e, q, w, true)
	return in + out
}

// update takes the part w of an error e whose variance, in the noise's, is q.
func (f *filter) update(e, q, w float64, learn bool) {
	k1, k2 := w*f.c11/q, w*f.c12/q
	c11, c12 := f.c11, f.c12
	f.m1 += k1 * e
	f.m2 += k2 * e
	f.c11 -= k1 * c11
	f.c22 -= k2 * c12
	f.c12 -= k1 * c12
	if learn {
		f.s += w * (e*e/q - f.s) / (f.n + w)
		f.n += w
	}
}

// studentT is the density of Student's t on n degrees of freedom.
func studentT(u, n float64) float64 {
	return norm(n) * math.Exp(-(n+1)/2*math.Log1p(u*u/n))
}

// norm is Gamma((n+1)/2) / (Gamma(n/2) sqrt(pi n)), by its series where that is
// good to five digits.
func norm(n float64) float64 {
	i := 1 / n
	return (1 - i/4 + i*i/32 + 5*i*i*i/128) / math.Sqrt(2*math.Pi)
}
