package life_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/life"
)

func lives(failed []float64, censored ...float64) []life.Observation {
	var obs []life.Observation
	for _, a := range failed {
		obs = append(obs, life.Observation{Age: a, Failed: true})
	}
	for _, a := range censored {
		obs = append(obs, life.Observation{Age: a})
	}
	return obs
}

// Weeks of remission of 42 children with leukaemia, 6-mercaptopurine against
// placebo: Freireich et al. 1963, Blood 21:699.
var (
	treated = lives([]float64{6, 6, 6, 7, 10, 13, 16, 22, 23}, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)
	placebo = lives([]float64{1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23})
)

// Cox and Oakes 1984, Analysis of Survival Data, table 4.1 and section 4.2.
func ExampleKaplanMeier() {
	curve, err := life.KaplanMeier(treated)
	if err != nil {
		panic(err)
	}
	for _, s := range curve.Steps {
		fmt.Printf("%2.0f weeks: %2d at risk, %d failed, %.3f survive (standard error %.3f)\n", s.Age, s.AtRisk, s.Failures, s.Survival, s.StdErr)
	}
	lo, hi := curve.Interval(10, 0.95)
	median, _ := curve.Quantile(0.5)
	fmt.Printf("at 10 weeks %.3f to %.3f; median %.0f weeks\n", lo, hi, median)
	// Output:
	//  6 weeks: 21 at risk, 3 failed, 0.857 survive (standard error 0.076)
	//  7 weeks: 17 at risk, 1 failed, 0.807 survive (standard error 0.087)
	// 10 weeks: 15 at risk, 1 failed, 0.753 survive (standard error 0.096)
	// 13 weeks: 12 at risk, 1 failed, 0.690 survive (standard error 0.107)
	// 16 weeks: 11 at risk, 1 failed, 0.627 survive (standard error 0.114)
	// 22 weeks:  7 at risk, 1 failed, 0.538 survive (standard error 0.128)
	// 23 weeks:  6 at risk, 1 failed, 0.448 survive (standard error 0.135)
	// at 10 weeks 0.503 to 0.889; median 23 weeks
}

// The log-rank statistic of these two groups is 16.79 on one degree of
// freedom: Kleinbaum and Klein 2012, Survival Analysis, section 2.IV.
func ExampleLogRank() {
	c, err := life.LogRank(treated, placebo)
	if err != nil {
		panic(err)
	}
	fmt.Printf("failed %d, expected %.2f and %.2f; chi-square %.2f, p = %.1g\n", c.Failures, c.Expected[0], c.Expected[1], c.ChiSquare, c.P)
	// Output: failed [9 21], expected 19.25 and 10.75; chi-square 16.79, p = 4e-05
}

// Twenty units tested for 500 hours: NIST/SEMATECH e-Handbook of Statistical
// Methods, section 8.4.1.2, which gives shape 1.7208 and scale 606.5280.
func ExampleFitWeibull() {
	failed := []float64{54, 187, 216, 240, 244, 335, 361, 373, 375, 386}
	running := []float64{500, 500, 500, 500, 500, 500, 500, 500, 500, 500}
	w, err := life.FitWeibull(lives(failed, running...))
	if err != nil {
		panic(err)
	}
	fmt.Printf("shape %.4f, scale %.3f hours\n", w.Shape, w.Scale)
	lo, hi := w.QuantileInterval(0.1, 0.9)
	fmt.Printf("one in ten fails before %.0f hours (%.0f to %.0f)\n", w.Quantile(0.1), lo, hi)
	fmt.Printf("one that works at 500 hours fails within 100 more with a chance of %.0f %%\n", 100*w.Risk(500, 100))
	// Output:
	// shape 1.7208, scale 606.528 hours
	// one in ten fails before 164 hours (93 to 288)
	// one that works at 500 hours fails within 100 more with a chance of 23 %
}

// Distances to failure of vehicle shock absorbers (O'Connor 1985): Meeker and
// Escobar 1998, tables C.2 and 8.1, give log scale 10.23 (standard error
// .1099) and 1/shape .3164 (.07317).
func TestShockAbsorbers(t *testing.T) {
	t.Parallel()
	w, err := life.FitWeibull(lives(
		[]float64{6700, 9120, 12200, 13150, 14300, 17520, 20100, 20900, 22700, 26510, 27490},
		6950, 7820, 8790, 9660, 9820, 11310, 11690, 11850, 11880, 12140, 12870, 13330, 13470, 14040, 17540, 17890, 18450,
		18960, 18980, 19410, 20100, 20150, 20320, 23490, 27410, 27890, 28100))
	require.NoError(t, err)
	require.Equal(t, 38, w.N)
	require.InDelta(t, 10.23, math.Log(w.Scale), 0.005)
	require.InDelta(t, 0.1099, math.Sqrt(w.Covariance[2]), 0.0005)
	require.InDelta(t, 0.3164, 1/w.Shape, 0.0005)
	require.InDelta(t, 0.07317, math.Sqrt(w.Covariance[0])/w.Shape, 0.0005)
}

