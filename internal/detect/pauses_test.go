package detect_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/detect"
)

// A sensor that reports by the hour: two hours without a word, and ten minutes
// more, say that it is dead. Where every tenth report is lost it takes seven.
func ExamplePauses() {
	hold := int64(10 * minute)
	var clean, lossy detect.Pauses
	for i := range 720 {
		clean.Learn(60*minute, 0)
		switch {
		case i%100 == 99:
			lossy.Learn(180*minute, 0)
		case i%10 == 9:
			lossy.Learn(120*minute, 0)
		default:
			lossy.Learn(60*minute, 0)
		}
	}
	fmt.Println(time.Duration(clean.Allowed(2, hold)) * time.Millisecond)
	fmt.Println((time.Duration(lossy.Allowed(2, hold)) * time.Millisecond).Round(time.Hour / 2))
	// Output:
	// 2h10m0s
	// 7h30m0s
}

func TestPausesLearn(t *testing.T) {
	t.Parallel()
	const hour = 60 * minute
	hold := int64(10 * minute)
	learn := func(p *detect.Pauses, n int, pause int64) {
		for range n {
			p.Learn(pause, p.Allowed(2, hold))
		}
	}
	bursts := detect.Pauses{}
	for range 60 {
		learn(&bursts, 100, 200)
		learn(&bursts, 1, 6*hour)
	}
	require.InDelta(t, 18*hour, bursts.Allowed(2, hold), 6*hour, "short times within a burst don't hide the pauses")

	backlog := detect.Pauses{}
	learn(&backlog, 500, 200)
	require.False(t, backlog.Known(hold), "what was kept while it was off line comes at once, and says nothing of the next time")
	learn(&backlog, 1, 6*hour)
	require.True(t, backlog.Known(hold))
	require.Greater(t, backlog.Allowed(2, hold), int64(24*hour))

	night := detect.Pauses{}
	for range 20 {
		learn(&night, 14*60, minute)
		learn(&night, 1, 10*hour)
	}
	require.Greater(t, night.Allowed(2, hold), int64(11*hour), "a night's pause is usual")
	require.Less(t, night.Allowed(2, hold), int64(30*hour))

	holiday := detect.Pauses{}
	learn(&holiday, 24*30, hour)
	learn(&holiday, 1, 14*24*hour)
	require.Less(t, holiday.Allowed(2, hold), int64(14*24*hour))
	learn(&holiday, 24*400, hour)
	require.InDelta(t, 2*hour+hold, holiday.Allowed(2, hold), minute, "a holiday is forgotten")

	slower := detect.Pauses{}
	learn(&slower, 24*30, hour)
	learn(&slower, 2, 6*hour)
	require.Greater(t, slower.Allowed(2, hold), int64(7*hour))
	learn(&slower, 4*180, 6*hour)
	require.LessOrEqual(t, slower.Allowed(2, hold), int64(13*hour))
}

// times is when a source is heard of that means to report by every, up to an end.
type times func(r *rand.Rand, every, end float64) []float64

// byClock reports on the hour, so to speak: each report is lost by chance, and
// late by what delay says, as a share of the interval.
func byClock(loss float64, delay func(*rand.Rand) float64) times {
	return func(r *rand.Rand, every, end float64) (out []float64) {
		for at := every * r.Float64(); at < end; at += every {
			if late := delay(r); r.Float64() >= loss {
				out = append(out, at+late*every)
			}
		}
		slices.Sort(out)
		return out
	}
}

// byPause waits anew after each report, lost or not.
func byPause(loss float64, pause func(*rand.Rand) float64) times {
	return func(r *rand.Rand, every, end float64) (out []float64) {
		for at := every * r.Float64(); at < end; at += every * pause(r) {
			if r.Float64() >= loss {
				out = append(out, at)
			}
		}
		return out
	}
}

// inBursts reports up to ten times in a row, then pauses.
func inBursts(loss float64) times {
	return func(r *rand.Rand, every, end float64) (out []float64) {
		for at := every * r.Float64(); at < end; at += every {
			for i := range 1 + r.IntN(10) {
				if r.Float64() >= loss {
					out = append(out, at+float64(i)*every/600)
				}
			}
		}
		return out
	}
}

