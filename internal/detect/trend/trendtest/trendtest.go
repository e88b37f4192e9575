// Package trendtest makes signals whose time to a limit is known, and measures
// how often a trend's interval holds it.
package trendtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"fettle.dev/fettle/internal/detect/trend"
)

// Signal is a made-up recording, a sample an interval.
type Signal struct {
	Every  time.Duration
	Values []float64
	Level  []float64 // without noise
	Limit  float64
	Lower  bool // reached from above
	Life   int  // index of the first level at or beyond the limit; -1: none
	Season trend.Season
}

// Family makes signals of one kind.
type Family struct {
	Name       string
	Stationary bool // no trend is to be found
	make       func(r *rand.Rand) shape
}

// shape is a level over a life of 1 that begins at 0; the limit is 1.
type shape struct {
	level  func(u float64) float64 // nil: path
	path   func(n int, du float64, r *rand.Rand) []float64
	noise  float64
	ar     float64 // correlation of successive noise
	grain  float64
	season float64 // amplitude of a daily cycle
	gap    float64
	spikes float64
}

func between(r *rand.Rand, low, high float64) float64 { return low + (high-low)*r.Float64() }

func logBetween(r *rand.Rand, low, high float64) float64 {
	return low * math.Exp(r.Float64()*math.Log(high/low))
}

func smooth(level func(r *rand.Rand) func(u float64) float64) func(r *rand.Rand) shape {
	return func(r *rand.Rand) shape {
		return shape{level: level(r), noise: logBetween(r, 0.005, 0.2)}
	}
}

// Families are those measured.
var Families = []Family{
	{Name: "linear", make: smooth(func(*rand.Rand) func(float64) float64 { return func(u float64) float64 { return u } })},
	{Name: "linear after a quiet time", make: smooth(func(r *rand.Rand) func(float64) float64 {
		q := between(r, 0.2, 0.7)
		return func(u float64) float64 { return math.Max(0, (u-q)/(1-q)) }
	})},
	{Name: "accelerating, power", make: smooth(func(r *rand.Rand) func(float64) float64 {
		p := between(r, 1.3, 4)
		return func(u float64) float64 { return math.Pow(u, p) }
	})},
	{Name: "accelerating, exponential", make: smooth(func(r *rand.Rand) func(float64) float64 {
		k := between(r, 1, 8)
		return func(u float64) float64 { return math.Expm1(k*u) / math.Expm1(k) }
	})},
	{Name: "decelerating, power", make: smooth(func(r *rand.Rand) func(float64) float64 {
		p := between(r, 0.4, 0.8)
		return func(u float64) float64 { return math.Pow(u, p) }
	})},
	{Name: "decelerating, saturating", make: smooth(func(r *rand.Rand) func(float64) float64 {
		k := between(r, 0.5, 2.5)
		return func(u float64) float64 { return math.Expm1(-k*u) / math.Expm1(-k) }
	})},
	{Name: "random walk with drift", make: func(r *rand.Rand) shape {
		s := logBetween(r, 0.03, 0.3)
		return shape{noise: logBetween(r, 0.005, 0.1), path: func(n int, du float64, r *rand.Rand) []float64 {
			x, out := 0.0, make([]float64, n)
			for i := range out {
				out[i] = x
				x += du + s*math.Sqrt(du)*r.NormFloat64()
			}
			return out
		}}
	}},
	{Name: "wear in jumps", make: func(r *rand.Rand) shape {
		k := between(r, 20, 200) // jumps a life
		return shape{noise: logBetween(r, 0.005, 0.1), path: func(n int, du float64, r *rand.Rand) []float64 {
			x, out := 0.0, make([]float64, n)
			for i := range out {
				out[i] = x
				for p := r.Float64(); p < 1-math.Exp(-k*du); p = 2 {
					x += r.ExpFloat64() / k
				}
			}
			return out
		}}
	}},
	{Name: "linear, daily cycle", make: func(r *rand.Rand) shape {
		return shape{level: func(u float64) float64 { return u }, noise: logBetween(r, 0.005, 0.1), season: between(r, 0.05, 0.5)}
	}},
	{Name: "linear, rounded", make: func(r *rand.Rand) shape {
		return shape{level: func(u float64) float64 { return u }, noise: logBetween(r, 0.001, 0.05), grain: between(r, 0.01, 0.1)}
	}},
	{Name: "linear, correlated noise", make: func(r *rand.Rand) shape {
		return shape{level: func(u float64) float64 { return u }, noise: logBetween(r, 0.005, 0.1), ar: between(r, 0.5, 0.95)}
	}},
	{Name: "linear, gaps and spikes", make: func(r *rand.Rand) shape {
		return shape{level: func(u float64) float64 { return u }, noise: logBetween(r, 0.005, 0.1), gap: 0.3, spikes: 0.01}
	}},
	{Name: "noise", Stationary: true, make: func(r *rand.Rand) shape {
		return shape{level: func(float64) float64 { return 0 }, noise: logBetween(r, 0.02, 0.3)}
	}},
	{Name: "correlated noise", Stationary: true, make: func(r *rand.Rand) shape {
		return shape{level: func(float64) float64 { return 0 }, noise: logBetween(r, 0.02, 0.3), ar: between(r, 0.5, 0.98)}
	}},
	{Name: "daily cycle", Stationary: true, make: func(r *rand.Rand) shape {
		return shape{level: func(float64) float64 { return 0 }, noise: logBetween(r, 0.01, 0.1), season: between(r, 0.1, 0.8)}
	}},
	{Name: "steps", Stationary: true, make: func(r *rand.Rand) shape {
		return shape{noise: logBetween(r, 0.01, 0.1), path: func(n int, du float64, r *rand.Rand) []float64 {
			x, out := 0.0, make([]float64, n)
			for i := range out {
				if r.Float64() < 3*du {
					x = between(r, -0.6, 0.6)
				}
				out[i] = x
			}
			return out
		}}
	}},
	{Name: "random walk, no drift", Stationary: true, make: func(r *rand.Rand) shape {
		s := logBetween(r, 0.05, 0.3)
		return shape{noise: logBetween(r, 0.005, 0.1), path: func(n int, du float64, r *rand.Rand) []float64 {
			x, out := 0.0, make([]float64, n)
			for i := range out {
				out[i] = x
				x += s * math.Sqrt(du) * r.NormFloat64()
			}
			return out
		}}
	}},
}