// Left-truncated lives: those that failed before they were looked at are
// unknown. Without Entry the fit would take the parts for much better.
func TestTruncated(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var obs, naive []life.Observation
	for len(obs) < 4000 {
		age := 1000 * math.Pow(rng.ExpFloat64(), 1/2.5)
		entry := 1500 * rng.Float64()
		if age <= entry {
			continue // never seen
		}
		o := life.Observation{Age: age, Failed: true, Entry: entry}
		if end := entry + 400; age > end {
			o.Age, o.Failed = end, false
		}
		obs = append(obs, o)
		naive = append(naive, life.Observation{Age: o.Age, Failed: o.Failed})
	}
	w, err := life.FitWeibull(obs)
	require.NoError(t, err)
	require.InDelta(t, 2.5, w.Shape, 0.15)
	require.InDelta(t, 1000, w.Scale, 30)
	wrong, err := life.FitWeibull(naive)
	require.NoError(t, err)
	require.Greater(t, wrong.Scale, 1100.0)
	curve, err := life.KaplanMeier(obs)
	require.NoError(t, err)
	for _, age := range []float64{500, 1000, 1400} {
		require.InDelta(t, w.Survival(age), curve.At(age), 0.05, "age %g", age)
	}
}

// The intervals hold the truth as often as they say.
func TestCoverage(t *testing.T) {
	t.Parallel()
	const runs, shape, scale = 400, 1.8, 700.0
	rng := rand.New(rand.NewPCG(3, 4))
	inside := map[string]int{}
	count := func(name string, lo, hi, truth float64) {
		if lo <= truth && truth <= hi {
			inside[name]++
		}
	}
	truth := life.Weibull{Shape: shape, Scale: scale}
	for range runs {
		obs := make([]life.Observation, 80)
		for i := range obs {
			age, end := scale*math.Pow(rng.ExpFloat64(), 1/shape), 300+700*rng.Float64()
			obs[i] = life.Observation{Age: min(age, end), Failed: age <= end}
		}
		w, err := life.FitWeibull(obs)
		require.NoError(t, err)
		lo, hi := w.ShapeInterval(0.9)
		count("shape", lo, hi, shape)
		lo, hi = w.ScaleInterval(0.9)
		count("scale", lo, hi, scale)
		lo, hi = w.QuantileInterval(0.1, 0.9)
		count("B10", lo, hi, truth.Quantile(0.1))
		lo, hi = w.SurvivalInterval(400, 0.9)
		count("survival", lo, hi, truth.Survival(400))
		lo, hi = w.RiskInterval(400, 200, 0.9)
		count("risk", lo, hi, truth.Risk(400, 200))
		curve, err := life.KaplanMeier(obs)
		require.NoError(t, err)
		lo, hi = curve.Interval(400, 0.9)
		count("curve", lo, hi, truth.Survival(400))
	}
	for _, name := range []string{"shape", "scale", "B10", "survival", "risk", "curve"} {
		require.InDelta(t, 0.9, float64(inside[name])/runs, 0.045, name) // three standard errors
	}
}

func TestWeibullFunctions(t *testing.T) {
	t.Parallel()
	w := life.Weibull{Shape: 1, Scale: 100} // exponential: it doesn't age
	require.InDelta(t, 0.01, w.Hazard(50), 1e-12)
	require.InDelta(t, 100, w.Mean(), 1e-9)
	require.InDelta(t, w.Risk(0, 30), w.Risk(500, 30), 1e-12)
	require.InDelta(t, w.Quantile(0.5), w.Remaining(500, 0.5), 1e-9)
	old := life.Weibull{Shape: 3, Scale: 100}
	require.Greater(t, old.Risk(100, 10), 3*old.Risk(50, 10))
	require.InDelta(t, 0.5, old.Risk(80, old.Remaining(80, 0.5)), 1e-12)
	lo, hi := w.SurvivalInterval(0, 0.9)
	require.Equal(t, []float64{1, 1}, []float64{lo, hi})
}

