package anomaly_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/anomaly"
	"fettle.dev/fettle/internal/detect/detecttest"
	"fettle.dev/fettle/internal/peer/recording"
)

func scores(recs []*detecttest.Recording, warmup func(*detecttest.Recording) int) [][]float64 {
	var out [][]float64
	for _, r := range recs {
		d := anomaly.New(1, anomaly.Config{Warmup: warmup(r)})
		s := make([]float64, len(r.Values))
		for i, v := range r.Values {
			s[i] = d.Step(r.Times[i], []float64{v}).Score
		}
		out = append(out, s)
	}
	return out
}

// What the Numenta Anomaly Benchmark says doesn't get worse unseen. 68/58/73
// is reached for; no less than 62/52/68 will do.
func TestNAB(t *testing.T) {
	t.Parallel()
	recs, err := detecttest.ReadNAB(recording.Path(t, "nab-dev"))
	require.NoError(t, err)
	for name, warmup := range map[string]func(*detecttest.Recording) int{
		"as the benchmark's": (*detecttest.Recording).Warmup,
		"none":               func(*detecttest.Recording) int { return 0 },
	} {
		s := scores(recs, warmup)
		for i, least := range []float64{66, 53, 72} {
			p := detecttest.Profiles[i]
			best := detecttest.ScoreNAB(recs, s, p, math.NaN())
			fixed := detecttest.ScoreNAB(recs, s, p, 1)
			t.Logf("warm-up %s, %s: %.1f at %.3f, %d of %d windows, %d false rows; at the budget %.1f", name, p.Name, best.Score, best.Threshold, best.Found, best.Windows, best.False, fixed.Score)
			require.GreaterOrEqual(t, best.Score, least)
			require.GreaterOrEqual(t, fixed.Score, best.Score-4, "the budget is about where a threshold is best")
		}
	}
}

// A threshold that is best on one half of the files serves the other.
func TestNABThresholdIsOfUse(t *testing.T) {
	t.Parallel()
	recs, err := detecttest.ReadNAB(recording.Path(t, "nab-dev"))
	require.NoError(t, err)
	s := scores(recs, (*detecttest.Recording).Warmup)
	var half [2][]*detecttest.Recording
	var of [2][][]float64
	for i := range recs {
		half[i%2], of[i%2] = append(half[i%2], recs[i]), append(of[i%2], s[i])
	}
	p := detecttest.Profiles[0]
	for h := range half {
		own := detecttest.ScoreNAB(half[h], of[h], p, math.NaN())
		other := detecttest.ScoreNAB(half[1-h], of[1-h], p, math.NaN())
		got := detecttest.ScoreNAB(half[h], of[h], p, other.Threshold)
		t.Logf("half %d: %.1f at %.3f; %.1f at the other's %.3f", h, own.Score, own.Threshold, got.Score, other.Threshold)
		require.GreaterOrEqual(t, got.Score, own.Score-4)
	}
}

// So it does however the files are halved, on the average. What the budget
// itself loses, which was fixed on neither half, and what the threshold that is
// best on all files does, tells how much of the loss is the half's own best
// being the best of many.
func TestNABThresholdIsOfUseToAnyHalf(t *testing.T) {
	t.Parallel()
	recs, err := detecttest.ReadNAB(recording.Path(t, "nab-dev"))
	require.NoError(t, err)
	s := scores(recs, (*detecttest.Recording).Warmup)
	rng := rand.New(rand.NewPCG(1, 1))
	p := detecttest.Profiles[0]
	const splits = 60
	sum, many := 0.0, 0
	budget, pooled, all := 0.0, 0.0, detecttest.ScoreNAB(recs, s, p, math.NaN()).Threshold
	for range splits {
		var half [2][]*detecttest.Recording
		var of [2][][]float64
		for k, i := range rng.Perm(len(recs)) {
			half[k%2], of[k%2] = append(half[k%2], recs[i]), append(of[k%2], s[i])
		}
		for h := range half {
			own := detecttest.ScoreNAB(half[h], of[h], p, math.NaN())
			other := detecttest.ScoreNAB(half[1-h], of[1-h], p, math.NaN())
			lost := own.Score - detecttest.ScoreNAB(half[h], of[h], p, other.Threshold).Score
			sum += lost / (2 * splits)
			budget += (own.Score - detecttest.ScoreNAB(half[h], of[h], p, 1).Score) / (2 * splits)
			pooled += (own.Score - detecttest.ScoreNAB(half[h], of[h], p, all).Score) / (2 * splits)
			if lost > 4 {
				many++
			}
		}
	}
	t.Logf("%.1f points lost on the average, more than 4 in %d of %d; at the budget %.1f, by the threshold best on all files %.1f", sum, many, 2*splits, budget, pooled)
	require.LessOrEqual(t, sum, 5.)
	require.LessOrEqual(t, budget, 5.)
}
