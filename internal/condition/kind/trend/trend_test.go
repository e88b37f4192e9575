package trend_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func pump() fleet.Product {
	care := []string{"care"}
	return fleet.Product{
		Name: "pump", Purposes: []fleet.Purpose{{Name: "care", Basis: fleet.BasisNecessary}},
		Signals: []fleet.Signal{
			{Name: "pressure_drop", Type: fleet.Number, Unit: "Pa", Purposes: care},
			{Name: "running", Type: fleet.Boolean, Purposes: care},
			{Name: "mode", Type: fleet.Text, Purposes: care},
		},
		Tolerances: []fleet.Tolerance{
			{Name: "filter", Signal: "pressure_drop", Bands: []fleet.Band{{Max: new(130.0)}}},
			{Name: "leap", Signal: "pressure_drop", Rate: fleet.Duration(time.Hour), Bands: []fleet.Band{{Max: new(10.0)}}},
		},
	}
}

func clogging() condition.Detector {
	return condition.Detector{
		Name: "clogging", Version: 1, Product: "pump", Type: condition.TypeTrend, Severity: condition.Warning, Purpose: "care",
		Trend: &spec.Trend{Tolerance: "filter", Horizon: fleet.Duration(7 * 24 * time.Hour)},
	}
}

// run gives the findings of a unit that sends a row an hour, with a restart from
// what was kept after every so many rows (0: never).
func run(t *testing.T, d condition.Detector, hours, restart int, value func(i int) float64) []condition.Finding {
	t.Helper()
	directory := func(context.Context, int64) (condition.Identity, bool, error) {
		return condition.Identity{ID: "P-1", Product: "pump"}, true, nil
	}
	definitions := []condition.Definition{{Product: pump(), Detectors: []condition.Detector{d}}}
	e, err := condition.NewEvaluator(directory, definitions)
	require.NoError(t, err)
	found, states := map[string]condition.Finding{}, map[int64]condition.State{}
	keep := func() {
		c, err := e.Take(t.Context())
		require.NoError(t, err)
		for _, f := range c.Findings {
			found[f.ID] = f
		}
		for _, s := range c.States {
			states[s.UnitKey] = s
		}
	}
	for i := range hours {
		at := start.Add(time.Duration(i) * time.Hour).UnixMilli()
		row := telemetry.Row{Unit: 1, Event: at, Received: at + 1000, Values: []telemetry.Value{{Signal: "pressure_drop", Number: value(i)}, {Signal: "running", Number: 1}}}
		require.NoError(t, e.Row(t.Context(), &row))
		if restart > 0 && i%restart == 0 {
			keep()
			e, err = condition.NewEvaluator(directory, definitions)
			require.NoError(t, err)
			kept := make([]condition.State, 0, len(states))
			for _, s := range states {
				kept = append(kept, s)
			}
			require.NoError(t, e.Load(t.Context(), kept))
		}
	}
	keep()
	out := make([]condition.Finding, 0, len(found))
	for _, f := range found {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b condition.Finding) int { return a.OpenedAt.Compare(b.OpenedAt) })
	return out
}

// clog rises from 50 Pa by 2.5 Pa a day, with a daily cycle, until the filter is
// changed on day 30; 130 Pa would be reached on day 32.
func clog(i int) float64 {
	e := rand.New(rand.NewPCG(uint64(i), 3)).NormFloat64()
	rise := 2.5 * float64(i) / 24
	if i >= 30*24 {
		rise = 0
	}
	return 50 + rise + 5*math.Sin(2*math.Pi*float64(i)/24) + 2*e
}

func TestForesees(t *testing.T) {
	t.Parallel()
	found := run(t, clogging(), 45*24, 0, clog)
	require.Len(t, found, 1)
	f := found[0]
	days := func(at time.Time) float64 { return at.Sub(start).Hours() / 24 }
	require.InDelta(t, 24, days(f.OpenedAt), 2, "about seven days before: %s", f.Why)
	require.Regexp(t, `^pressure_drop will probably rise to 130 Pa in 6\.\d d, about 2026-03-3\d .* UTC; with 80 % probability in \d\.\d d to \d\.\d d \(2026-\S+ \S+ UTC to 2026-\S+ \S+ UTC\); it is at \d+(\.\d)? Pa and rising by 2\.\d Pa a day$`, f.Why)
	require.Equal(t, condition.Cleared, f.State, "the filter was changed")
	require.InDelta(t, 31, days(f.Cleared), 1)
	require.NotEmpty(t, f.ClearWhy)
	require.InDelta(t, 125, f.Peak, 6)

	require.Equal(t, found, run(t, clogging(), 45*24, 50, clog), "after restarts")
	require.Equal(t, f.Why, run(t, clogging(), 29*24, 0, clog)[0].Why, "what comes later changes nothing")
}

