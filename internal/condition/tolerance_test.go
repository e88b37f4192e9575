package condition_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
)

// all there is to say of tolerances beside bands: a row every ten minutes, and
// what is then open.
func TestToleranceRules(t *testing.T) {
	t.Parallel()
	type row struct{ values, why, clear string } // why it is open after the row, or why it has cleared
	plain := condition.Detector{
		Name: "d", Version: 1, Product: "wall-charger", Type: condition.TypeTolerance, Severity: condition.Major, Purpose: "care",
	}
	hours := func(h int) fleet.Duration { return fleet.Duration(time.Duration(h) * time.Hour) }
	for name, tt := range map[string]struct {
		change func(d *condition.Detector)
		rows   []row
	}{
		"several signals in one condition": {
			func(d *condition.Detector) { d.Tolerance = "hot-idle" },
			[]row{
				{"plug_temperature=50", "", ""}, // the current is not known
				{"current=16", "", ""},
				{"current=0", "plug_temperature > 40 && current < 1 (current 0 A, plug_temperature 50 °C)", ""},
				{"mode=eco", "plug_temperature > 40 && current < 1 (current 0 A, plug_temperature 50 °C)", ""},
				{"plug_temperature=30", "", "inside again"},
			},
		},
		"a condition, sustained": {
			func(d *condition.Detector) {
				d.Tolerance, d.Hold, d.Clear = "hot-idle", fleet.Duration(20*time.Minute), fleet.Duration(10*time.Minute)
			},
			[]row{
				{"plug_temperature=50 current=0", "", ""},
				{"plug_temperature=50 current=0", "", ""},
				{"plug_temperature=51 current=0", "plug_temperature > 40 && current < 1 (current 0 A, plug_temperature 51 °C) for 20 min", ""},
				{"current=16", "plug_temperature > 40 && current < 1 (current 0 A, plug_temperature 51 °C) for 20 min", ""},
				{"current=16", "", "inside for 10 min"},
			},
		},
		"rate of change": {
			func(d *condition.Detector) { d.Tolerance = "heating" },
			[]row{
				{"plug_temperature=90", "", ""}, // high, but nothing to compare it with
				{"plug_temperature=20", "", ""}, // it falls
				{"plug_temperature=34", "", ""},
				{"plug_temperature=50", "change of plug_temperature within 10 min 16 °C, above 15 °C", ""},
				{"plug_temperature=60", "", "inside again"},
			},
		},
		"share of a window": {
			func(d *condition.Detector) { d.Tolerance, d.Window, d.Share = "plug", hours(1), 50 },
			[]row{
				{"current=16 plug_temperature=85", "", ""},
				{"current=16 plug_temperature=90", "", ""}, // 10 min
				{"current=16 plug_temperature=70", "", ""},
				{"current=16 plug_temperature=86", "", ""},
				{"current=16 plug_temperature=86", "", ""}, // 20
				{"current=16 plug_temperature=86", "plug_temperature above 80 °C for 50 % of 60 min (at most 50 %) while current >= 16", ""},
				{"current=16 plug_temperature=70", "plug_temperature above 80 °C for 50 % of 60 min (at most 50 %) while current >= 16", ""},
				{"current=16 plug_temperature=70", "", "less than 50 % of 60 min"},
			},
		},
		"readings in a window": {
			func(d *condition.Detector) { d.Tolerance, d.Window, d.Count = "plug", hours(1), 3 },
			[]row{
				{"current=16 plug_temperature=85", "", ""},
				{"current=16 plug_temperature=70", "", ""},
				{"current=16 plug_temperature=85", "", ""},
				{"current=16 plug_temperature=70", "", ""},
				{"current=16 plug_temperature=85", "plug_temperature above 80 °C in 3 readings within 60 min while current >= 16", ""},
				{"current=16 plug_temperature=70", "plug_temperature above 80 °C in 3 readings within 60 min while current >= 16", ""},
				{"current=16 plug_temperature=70", "", "less than 3 readings within 60 min"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := plain
			tt.change(&d)
			w := newWatch(t, d)
			w.permit()
			for i, r := range tt.rows {
				w.row(10*i, r.values)
				why, clear := "", ""
				for _, f := range w.all() {
					if f.State == condition.Open {
						why = f.Why
					} else if f.Cleared.Equal(start.Add(time.Duration(10*i) * time.Minute)) {
						clear = f.ClearWhy
					}
				}
				require.Equal(t, []string{r.why, r.clear}, []string{why, clear}, "row %d", i)
				w.restart()
			}
		})
	}
}

// restart goes on with a new evaluator from what was kept.
func (w *watch) restart() {
	w.t.Helper()
	w.take()
	e, err := condition.NewEvaluator(directory, w.definitions)
	require.NoError(w.t, err)
	require.NoError(w.t, e.Load(w.t.Context(), slices.Collect(maps.Values(w.states))))
	w.e = e
}
