package trend

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	paths  = 512
	stride = 197 // coprime to paths
	early  = 96
	steps  = 40
	finest = 4096 // the first step is so many times shorter than the reach

	farthest = float64(math.MaxInt64 / int64(time.Millisecond)) // ms
)

// dice is seeded alike each time: the same past always gives the same forecast.
type dice struct{ *rand.Rand }

func newDice() dice { return dice{rand.New(rand.NewPCG(2002, 1985))} }

// passage draws paths from the posterior and gives the quantiles of the time at
// which they first reach the limit.
func (m *model) passage(l Limit) Forecast {
	out := Forecast{At: m.at, Level: m.base + m.level*m.width, Slope: m.slope * m.width / (m.unit / hour), Noise: m.noise * m.width}
	sign, limit := 1.0, (l.Value-m.high-m.base)/m.width
	if !l.Upper {
		sign, limit = -1, -(l.Value-m.low-m.base)/m.width
	}
	if sign*m.level >= limit {
		out.Support = Beyond
		return out
	}
	far := reach * m.span
	futures := make([]*future, len(m.filters))
	times := make([]float64, 0, paths)
	towards, within := 0, 0
	d := newDice()
	// Paths are drawn in the order of a stride through the models' weights, so
	// that the first ones are a fair sample: where too few of them get there,
	// the rest is not drawn.
	for i := range paths {
		at := (float64(i*stride%paths) + 0.5) / paths
		k := m.pick(at)
		if futures[k] == nil {
			futures[k] = m.filters[k].future(far)
		}
		t, up := m.filters[k].path(d, futures[k], sign, limit, i%2 == 1)
		times = append(times, t)
		if up {
			towards++
		}
		if t < far {
			within++
		}
		if i == early-1 && (within < early*3/4 || towards < early*3/4) {
			break
		}
	}
	if float64(towards) < sure*float64(len(times)) {
		out.Support = NoTrend
		return out
	}
	slices.Sort(times)
	if len(times) < paths {
		out.Support = TooFar
		return out
	}
	at := func(p float64) float64 {
		x := p*float64(len(times)) - 0.5
		i := int(x)
		if math.IsInf(times[i+1], 1) {
			return times[i+1]
		}
		return times[i] + (x-float64(i))*(times[i+1]-times[i])
	}
	if at(1-lowest)*m.unit > farthest {
		out.Support = TooFar
		return out
	}
	since := func(p float64) time.Duration {
		return time.Duration(at(p) * m.unit * float64(time.Millisecond))
	}
	out.Low, out.Median, out.High = since(lowest), since(0.5), since(1-lowest)
	return out
}

// pick is the place of the model at a share of all models' weight.
func (m *model) pick(share float64) int {
	for i := range m.filters {
		if share -= m.filters[i].weight; share < 0 {
			return i
		}
	}
	return len(m.filters) - 1
}

// future is a model's steps ahead, which are longer the later they come: each
// with its end, and what it does to slope and level.
type future struct {
	steps [steps + 1]leap
	n     int
}

type leap struct{ to, h, a, b, level, slope, both float64 }

// future cuts the time as far as is looked into steps.
func (f *filter) future(far float64) *future {
	growth := math.Pow(finest, 1.0/(steps-1))
	out := new(future)
	for t, dt := 0.0, far/finest; t < far && out.n <= steps; dt *= growth {
		next := math.Min(dt, far)
		h := next - t
		s := leap{to: next, h: h, a: 1, b: h, level: math.Sqrt(f.level * h), slope: math.Sqrt(f.slope * h), both: math.Sqrt(f.slope * h / 12)}
		if f.growth != 0 {
			g := math.Min(f.growth*h, 50)
			s.a, s.b = math.Exp(g), math.Expm1(g)/f.growth
		}
		out.steps[out.n] = s
		out.n++
		t = next
	}
	return out
}

// path draws one future and gives the time at which it reaches the limit,
// infinity if it does not in time, and whether it sets out towards it. What
// accelerates goes on doing so at its rate, or steadily at its present
// acceleration: the past of an exponential and of a power is much the same.
func (f *filter) path(d dice, ahead *future, sign, limit float64, steady bool) (float64, bool) {
	// The noise's variance is inverse gamma: by Wilson and Hilferty's
	// approximation of chi-squared (PNAS 17, 1931).
	c := 2 / (9 * f.n)
	chi := 1 - c + math.Sqrt(c)*d.NormFloat64()
	sd := math.Sqrt(f.s / math.Max(chi*chi*chi, 0.02))
	z1, z2 := d.NormFloat64(), d.NormFloat64()
	l11 := math.Sqrt(math.Max(f.c11, 0))
	l21, l22 := 0.0, math.Sqrt(math.Max(f.c22, 0))
	if l11 > 0 {
		l21 = f.c12 / l11
		l22 = math.Sqrt(math.Max(f.c22-l21*l21, 0))
	}
	x := sign * (f.m1 + sd*l11*z1)
	v := sign * (f.m2 + sd*(l21*z1+l22*z2))
	v0, up := v, v > 0
	if x >= limit {
		return 0, up
	}
	for i := range ahead.n {
		s := &ahead.steps[i]
		h := s.h
		y := x + s.b*v
		if steady && f.growth > 0 {
			gain := f.growth * v0 * h
			y = x + h*(v+gain/2)
			v += gain
		} else {
			v *= s.a
		}
		q := s.level * s.level
		if q > 0 {
			y += sd * s.level * d.NormFloat64()
		}
		if s.slope > 0 {
			e := sd * s.slope * d.NormFloat64()
			v += e
			y += h * (e/2 + sd*s.both*d.NormFloat64())
		}
		if y >= limit {
			return s.to - h + h*(limit-x)/(y-x), up
		}
		if q > 0 {
			// Between two ends below the limit a random walk may have touched it
			// (the Brownian bridge's maximum).
			touch := math.Exp(-2 * (limit - x) * (limit - y) / (sd * sd * q))
			if d.Float64() < touch {
				return s.to - h/2, up
			}
		}
		x = y
	}
	return math.Inf(1), up
}
