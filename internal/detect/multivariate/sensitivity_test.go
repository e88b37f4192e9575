package multivariate

import (
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/detecttest"
	"fettle.dev/fettle/internal/peer/recording"
)

// Two false episodes a week, of rows a second and of rows each ten seconds.
const skabRate, femtoRate = 2. / (7 * 24 * 3600), 20. / (7 * 24 * 3600)

// states runs a tuning over recordings.
func states(recs []*detecttest.Rows, t tuning, rate float64) [][]bool {
	return statesAfter(recs, t, rate, 400)
}

func statesAfter(recs []*detecttest.Rows, t tuning, rate float64, warmup int) [][]bool {
	var out [][]bool
	for _, r := range recs {
		d := New(len(r.Signals), warmup)
		d.t = t
		on := make([]bool, len(r.Values))
		for i, row := range r.Values {
			on[i] = d.Step(row, rate).Alarm
		}
		out = append(out, on)
	}
	return out
}

func recordings(t *testing.T) (skab, femto []*detecttest.Rows) {
	t.Helper()
	if os.Getenv("FETTLE_SOAK") == "" {
		t.Skip("a study of the constants: set FETTLE_SOAK")
	}
	skab, err := detecttest.ReadSKAB(recording.Path(t, "skab-valve1"))
	require.NoError(t, err)
	femto, err = detecttest.ReadFEMTO(recording.Path(t, "femto-learning"))
	require.NoError(t, err)
	return skab, femto
}

// constants are those of a tuning.
func constants(t *tuning) map[string]*float64 {
	return map[string]*float64{
		"Lengths[0]": &t.Lengths[0], "Lengths[1]": &t.Lengths[1], "Lengths[2]": &t.Lengths[2],
		"Clip": &t.Clip, "Prior": &t.Prior, "Freedom": &t.Freedom, "Short": &t.Short, "Soft": &t.Soft,
		"Still": &t.Still, "Clear": &t.Clear, "Calm": &t.Calm, "Back": &t.Back, "Accept": &t.Accept,
		"Memory": &t.Memory, "Motion": &t.Motion, "Wary": &t.Wary, "Spike": &t.Spike, "Anchor": &t.Anchor,
		"Learn": &t.Learn, "Jump": &t.Jump, "Stuck": &t.Stuck,
	}
}

// No constant stands on an edge: each may be a fifth less or more.
func TestSoakSensitivity(t *testing.T) {
	t.Parallel()
	skab, femto := recordings(t)
	t.Logf("as it is: %v, %+v", detecttest.ScoreAlarms(skab, states(skab, standard, skabRate), 400), detecttest.ScoreLives(femto, states(femto, standard, femtoRate), 600_000))
	for name := range constants(&tuning{}) {
		for _, by := range []float64{.5, .8, 1.25, 2} {
			c := standard
			*constants(&c)[name] *= by
			got, lives := detecttest.ScoreAlarms(skab, states(skab, c, skabRate), 400), detecttest.ScoreLives(femto, states(femto, c, femtoRate), 600_000)
			t.Logf("%s x %g: %v, %+v", name, by, got, lives)
			if by == .8 || by == 1.25 {
				require.Greater(t, got.F1, .80, "%s x %g", name, by)
				require.Less(t, got.False, 20., "%s x %g", name, by)
				require.GreaterOrEqual(t, lives.Warned, 4, "%s x %g", name, by)
				require.LessOrEqual(t, lives.Early, 1, "%s x %g", name, by)
			}
		}
	}
}

// Constants chosen on one half of the runs serve the other half as well as
// those chosen on all.
func TestSoakLeaveHalfOut(t *testing.T) {
	t.Parallel()
	skab, _ := recordings(t)
	var halves [2][]*detecttest.Rows
	for i, r := range skab {
		halves[i%2] = append(halves[i%2], r)
	}
	var learned [2]tuning
	for h := range halves {
		best := -1.
		for _, soft := range []float64{2.25, 2.5, 2.75, 3} {
			for _, freedom := range []float64{1.5, 2, 2.5, 3, 4} {
				for _, back := range []float64{.15, .25, .35} {
					c := standard
					c.Soft, c.Freedom, c.Back = soft, freedom, back
					if got := detecttest.ScoreAlarms(halves[h], states(halves[h], c, skabRate), 400); got.False <= 12 && got.F1 > best {
						best, learned[h] = got.F1, c
					}
				}
			}
		}
	}
	for h := range halves {
		other := detecttest.ScoreAlarms(halves[h], states(halves[h], learned[1-h], skabRate), 400)
		own := detecttest.ScoreAlarms(halves[h], states(halves[h], learned[h], skabRate), 400)
		std := detecttest.ScoreAlarms(halves[h], states(halves[h], standard, skabRate), 400)
		t.Logf("half %d: chosen on the other half %v; on itself %v; as it is %v", h, other, own, std)
		require.Greater(t, other.F1, .78)
		require.Less(t, other.False, 20.)
	}
}

// Bearings by the length of the warm-up, and with longer lives: the six that are
// here live so short that half of a life ends about where the warm-up does.
func TestSoakLives(t *testing.T) {
	t.Parallel()
	_, femto := recordings(t)
	var longer []*detecttest.Rows
	for _, r := range femto {
		if len(r.Values) < 3*DefaultWarmup {
			r = backAndForth(r, .3, .8)
		}
		longer = append(longer, r)
	}
	for _, warmup := range []int{40, 50, 100, 200, 300, 360, DefaultWarmup, 500} {
		t.Logf("warm-up %d: %+v; longer lives %+v", warmup,
			detecttest.ScoreLives(femto, statesAfter(femto, standard, femtoRate, warmup), 600_000),
			detecttest.ScoreLives(longer, statesAfter(longer, standard, femtoRate, warmup), 600_000))
	}
}

// backAndForth plays a part of a life, backwards and forwards, once more.
func backAndForth(r *detecttest.Rows, from, to float64) *detecttest.Rows {
	q, n := *r, float64(len(r.Values))
	part := slices.Clone(r.Values[int(from*n):int(to*n)])
	slices.Reverse(part)
	q.Values = slices.Concat(r.Values[:int(to*n)], part, r.Values[int(from*n):])
	q.Times = nil
	for i := range q.Values {
		q.Times = append(q.Times, 10_000*int64(i))
	}
	return &q
}
