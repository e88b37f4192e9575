package condition_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/telemetry"
)

// yard is a fleet on two sites, of units that report every five minutes.
type yard struct {
	t           *testing.T
	e           *condition.Evaluator
	findings    map[string]condition.Finding
	states      map[int64]condition.State
	definitions []condition.Definition
	units       int
	minute      int
}

func (y *yard) directory(_ context.Context, key int64) (condition.Identity, bool, error) {
	site := "Oslo"
	if key > int64(y.units)/2 {
		site = "Bergen"
	}
	return condition.Identity{ID: fmt.Sprintf("U-%02d", key), Product: "wall-charger", Attributes: map[string]string{"site": site}}, true, nil
}

func newYard(t *testing.T, units int) *yard {
	t.Helper()
	d := silent()
	d.Minimum, d.Maximum, d.GroupBy = 0, 0, []string{"site"}
	y := &yard{
		t: t, findings: map[string]condition.Finding{}, states: map[int64]condition.State{}, units: units,
		definitions: []condition.Definition{{Product: charger(), Detectors: []condition.Detector{d}}},
	}
	e, err := condition.NewEvaluator(y.directory, y.definitions)
	require.NoError(t, err)
	y.e = e
	return y
}

// run lets time pass while those units report that are not gone. Every hour the
// evaluator is started again.
func (y *yard) run(d time.Duration, gone ...int) {
	y.t.Helper()
	for end := y.minute + int(d.Minutes()); y.minute < end; y.minute++ {
		for u := 1; u <= y.units; u++ {
			if (y.minute+u)%5 == 0 && !slices.Contains(gone, u) {
				r := telemetry.Row{Unit: int64(u), Event: minutes(y.minute), Received: minutes(y.minute)}
				require.NoError(y.t, y.e.Row(y.t.Context(), &r))
			}
		}
		require.NoError(y.t, y.e.Mark(y.t.Context(), &telemetry.Mark{Kind: telemetry.MarkTick, At: minutes(y.minute), Text: strconv.Itoa(60_000)}))
		if y.minute%60 != 59 && y.minute != end-1 {
			continue
		}
		c, err := y.e.Take(y.t.Context())
		require.NoError(y.t, err)
		for _, f := range c.Findings {
			y.findings[f.ID] = f
		}
		for _, s := range c.States {
			y.states[s.UnitKey] = s
		}
		e, err := condition.NewEvaluator(y.directory, y.definitions)
		require.NoError(y.t, err)
		require.NoError(y.t, e.Load(y.t.Context(), slices.Collect(maps.Values(y.states))))
		y.e = e
	}
}

// said is the findings so far, in order of opening.
func (y *yard) said() []string {
	var out []string
	for _, f := range slices.SortedFunc(maps.Values(y.findings), func(a, b condition.Finding) int { return a.OpenedAt.Compare(b.OpenedAt) }) {
		out = append(out, fmt.Sprintf("%s%s/%d %s: %s; %s", f.UnitID, f.Place, f.Units, f.State, f.Why, f.ClearWhy))
	}
	return out
}

func (y *yard) silent() int {
	n := 0
	for _, s := range y.states {
		if !s.SilentAt.IsZero() {
			n++
		}
	}
	return n
}

func between(from, to int) []int {
	var out []int
	for u := from; u <= to; u++ {
		out = append(out, u)
	}
	return out
}

func TestAnOutageOfASiteIsOneFinding(t *testing.T) {
	t.Parallel()
	y := newYard(t, 20)
	y.run(4*24*time.Hour, 20) // unit 20 never reported
	y.run(3*time.Hour, 3, 20) // unit 3 dies by itself
	require.Equal(t, []string{"U-03/0 open: nothing heard for 20 min since 2014-01-16 17:57 UTC; it is usually heard of within 5 min; "}, y.said())
	y.run(6*time.Hour, append(between(1, 10), 20)...)
	require.Len(t, y.said(), 2)
	require.Equal(t, "site=Oslo/9 open: 9 of 9 units of site=Oslo have gone quiet since 2014-01-16 20:55 UTC: U-05, U-10 and 7 more; ", y.said()[1])
	require.Equal(t, 10, y.silent())
	y.run(3*time.Hour, 3, 7, 20)
	require.Len(t, y.said(), 3)
	require.Contains(t, y.said()[1], "; 5 of 9 units were heard of again")
	require.Contains(t, y.said()[2], "U-07/0 open: nothing heard for")
	require.Contains(t, y.said()[2], "; others were heard of again at")
	require.Equal(t, 2, y.silent())
	y.run(time.Hour, 20)
	require.Equal(t, 0, y.silent())
	for _, f := range y.findings {
		require.Equal(t, condition.Cleared, f.State)
	}
}

func TestAnOutageOfAllIsOneFinding(t *testing.T) {
	t.Parallel()
	y := newYard(t, 20)
	y.run(4 * 24 * time.Hour)
	y.run(time.Hour, between(1, 10)...)
	require.Len(t, y.said(), 1)
	y.run(3*time.Hour, between(1, 20)...)
	require.Len(t, y.said(), 2)
	require.Contains(t, y.said()[1], "site=Bergen/10 open: 10 of 10 units of site=Bergen have gone quiet")
	y.run(5 * time.Hour)
	y.run(3*time.Hour, between(1, 20)...)
	require.Len(t, y.said(), 3)
	require.Contains(t, y.said()[2], "/20 open: 20 of 20 units have gone quiet since")
	y.run(3 * time.Hour)
	require.Len(t, y.said(), 3)
	require.Equal(t, 0, y.silent())
}

func TestSingleDeathsAreNoOutage(t *testing.T) {
	t.Parallel()
	y := newYard(t, 20)
	y.run(4 * 24 * time.Hour)
	for u := 1; u <= 8; u++ {
		y.run(2*time.Hour, between(1, u)...)
	}
	require.Len(t, y.said(), 8)
	for _, f := range y.findings {
		require.NotEmpty(t, f.UnitID)
	}
}

// What is done to a unit resets what rests on what was measured before; what is
// learned of its habit of reporting stays.
func TestWhatResets(t *testing.T) {
	t.Parallel()
	d := overheat()
	d.Hold = 0
	for name, tt := range map[string]struct {
		kind       telemetry.MarkKind
		text, why  string
		forgetting bool // of the interval
	}{
		"version":          {telemetry.MarkVersion, "software=2.0.0", "software changed to 2.0.0; watched anew", false},
		"part replacement": {telemetry.MarkMaintained, "plug=replacement", "replacement of plug; watched anew", false},
		"maintenance":      {telemetry.MarkMaintained, "", "maintenance of the unit; watched anew", false},
		"change of owner":  {telemetry.MarkEnrolled, "", "the unit was enrolled or declared anew", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatch(t, d, silent())
			w.permit()
			for m := 0; m <= 100; m += 5 {
				w.row(m, hot(90))
				w.ticks(m, m+4)
			}
			w.mark(105, tt.kind, tt.text)
			w.row(105, "charging=0")
			require.Equal(t, tt.why, w.all()[0].ClearWhy)
			require.Equal(t, "0s", w.exposed())
			w.ticks(106, 200)
			require.Len(t, w.all(), map[bool]int{false: 2, true: 1}[tt.forgetting])
		})
	}
}
