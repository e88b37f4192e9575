package detect_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/detect"
)

const minute = 60_000

func TestEpisode(t *testing.T) {
	t.Parallel()
	type step struct {
		at   int64 // minutes
		v    float64
		want detect.Event
	}
	skip := math.NaN()
	for name, tt := range map[string]struct {
		rule  detect.Rule
		steps []step
	}{
		"at once": {
			detect.Rule{Gap: 60 * minute},
			[]step{{0, 70, detect.Nothing}, {1, 81, detect.Opened}, {2, 85, detect.Continued}, {3, 79, detect.Closed}, {4, 90, detect.Opened}},
		},
		"held": {
			detect.Rule{Hold: 10 * minute, Gap: 60 * minute},
			[]step{{0, 81, detect.Nothing}, {9, 82, detect.Nothing}, {10, 83, detect.Opened}},
		},
		"a value inside starts the hold anew": {
			detect.Rule{Hold: 10 * minute, Gap: 60 * minute},
			[]step{{0, 81, detect.Nothing}, {9, 70, detect.Nothing}, {10, 83, detect.Nothing}, {19, 83, detect.Nothing}, {20, 83, detect.Opened}},
		},
		"one value stands for at most the gap": {
			detect.Rule{Hold: 10 * minute, Gap: 5 * minute},
			[]step{{0, 81, detect.Nothing}, {600, 81, detect.Nothing}, {1200, 81, detect.Opened}},
		},
		"time not judged is no evidence": {
			detect.Rule{Hold: 10 * minute, Gap: 60 * minute},
			[]step{{0, 81, detect.Nothing}, {1, skip, detect.Nothing}, {30, 81, detect.Nothing}, {39, 81, detect.Nothing}, {40, 81, detect.Opened}},
		},
		"hysteresis keeps the side": {
			detect.Rule{Hold: 10 * minute, Gap: 60 * minute, Hysteresis: 3},
			[]step{{0, 81, detect.Nothing}, {5, 78, detect.Nothing}, {10, 78, detect.Opened}, {11, 77, detect.Closed}, {12, 78, detect.Nothing}},
		},
		"clear must hold": {
			detect.Rule{Clear: 10 * minute, Gap: 60 * minute},
			[]step{{0, 81, detect.Opened}, {5, 70, detect.Nothing}, {14, 70, detect.Nothing}, {14, 81, detect.Continued}, {20, 70, detect.Nothing}, {29, 70, detect.Nothing}, {30, 70, detect.Closed}},
		},
		"below": {
			detect.Rule{Gap: 60 * minute},
			[]step{{0, 59, detect.Opened}, {1, 60, detect.Closed}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e detect.Episode
			band := detect.Limits{Min: 60, Max: 80}
			for i, s := range tt.steps {
				if math.IsNaN(s.v) {
					e.Skip(s.at * minute)
					continue
				}
				require.Equal(t, s.want, e.Step(&tt.rule, s.at*minute, s.v, band), "step %d", i)
			}
		})
	}
}

func TestEpisodePeak(t *testing.T) {
	t.Parallel()
	var e detect.Episode
	r := detect.Rule{Gap: minute}
	e.Step(&r, 1, 85, detect.Limits{Min: math.Inf(-1), Max: 80})
	e.Step(&r, 2, 75, detect.Limits{Min: math.Inf(-1), Max: 60}) // another band: further out, though lower
	require.InDelta(t, 75.0, e.Peak, 0)
	require.InDelta(t, 15.0, e.Excess, 0)
	require.Equal(t, int64(1), e.Onset)
	require.Equal(t, int64(2), e.Last)
}

func TestExposure(t *testing.T) {
	t.Parallel()
	var x detect.Exposure
	x.Step(0, true, 60*minute)
	x.Step(30*minute, false, 60*minute)
	x.Step(90*minute, true, 60*minute)
	x.Step(90*minute, true, 60*minute)
	x.Step(300*minute, true, 60*minute)
	require.Equal(t, int64(90*minute), x.Total)
}

// A Known never takes a repetition for news.
func TestKnownNeverTakesARepetitionForNews(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var k detect.Known
		seen := map[int64]bool{}
		for _, at := range rapid.SliceOfN(rapid.Int64Range(0, 200), 0, 300).Draw(t, "times") {
			fresh := k.Add(at)
			if fresh && seen[at] {
				t.Fatalf("%d is known, but taken for news", at)
			}
			if !fresh && !seen[at] && (!k.Full || at > k.Floor) {
				t.Fatalf("%d is news, but taken for a repetition", at)
			}
			seen[at] = true
			if len(k.Times) > detect.Remembered {
				t.Fatalf("%d times kept", len(k.Times))
			}
		}
	})
}