func TestCurveBeyondTheData(t *testing.T) {
	t.Parallel()
	c, err := life.KaplanMeier(lives([]float64{5}, 3, 9))
	require.NoError(t, err)
	require.InDelta(t, 1, c.At(4), 0)
	require.InDelta(t, 0.5, c.At(5), 0)
	require.InDelta(t, 0.5, c.At(9), 0)
	require.True(t, math.IsNaN(c.At(9.1)), "nobody was seen at that age")
	_, ok := c.Quantile(0.9)
	require.False(t, ok)
	lo, hi := c.Interval(1, 0.9)
	require.InDelta(t, math.Cbrt(0.05), lo, 1e-12)
	require.InDelta(t, 1, hi, 0)
	all, err := life.KaplanMeier(lives([]float64{5, 6}))
	require.NoError(t, err)
	require.InDelta(t, 0, all.At(100), 0)
	lo, hi = all.Interval(100, 0.9)
	require.Zero(t, lo)
	require.InDelta(t, 0.95, hi, 1e-12)
	none, err := life.KaplanMeier(lives(nil, 3, 9))
	require.NoError(t, err)
	require.InDelta(t, 1, none.At(9), 0)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		obs  []life.Observation
		want error
	}{
		"nothing":      {nil, life.ErrNoObservation},
		"no failure":   {lives(nil, 3, 4), life.ErrNoFailure},
		"at age 0":     {lives([]float64{0, 4}), life.ErrZeroAge},
		"one age":      {lives([]float64{4, 4}), life.ErrNoMaximum},
		"one failure":  {lives([]float64{4}, 5), life.ErrNoMaximum},
		"infant, then": {lives([]float64{1e-9, 1e9}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := life.FitWeibull(tt.obs)
			require.ErrorIs(t, err, tt.want)
			require.False(t, math.IsNaN(w.Shape+w.Scale+w.Covariance[0]))
		})
	}
	for _, bad := range []life.Observation{{Age: -1}, {Age: math.NaN()}, {Age: math.Inf(1)}, {Age: 2, Entry: 3}} {
		_, err := life.FitWeibull([]life.Observation{bad})
		require.ErrorContains(t, err, "observation 0")
		_, err = life.KaplanMeier([]life.Observation{bad})
		require.ErrorContains(t, err, "observation 0")
	}
	_, err := life.LogRank(treated)
	require.ErrorContains(t, err, "two groups")
	_, err = life.LogRank(lives([]float64{1}), []life.Observation{{Age: 9, Failed: true, Entry: 5}})
	require.ErrorContains(t, err, "can't be compared")

	// A group too young to say anything stands in no other's way, wherever it is.
	want, err := life.LogRank(treated, placebo)
	require.NoError(t, err)
	young := []life.Observation{{Age: 0}, {Age: .5}}
	for _, groups := range [][][]life.Observation{{young, treated, placebo}, {treated, young, placebo}, {treated, placebo, young}} {
		got, err := life.LogRank(groups...)
		require.NoError(t, err)
		require.InDelta(t, want.ChiSquare, got.ChiSquare, 1e-9)
		require.Equal(t, want.Freedom, got.Freedom)
		require.InDelta(t, want.P, got.P, 1e-9)
	}
}

// Whatever the ages: a refusal, or numbers that make sense.
func FuzzLives(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add([]byte{0, 0, 1, 255, 255, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var obs []life.Observation
		for i := 0; i+2 < len(raw); i += 3 {
			obs = append(obs, life.Observation{
				Age: math.Ldexp(float64(raw[i]), int(raw[i+1]%40)), Failed: raw[i+2]&1 == 1, Entry: float64(raw[i+2] >> 5),
			})
		}
		if w, err := life.FitWeibull(obs); err == nil {
			require.Positive(t, w.Shape)
			require.Positive(t, w.Scale)
			lo, hi := w.QuantileInterval(0.1, 0.9)
			require.LessOrEqual(t, lo, hi)
			s := w.Survival(10)
			require.True(t, s >= 0 && s <= 1)
		}
		if c, err := life.KaplanMeier(obs); err == nil {
			last := 1.0
			for _, s := range c.Steps {
				require.LessOrEqual(t, s.Survival, last)
				last = s.Survival
				lo, hi := c.Interval(s.Age, 0.9)
				require.LessOrEqual(t, lo, s.Survival+1e-12)
				require.GreaterOrEqual(t, hi, s.Survival-1e-12)
			}
		}
	})
}

func BenchmarkFitWeibull(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	obs := make([]life.Observation, 10_000)
	for i := range obs {
		obs[i] = life.Observation{Age: 1 + 1000*rng.Float64(), Failed: i%3 == 0}
	}
	for b.Loop() {
		_, _ = life.FitWeibull(obs)
	}
}

func BenchmarkKaplanMeier(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	obs := make([]life.Observation, 10_000)
	for i := range obs {
		obs[i] = life.Observation{Age: 1000 * rng.Float64(), Failed: i%3 == 0}
	}
	for b.Loop() {
		_, _ = life.KaplanMeier(obs)
	}
}
