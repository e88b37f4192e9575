package multivariate_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/multivariate"
)

// weekly is a false episode a week of rows a minute.
const weekly = 1.0 / (7 * 24 * 60)

// noise makes rows of independent noise about 10, 20, 30, ...
func noise(seed uint64, rows, signals int) [][]float64 {
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // noise
	out := make([][]float64, rows)
	for i := range out {
		out[i] = make([]float64, signals)
		for j := range out[i] {
			out[i][j] = 10*float64(j+1) + rng.NormFloat64()
		}
	}
	return out
}

// The flow of a pump falls by two standard deviations at row 600 and is back at
// row 900.
func Example() {
	names := []string{"vibration", "current", "flow"}
	d := multivariate.New(len(names), 400)
	open := false
	for i, row := range noise(1, 1200, len(names)) {
		if i >= 600 && i < 900 {
			row[2] -= 2
		}
		r := d.Step(row, weekly)
		if r.Alarm && !open {
			fmt.Printf("row %d: alarm, %s %.0f%%\n", i, names[r.Top], 100*r.Contributions[r.Top])
		} else if open && !r.Alarm {
			fmt.Printf("row %d: clear\n", i)
		}
		open = r.Alarm
	}
	// Output:
	// row 606: alarm, flow 100%
	// row 916: clear
}

func TestQuietOnNoise(t *testing.T) {
	t.Parallel()
	episodes := 0
	for seed := range uint64(20) {
		d, open := multivariate.New(5, 0), false
		for _, row := range noise(seed, 5000, 5) {
			r := d.Step(row, weekly)
			if r.Alarm && !open {
				episodes++
			}
			open = r.Alarm
		}
	}
	require.LessOrEqual(t, episodes, 2*20*5000/(7*24*60)+5, "false episodes beyond the budget")
}

func TestFutureChangesNothing(t *testing.T) {
	t.Parallel()
	a, b := multivariate.New(4, 0), multivariate.New(4, 0)
	rows := noise(3, 1500, 4)
	for i, row := range rows {
		if i > 700 {
			row[1] += 3
		}
		ra := a.Step(row, weekly)
		if i >= 1000 {
			continue
		}
		rb := b.Step(row, weekly)
		require.Equal(t, ra.Level, rb.Level)
		require.Equal(t, ra.Alarm, rb.Alarm)
	}
}

func BenchmarkStep(b *testing.B) {
	const signals = 8
	d := multivariate.New(signals, 0)
	rows := noise(4, 2000, signals)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Step(rows[i%len(rows)], weekly)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/signals, "ns/signal")
}