func uniform(low, high float64) func(*rand.Rand) float64 {
	return func(r *rand.Rand) float64 { return low + (high-low)*r.Float64() }
}

func exponential(mean float64) func(*rand.Rand) float64 {
	return func(r *rand.Rand) float64 { return mean * r.ExpFloat64() }
}

// Whatever the times of reports are like, hardly a living source of which a
// tenth is lost is taken for dead: in a thousand months one, in the first month
// too. FETTLE_SOAK runs as many as that can be told from.
func TestLivingSourcesAreLeftAlone(t *testing.T) {
	t.Parallel()
	sources, months := 30, 2.0
	if os.Getenv("FETTLE_SOAK") != "" {
		sources, months = 4000, 3
	}
	for _, h := range []struct {
		name  string
		times times
	}{
		{"on time", byClock(0.1, uniform(0, 0.1))},
		{"within half the interval", byClock(0.1, uniform(-0.25, 0.25))},
		{"within the interval", byClock(0.1, uniform(-0.5, 0.5))},
		{"late", byClock(0.1, exponential(0.1))},
		{"often late", byClock(0.1, exponential(0.5))},
		{"half to one and a half intervals apart", byPause(0.1, uniform(0.5, 1.5))},
		{"at any time", byPause(0.1, exponential(1))},
		{"in bursts", inBursts(0.1)},
		{"on time, none lost", byClock(0, uniform(0, 0.1))},
		{"on time, one in fifty lost", byClock(0.02, uniform(0, 0.1))},
	} {
		for _, every := range []time.Duration{15 * time.Minute, time.Hour, 6 * time.Hour} {
			t.Run(fmt.Sprint(h.name, " ", every), func(t *testing.T) {
				t.Parallel()
				const hold, most = 10 * minute, 7 * 24 * 60 * minute
				const month = 30 * 24 * 60 * minute
				r := rand.New(rand.NewPCG(4, uint64(every)))
				var falsely, first int
				allowed, known := 0.0, 0.0
				for range sources {
					var p detect.Pauses
					times := h.times(r, float64(every.Milliseconds()), months*month)
					for i := 1; i < len(times); i++ {
						pause, expected, patience := int64(times[i]-times[i-1]), int64(0), int64(most)
						if p.Known(hold) {
							expected = min(p.Allowed(2, hold), most)
							patience = expected
						}
						if pause > patience {
							falsely++
							if times[i-1] < month {
								first++
							}
						}
						p.Learn(pause, expected)
					}
					if p.Known(hold) {
						allowed += float64(p.Allowed(2, hold) - hold)
						known++
					}
				}
				n := float64(sources) * months
				t.Logf("%s: %.0f months: %d taken for dead, %d of them in the first month: %.2f per 1,000; in the end missed after %.1f intervals and hold", t.Name(), n, falsely, first, 1000*float64(falsely)/n, allowed/known/float64(every.Milliseconds()))
				require.InDelta(t, sources, known, 0, "all are known")
				require.LessOrEqual(t, float64(falsely), 1+n/1000+3*math.Sqrt(n/1000))
			})
		}
	}
}

// A longer pause never makes it less patient, and its memory is bounded.
func TestPausesAreBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p detect.Pauses
		for _, v := range rapid.SliceOf(rapid.Int64Range(-5, 1<<45)).Draw(t, "pauses") {
			p.Learn(v, p.Allowed(2, 0))
			require.LessOrEqual(t, len(p.Held), 54)
			require.GreaterOrEqual(t, p.Allowed(2, 7), 2*p.Usual+7)
		}
	})
}

// BenchmarkPauses is what a contact costs.
func BenchmarkPauses(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	gaps := make([]int64, 4096)
	for i := range gaps {
		gaps[i] = minute
		for r.IntN(10) == 0 {
			gaps[i] += minute
		}
	}
	var p detect.Pauses
	b.ReportAllocs()
	for i := range b.N {
		p.Learn(gaps[i%len(gaps)], 0)
	}
}
