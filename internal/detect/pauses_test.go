package detect_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/detect"
)

// A sensor that reports by the hour: two hours without a word, and ten minutes
// more, say that it is dead. Where every tenth report is lost it takes six.
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
	// 6h30m0s
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
	require.InDelta(t, 15*hour, bursts.Allowed(2, hold), 7*hour, "short times within a burst don't hide the pauses")

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