func TestEarliestWarnsSooner(t *testing.T) {
	t.Parallel()
	d := clogging()
	d.Trend.By = spec.ByEarliest
	sooner := run(t, d, 23*24, 0, clog)
	require.Len(t, sooner, 1)
	require.Less(t, sooner[0].OpenedAt.Sub(start).Hours()/24, 23.0, "by the median it opens on day 24: TestForesees")
}

func TestKeepsQuiet(t *testing.T) {
	t.Parallel()
	noise := func(i int) float64 {
		return 100 + 15*math.Sin(2*math.Pi*float64(i)/24) + 3*rand.New(rand.NewPCG(uint64(i), 3)).NormFloat64()
	}
	require.Empty(t, run(t, clogging(), 30*24, 0, noise))
	away := func(i int) float64 { return 120 - float64(i)/24 }
	require.Empty(t, run(t, clogging(), 30*24, 0, away))
}

func TestLowerLimit(t *testing.T) {
	t.Parallel()
	d := clogging()
	d.Trend = &spec.Trend{Signal: "pressure_drop", Min: new(20.0), Max: new(500.0), Horizon: fleet.Duration(5 * 24 * time.Hour), Cycle: spec.CycleNone, When: "running"}
	found := run(t, d, 24*24, 0, func(i int) float64 {
		return 120 - 4*float64(i)/24 + rand.New(rand.NewPCG(uint64(i), 3)).NormFloat64()
	})
	require.Len(t, found, 1)
	require.Regexp(t, `^pressure_drop will probably fall to 20 Pa in 4\.\d d, about .* and falling by 4(\.\d)? Pa a day$|^pressure_drop will probably fall to 20 Pa in 5 d`, found[0].Why)
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	p := pump()
	for name, tt := range map[string]struct {
		spec *spec.Trend
		path string
		say  string
	}{
		"nothing":         {nil, "spec.trend", "a tolerance, or a signal with min or max, and a horizon"},
		"no such":         {&spec.Trend{Tolerance: "fan", Horizon: 1 << 50}, "spec.trend.tolerance", "a tolerance of product pump with limits for a signal (filter)"},
		"of a rate":       {&spec.Trend{Tolerance: "leap", Horizon: 1 << 50}, "spec.trend.tolerance", "(filter)"},
		"both":            {&spec.Trend{Tolerance: "filter", Max: new(1.0), Horizon: 1 << 50}, "spec.trend.tolerance", "not both"},
		"no limit":        {&spec.Trend{Signal: "pressure_drop", Horizon: 1 << 50}, "spec.trend.max", "min, max or both"},
		"limits crossed":  {&spec.Trend{Signal: "pressure_drop", Min: new(5.0), Max: new(1.0), Horizon: 1 << 50}, "spec.trend.max", "more than min, 5"},
		"text":            {&spec.Trend{Signal: "mode", Max: new(1.0), Horizon: 1 << 50}, "spec.trend.signal", "a numeric signal of product pump (pressure_drop)"},
		"no horizon":      {&spec.Trend{Tolerance: "filter"}, "spec.trend.horizon", "at least 1m"},
		"by":              {&spec.Trend{Tolerance: "filter", Horizon: 1 << 50, By: "latest"}, "spec.trend.by", "median or earliest"},
		"cycle":           {&spec.Trend{Tolerance: "filter", Horizon: 1 << 50, Cycle: "monthly"}, "spec.trend.cycle", "daily, weekly or none"},
		"not true or not": {&spec.Trend{Tolerance: "filter", Horizon: 1 << 50, When: "pressure_drop"}, "spec.trend.when", "true or false"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := clogging()
			d.Trend = tt.spec
			got := condition.Validate(&p, &d)
			require.Len(t, got, 1)
			require.Equal(t, tt.path, got[0].Path)
			require.Contains(t, got[0].Expected, tt.say)
		})
	}
	d := clogging()
	d.Type = condition.TypeSilence
	require.Contains(t, condition.Validate(&p, &d)[0].Expected, "only detectors of type trend have it")
}