// Make makes the family's signal of a seed.
func (f *Family) Make(seed uint64) Signal {
	r := rand.New(rand.NewPCG(seed, 4))
	s := f.make(r)
	life := int(logBetween(r, 100, 2000)) // samples
	n := 3 * life
	out := Signal{Every: time.Hour, Limit: 1, Life: -1, Season: trend.None}
	if s.season > 0 {
		life = max(life, 240)
		n = 3 * life
		out.Season = trend.Daily
	}
	scale, shift := math.Exp(between(r, -5, 5)), between(r, -100, 100)
	if s.path != nil {
		out.Level = s.path(n, 1/float64(life), r)
	} else {
		out.Level = make([]float64, n)
		for i := range out.Level {
			out.Level[i] = s.level(float64(i) / float64(life))
		}
	}
	out.Values = make([]float64, n)
	e := 0.0
	away := 0
	for i := range n {
		e = s.ar*e + math.Sqrt(1-s.ar*s.ar)*r.NormFloat64()
		season := s.season * math.Sin(2*math.Pi*float64(i)/24)
		if out.Life < 0 && out.Level[i]+s.season >= 1 {
			out.Life = i
		}
		v := out.Level[i] + season + s.noise*e
		if r.Float64() < s.spikes {
			v += between(r, -2, 2)
		}
		if s.grain > 0 {
			v = math.Round(v/s.grain) * s.grain
		}
		v = shift + scale*v
		if away > 0 {
			away--
			v = math.NaN()
		} else if s.gap > 0 && r.Float64() < s.gap/20 {
			away = 10 + r.IntN(20)
		}
		out.Values[i] = v
	}
	out.Limit = shift + scale
	return out
}

// Measured is what some signals came to.
type Measured struct {
	Signals   int
	Asked     int // forecasts asked for before the limit was reached
	Supported int // given
	Covered   int // whose interval held the truth
	Early     int // the truth came before the interval
	Late      int // the truth came after it, or never
	Unknown   int // the recording ends before the interval does, without the truth
	False     int // signals with a trend that did not come true: a median within the horizon, while the limit stayed away for three of them
	ratios    []float64
}

// Coverage is the share of the forecasts given, and judgeable, whose interval held the truth.
func (m *Measured) Coverage() float64 {
	return float64(m.Covered) / float64(max(m.Supported-m.Unknown, 1))
}

// Ratio is the median of how many times the interval's low end its high end is.
func (m *Measured) Ratio() float64 {
	if len(m.ratios) == 0 {
		return math.NaN()
	}
	slices.Sort(m.ratios)
	return m.ratios[len(m.ratios)/2]
}

