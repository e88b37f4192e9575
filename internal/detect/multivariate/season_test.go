package multivariate_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/multivariate"
)

// Three signals go up and down by ten standard deviations each day. After some
// days that is expected, and a fault of three stands out.
func TestHoursOfTheDayAreLearned(t *testing.T) {
	t.Parallel()
	const minutes, days = 1440, 21
	rows := noise(20, days*minutes, 3)
	for i, row := range rows {
		for j := range row {
			row[j] += 10 * math.Sin(2*math.Pi*(float64(i)/minutes+float64(j)/3))
		}
	}
	fault := 15*minutes + 600
	shift(rows, 1, fault, fault+120, 3)
	run := func(timed bool) (on []int) {
		d := multivariate.New(3, 0)
		for i, row := range rows {
			at := int64(multivariate.NoTime)
			if timed {
				at = 1_700_000_000_000 + 60_000*int64(i)
			}
			if d.StepAt(at, row, weekly).Alarm {
				on = append(on, i)
			}
		}
		return on
	}
	on := run(true)
	require.Contains(t, on, fault+60)
	false_ := 0
	for _, i := range on {
		if i > 5*minutes && (i < fault || i > fault+300) {
			false_++
		}
	}
	require.Less(t, false_, 60, "%v", on)
	require.NotContains(t, run(false), fault+60, "without times it doesn't")
}

// Signals that rest at weekends are expected to, after three weeks.
func TestWeekendsAreLearned(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * 12 // rows each five minutes
	rows := noise(24, 8*week, 3)
	for i, row := range rows {
		if day := i * 5 / 1440 % 7; day < 5 {
			for j := range row {
				row[j] += 10 * math.Sin(2*math.Pi*(float64(i*5)/1440+float64(j)/3))
			}
		}
	}
	fault := 7*week + 2*288 + 120
	shift(rows, 1, fault, fault+60, 4)
	d, on := multivariate.New(3, 0), make([]int, 8)
	for i, row := range rows {
		alarm := d.StepAt(int64(i)*300_000, row, 5*weekly).Alarm
		if i == fault+30 {
			require.True(t, alarm)
		}
		if alarm && (i < fault || i > fault+120) {
			on[i/week]++
		}
	}
	for w := 4; w < 8; w++ {
		require.Less(t, on[w], week/50, "alarmed in week %d: %v", w, on)
	}
}
