package sequential

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

func baselines() *rapid.Generator[Baseline] {
	return rapid.Custom(func(t *rapid.T) Baseline {
		if rapid.Bool().Draw(t, "declared") {
			return Declared(rapid.Float64Range(0, 1).Draw(t, "rate"))
		}
		n := rapid.IntRange(0, 20_000).Draw(t, "begun")
		return Learned([]Past{{Failed: rapid.IntRange(0, n).Draw(t, "failed"), Begun: n}})
	})
}

func TestEvidenceGrowsWithFailuresAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		test := New(baselines().Draw(t, "baseline"), rapid.Float64Range(0, 0.2).Draw(t, "tolerated"))
		n := rapid.IntRange(1, 100_000).Draw(t, "begun")
		x := rapid.IntRange(0, n-1).Draw(t, "failed")
		e := test.Evidence(x, n)
		require.False(t, math.IsNaN(e) || math.IsInf(e, 0) || e < 0, "%g", e)
		slack := 1e-6*e + 1e-12 // of logarithms of large gamma functions
		require.GreaterOrEqual(t, test.Evidence(x+1, n), e-slack, "one more of them failed")
		require.LessOrEqual(t, test.Evidence(x, n+1), e+slack, "one more went well")
	})
}

func TestNothingIsNoEvidence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		test := New(baselines().Draw(t, "baseline"), 0)
		require.InDelta(t, 1, test.Evidence(0, 0), 1e-9)
		require.LessOrEqual(t, test.Evidence(0, rapid.IntRange(0, 1000).Draw(t, "begun")), 1+1e-9)
		require.InDelta(t, 1, test.Evidence(-3, 0), 1e-9, "no number is refused")
		require.Greater(t, test.Evidence(3, 0)+1, 1.0)
	})
}

// What makes evidence valid: for a good release its mean after n units is 1,
// for every n. Summed over all outcomes, not simulated.
func TestEvidenceHasMeanOne(t *testing.T) {
	t.Parallel()
	for _, b := range []Baseline{Declared(0.01), Declared(0.05), Declared(0.4), Learned(nil), Learned([]Past{{3, 40}}), Learned([]Past{{50, 1000}})} {
		test := New(b, 0)
		for _, n := range []int{1, 7, 100} {
			mean, all := 0.0, 0.0
			for x := range n + 1 {
				lg := func(k int) float64 { v, _ := math.Lgamma(float64(k + 1)); return v }
				p := math.Exp(lg(n) - lg(x) - lg(n-x) + test.good.log(float64(x), float64(n-x)))
				all += p
				mean += p * test.Evidence(x, n)
			}
			require.InDelta(t, 1, all, 1e-6)
			require.InDelta(t, 1, mean, 1e-6, "%+v after %d", b, n)
		}
	}
}

// And for a release that is better than the baseline the mean is less.
func TestABetterReleaseGivesLess(t *testing.T) {
	t.Parallel()
	test := New(Declared(0.05), 0)
	for _, p := range []float64{0.001, 0.02, 0.049} {
		binomial, mean := distuv.Binomial{N: 200, P: p}, 0.0
		for x := range 201 {
			mean += binomial.Prob(float64(x)) * test.Evidence(x, 200)
		}
		require.Less(t, mean, 1.0, "%g", p)
	}
}

func TestThreeOfFourteen(t *testing.T) {
	t.Parallel()
	test := New(Declared(0.01), 0)
	require.InDelta(t, 160, test.Evidence(3, 14), 1)
	require.Less(t, test.Evidence(1, 14), 5.0, "one failure is no proof")
	alpha, _, _ := Budget(FalseStops)
	require.Equal(t, 2, test.StopsAt(2, alpha), "an update that kills stops at the second unit")
	require.Equal(t, 3, test.StopsAt(14, alpha))
	require.Equal(t, 1, New(Declared(0.9), 0).StopsAt(0, alpha), "never")
	require.Less(t, New(Declared(0.01), 0.2).Evidence(3, 14), 1.5, "what is tolerated is no evidence")
}

func TestHistoriesThatDifferSayLess(t *testing.T) {
	t.Parallel()
	alike := Learned([]Past{{10, 1000}, {11, 1000}, {9, 1000}})
	unlike := Learned([]Past{{1, 1000}, {28, 1000}, {1, 1000}})
	require.InDelta(t, 3020, alike.A+alike.B, 1)
	require.Less(t, unlike.A+unlike.B, 200.0)
	require.InDelta(t, 0.05, Learned(nil).Rate, 1e-9)
	require.Equal(t, Learned(nil), Learned([]Past{{0, 0}}))
}

func TestBudgetIsWhole(t *testing.T) {
	t.Parallel()
	a, b, c := Budget(FalseStops)
	require.InDelta(t, FalseStops, a+b+c, 1e-12)
}