// Add takes in what others came to.
func (m *Measured) Add(o Measured) {
	m.Signals += o.Signals
	m.Asked += o.Asked
	m.Supported += o.Supported
	m.Covered += o.Covered
	m.Early += o.Early
	m.Late += o.Late
	m.Unknown += o.Unknown
	m.False += o.False
	m.ratios = append(m.ratios, o.ratios...)
}

// String is the row of a table.
func (m *Measured) String() string {
	n := float64(max(m.Supported-m.Unknown, 1))
	return fmt.Sprintf("signals %4d asked %5d supported %5d covered %3.0f %% early %3.0f %% late %3.0f %% high/low %5.1f false %d",
		m.Signals, m.Asked, m.Supported, 100*m.Coverage(), 100*float64(m.Early)/n, 100*float64(m.Late)/n, m.Ratio(), m.False)
}

// Ask asks for forecasts of a signal at twentieths of its life, with a horizon.
func Ask(s *Signal, horizon float64) Measured {
	m := Measured{Signals: 1}
	end := s.Life
	if end < 0 {
		end = len(s.Values)
	}
	every := s.Every.Milliseconds()
	t := trend.New(trend.Config{Bucket: int64(horizon / 64 * float64(every)), Season: s.Season})
	limit := trend.Limit{Value: s.Limit, Upper: !s.Lower}
	next, step := end/10, max(end/20, 1)
	if s.Life < 0 {
		step = max(end/60, 1)
	}
	wrong := false
	for i, v := range s.Values[:end] {
		if closed := t.Add(int64(i)*every, v); !closed || i < next {
			continue
		}
		next = i + step
		f := t.Forecast(limit)
		m.Asked++
		if f.Support != trend.Supported {
			continue
		}
		m.Supported++
		m.ratios = append(m.ratios, float64(f.High)/math.Max(float64(f.Low), float64(s.Every)))
		truth := time.Duration(int64(end)*every-f.At) * time.Millisecond // or later
		switch {
		case truth > f.High:
			m.Late++
		case s.Life < 0:
			m.Unknown++
		case truth < f.Low:
			m.Early++
		default:
			m.Covered++
		}
		wrong = wrong || f.Median.Seconds() < horizon*s.Every.Seconds() && truth.Seconds() > 3*horizon*s.Every.Seconds()
	}
	if wrong {
		m.False = 1
	}
	return m
}

// Measure asks for forecasts of a family's signals from seed 1 on.
func (f *Family) Measure(signals int) Measured {
	var m Measured
	for seed := range uint64(signals) {
		s := f.Make(seed + 1)
		life := s.Life
		if life < 0 {
			life = len(s.Values) / 3
		}
		m.Add(Ask(&s, logBetween(rand.New(rand.NewPCG(seed, 5)), 0.05, 0.5)*float64(life)))
	}
	return m
}

// Recorded makes a signal of a recording: its level is the mean of the samples
// around each, as many as width.
func Recorded(every time.Duration, values []float64, limit float64, lower bool, width int) Signal {
	s := Signal{Every: every, Values: values, Limit: limit, Lower: lower, Life: -1}
	for i := range values {
		sum, n := 0.0, 0
		for j := max(0, i-width/2); j <= min(len(values)-1, i+width/2); j++ {
			sum, n = sum+values[j], n+1
		}
		mean := sum / float64(n)
		s.Level = append(s.Level, mean)
		if s.Life < 0 && (!lower && mean >= limit || lower && mean <= limit) {
			s.Life = i
		}
	}
	return s
}

// Wear measures how well it is foreseen when units that fail reach the value
// that half of them have some twenty samples before they fail: units and values
// are columns of a recording of runs to failure.
func Wear(units, values []float64, every time.Duration) Measured {
	var lives [][]float64
	for i, v := range values {
		if i == 0 || units[i] != units[i-1] {
			lives = append(lives, nil)
		}
		lives[len(lives)-1] = append(lives[len(lives)-1], v)
	}
	begins, ends := make([]float64, len(lives)), make([]float64, len(lives))
	for i, u := range lives {
		begins[i], ends[i] = mean(u[:20]), mean(u[len(u)-30:len(u)-15])
	}
	slices.Sort(begins)
	slices.Sort(ends)
	limit := ends[len(ends)/2]
	var m Measured
	for _, u := range lives {
		s := Recorded(every, u, limit, limit < begins[len(begins)/2], 11)
		m.Add(Ask(&s, 30))
	}
	return m
}

func mean(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x
	}
	return s / float64(len(v))
}
