package detect_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/detect"
)

// Three short faults are two within the last hour by the time of the third.
func ExampleWindow() {
	var w detect.Window
	for _, at := range []int64{0, 20, 70} {
		w.Add(at*minute, 60*minute, 5*minute, 1)
		fmt.Println(w.Count, "times,", w.Time/minute, "minutes")
	}
	// Output:
	// 1 times, 5 minutes
	// 2 times, 10 minutes
	// 2 times, 10 minutes
}

// A signal that rises by two degrees a minute, asked for its change in ten.
func ExampleChange() {
	var c detect.Change
	for at := int64(0); at <= 12; at += 4 {
		change, known := c.Step(at*minute, float64(2*at), 10*minute, 60*minute)
		fmt.Println(change, known)
	}
	// Output:
	// 0 false
	// 0 false
	// 0 false
	// 20 true
}

// The sums are those of what was added within the length, less at most a step.
func TestWindowHoldsWhatIsWithin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.Int64Range(detect.Cells, 10_000).Draw(t, "length")
		var w detect.Window
		var at int64
		var times []int64
		for range rapid.IntRange(1, 200).Draw(t, "n") {
			at += rapid.Int64Range(0, length).Draw(t, "gap")
			w.Add(at, length, 1, 1)
			times = append(times, at)
			var least, most int64
			step := length / detect.Cells
			for _, v := range times {
				if v > at-step*(detect.Cells-1) {
					least++
				}
				if v > at-step*detect.Cells {
					most++
				}
			}
			require.GreaterOrEqual(t, w.Count, least)
			require.LessOrEqual(t, w.Count, most)
			require.Equal(t, w.Count, w.Time)
			require.LessOrEqual(t, len(w.Held), detect.Cells+1)
		}
	})
}

func TestChangeIsBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var c detect.Change
		span := rapid.Int64Range(1, 10_000).Draw(t, "span")
		at, slope := int64(0), rapid.Float64Range(-5, 5).Draw(t, "slope")
		for range rapid.IntRange(1, 300).Draw(t, "n") {
			at += rapid.Int64Range(1, span+5).Draw(t, "gap")
			if change, known := c.Step(at, slope*float64(at), span, 10*span); known {
				require.InDelta(t, slope*float64(span), change, 1e-6*float64(at))
			}
			require.LessOrEqual(t, len(c.Held), detect.Cells+3)
		}
	})
}