// Always valid under peeking: after each unit, for rollouts without end.
func TestIntervalHoldsTheShareAtEveryLook(t *testing.T) {
	t.Parallel()
	const alpha, times, longest = 0.05, 400, 3000
	for _, share := range []float64{0.02, 0.5, 0.9} {
		missed := 0
		for seed := range uint64(times) {
			rng := rand.New(rand.NewPCG(seed, 11))
			x := 0
			for n := 1; n <= longest; n++ {
				if rng.Float64() < share {
					x++
				}
				if n > 100 && n%10 != 0 {
					continue // neighbours differ by little
				}
				if low, high := Interval(x, n, alpha); share < low || share > high {
					missed++
					break
				}
			}
		}
		require.LessOrEqual(t, missed, times*5/100, "share %g", share)
	}
}

func TestIntervalIsWithinBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 1_000_000).Draw(t, "n")
		x := rapid.IntRange(0, n).Draw(t, "x")
		low, high := Interval(x, n, 0.05)
		require.True(t, 0 <= low && low <= high && high <= 1, "%g %g", low, high)
		if n > 0 {
			share := float64(x) / float64(n)
			require.True(t, low <= share && share <= high)
			l2, h2 := Interval(n-x, n, 0.05)
			require.InDelta(t, 1-high, l2, 1e-9, "what is left has the other interval")
			require.InDelta(t, 1-low, h2, 1e-9)
			wider, _ := Interval(x, n, 0.01)
			require.LessOrEqual(t, wider, low)
			if x < n {
				better, _ := Interval(x+1, n, 0.05)
				require.GreaterOrEqual(t, better, low)
			}
		}
	})
}

func TestAllNeeded(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]int{0: 1, 1: 0} {
		require.Equal(t, want, AllNeeded(share, 0.05))
	}
	for _, share := range []float64{0.5, 0.8, 0.9, 0.95, 0.99} {
		n := AllNeeded(share, 0.05)
		low, _ := Interval(n, n, 0.05)
		require.GreaterOrEqual(t, low, share)
		low, _ = Interval(n-1, n-1, 0.05)
		require.Less(t, low, share)
	}
	require.Equal(t, 53, AllNeeded(0.9, 0.05), "as the comment of Interval says")
}

// lots plays n units, of which some draw the lot to be treated, that fall ill
// at a hazard that differs much between them, and ratio times that when treated.
func lots(rng *rand.Rand, n int, treatedShare, ratio float64) []Event {
	type unit struct {
		at      float64
		treated bool
	}
	units := make([]unit, n)
	at1, all := 0, n
	for i := range units {
		treated := rng.Float64() < treatedShare
		hazard := rng.ExpFloat64() // some much frailer than others
		if treated {
			at1++
			hazard *= ratio
		}
		units[i] = unit{rng.ExpFloat64() / hazard, treated}
	}
	var out []Event
	for last := 0.0; ; {
		first := -1
		for i, u := range units {
			if u.at > last && (first < 0 || u.at < units[first].at) {
				first = i
			}
		}
		if first < 0 || units[first].at > 0.5 {
			return out
		}
		u := units[first]
		out = append(out, Event{Treated: u.treated, AtRisk: at1, AtRiskOf: all})
		last, all = u.at, all-1
		if u.treated {
			at1--
		}
	}
}

func TestCompareAtEveryEvent(t *testing.T) {
	t.Parallel()
	const alpha, times = 0.05, 400
	reached := func(ratio float64) (n int) {
		for seed := range uint64(times) {
			events := lots(rand.New(rand.NewPCG(seed, 5)), 100, 0.3, ratio)
			for i := range events {
				if Compare(events[:i+1]).Evidence >= 1/alpha {
					n++
					break
				}
			}
		}
		return n
	}
	require.LessOrEqual(t, reached(1), times*5/100, "an update that does nothing")
	require.LessOrEqual(t, reached(0.5), times*1/100, "one that does good")
	require.GreaterOrEqual(t, reached(6), times*80/100, "one that does harm")
}

func TestCompareCounts(t *testing.T) {
	t.Parallel()
	h := Compare([]Event{{true, 1, 4}, {false, 1, 3}, {true, 2, 2}, {true, 0, 3}})
	require.Equal(t, 2, h.Events, "with one group alone there is nothing to compare")
	require.Equal(t, 1, h.Treated)
	require.InDelta(t, 0.25+1.0/3, h.Expected, 1e-12)
	require.InDelta(t, 1, Compare(nil).Evidence, 1e-12)
	require.Greater(t, Compare([]Event{{true, 1, 10}, {true, 1, 10}}).Evidence, 10.0)
}

func FuzzNumbers(f *testing.F) {
	f.Add(3, 14, 0.01, 0.0, 0.05)
	f.Add(-1, -1, -1.0, 2.0, 0.0)
	f.Fuzz(func(t *testing.T, x, n int, rate, tolerated, alpha float64) {
		if math.IsNaN(rate) || math.IsNaN(tolerated) || math.IsNaN(alpha) || alpha <= 0 || alpha > 1 {
			return
		}
		tolerated = math.Min(math.Max(tolerated, 0), 1)
		e := New(Declared(rate), tolerated).Evidence(x, n)
		require.False(t, math.IsNaN(e) || math.IsInf(e, 0) || e < 0)
		low, high := Interval(x, n, alpha)
		require.True(t, 0 <= low && low <= high && high <= 1)
		b := Learned([]Past{{min(max(x, 0), max(n, 0)), max(n, 0)}})
		require.True(t, b.Rate > 0 && b.Rate < 1)
	})
}
