package peers_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func charger() fleet.Product {
	care := []string{"care"}
	return fleet.Product{
		Name: "charger", Purposes: []fleet.Purpose{{Name: "care", Basis: fleet.BasisNecessary}},
		Signals: []fleet.Signal{
			{Name: "plug_temperature", Type: fleet.Number, Unit: "Cel", Purposes: care},
			{Name: "current", Type: fleet.Number, Unit: "A", Purposes: care},
			{Name: "mode", Type: fleet.Text, Purposes: care},
		},
	}
}

func unlike() condition.Detector {
	return condition.Detector{
		Name: "unlike", Version: 1, Product: "charger", Type: condition.TypePeers, Severity: condition.Warning, Purpose: "care",
		Peers: &spec.Peers{Signal: "plug_temperature", By: []string{"hardware", "version"}, When: "current >= 16"},
	}
}

// world is a fleet: units 1 to n, of hardware A but for those in others.
type world struct {
	d       condition.Detector
	n, days int
	others  map[int64]string                     // hardware of units that have another
	value   func(unit int64, day int) float64    // added to what all share
	marks   func(day int) []telemetry.Mark       // at its beginning
	restart int                                  // after every so many days
	up      func(unit int64, day, hour int) bool // sends; nil: always
}

func (w *world) run(t *testing.T) []condition.Finding {
	t.Helper()
	directory := func(_ context.Context, key int64) (condition.Identity, bool, error) {
		u := fleet.Unit{ID: fmt.Sprintf("C-%d", key), Product: "charger", Hardware: "A"}
		if h := w.others[key]; h != "" {
			u.Hardware = h
		}
		return condition.IdentityOf(&u), true, nil
	}
	definitions := []condition.Definition{{Product: charger(), Detectors: []condition.Detector{w.d}}}
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
	mark := func(m telemetry.Mark) { require.NoError(t, e.Mark(t.Context(), &m)) }
	r := rand.New(rand.NewPCG(6, 6))
	offsets := map[int64]float64{}
	for u := range int64(w.n) {
		offsets[u+1] = r.NormFloat64()
		mark(telemetry.Mark{Kind: telemetry.MarkVersion, Unit: u + 1, At: start.UnixMilli(), Text: "software=2.1"})
	}
	for day := range w.days {
		weather := 5 * r.NormFloat64()
		midnight := start.AddDate(0, 0, day)
		if w.marks != nil {
			for _, m := range w.marks(day) {
				m.At = midnight.UnixMilli()
				mark(m)
			}
		}
		for hour := 0; hour < 24; hour += 6 {
			at := midnight.Add(time.Duration(hour)*time.Hour + time.Minute).UnixMilli()
			for u := range int64(w.n) {
				v := 50 + weather + offsets[u+1] + 0.5*r.NormFloat64()
				if w.value != nil {
					v += w.value(u+1, day)
				}
				if w.up != nil && !w.up(u+1, day, hour) {
					continue
				}
				row := telemetry.Row{Unit: u + 1, Event: at, Received: at + 500, Values: []telemetry.Value{{Signal: "plug_temperature", Number: v}, {Signal: "current", Number: 20}}}
				if hour == 0 { // idle: not compared
					row.Values[0].Number, row.Values[1].Number = 20, 0
				}
				require.NoError(t, e.Row(t.Context(), &row))
			}
			mark(telemetry.Mark{Kind: telemetry.MarkTick, At: at + 1000, Text: "21600000"})
		}
		if w.restart > 0 && day%w.restart == 0 {
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
	slices.SortFunc(out, func(a, b condition.Finding) int {
		return strings.Compare(a.OpenedAt.String()+a.ID, b.OpenedAt.String()+b.ID)
	})
	return out
}

// fault is unit 3's, from day 30 to day 60.
func fault(unit int64, day int) float64 {
	if unit == 3 && day >= 30 && day < 60 {
		return 8
	}
	return 0
}

func TestFinds(t *testing.T) {
	t.Parallel()
	w := &world{d: unlike(), n: 25, days: 90, value: fault}
	found := w.run(t)
	require.Len(t, found, 1)
	f := found[0]
	day := func(at time.Time) float64 { return at.Sub(start).Hours() / 24 }
	require.Equal(t, "C-3", f.UnitID)
	require.GreaterOrEqual(t, day(f.Onset), 30.0)
	require.LessOrEqual(t, day(f.OpenedAt), 45.0)
	require.Regexp(t, `^plug_temperature (has risen by|lies) \d\.\d\d? °C (against|above) the middle of 24 other units of hardware A, version 2\.1, .*: \d+\.\d times as much as they usually differ by \(\d\.\d+ °C\); now \d\d\.\d+ °C, the middle \d\d\.\d+ °C$`, f.Why)
	require.Equal(t, condition.Cleared, f.State)
	require.Greater(t, day(f.Cleared), 60.0)
	require.InDelta(t, 8, f.Peak, 2)
	require.Contains(t, f.ClearWhy, "among its peers again for 3 d")

	w.restart = 4
	require.Equal(t, found, w.run(t), "after restarts")
	w.restart, w.days = 0, int(day(f.OpenedAt))+2
	early := w.run(t)
	require.Len(t, early, 1)
	require.Equal(t, []any{f.ID, f.OpenedAt, f.Why}, []any{early[0].ID, early[0].OpenedAt, early[0].Why}, "what comes later changes nothing")
}

// What moves all of them, and what a unit does for a day, is no finding.
func TestKeepsQuiet(t *testing.T) {
	t.Parallel()
	w := &world{d: unlike(), n: 25, days: 90, value: func(unit int64, day int) float64 {
		switch {
		case unit == 4 && day == 40:
			return 30 // a bad day
		case day >= 60:
			return 25 // of all
		}
		return 0
	}}
	require.Empty(t, w.run(t))
	few := &world{d: unlike(), n: 7, days: 60, value: fault}
	require.Empty(t, few.run(t), "fewer than the minimum")
}

// Units of a hardware of which there are too few are compared with all.
func TestWidens(t *testing.T) {
	t.Parallel()
	w := &world{d: unlike(), n: 30, days: 60, others: map[int64]string{3: "B", 4: "B", 5: "B"}, value: fault}
	found := w.run(t)
	require.Len(t, found, 1)
	require.Equal(t, "C-3", found[0].UnitID)
	require.Contains(t, found[0].Why, "the middle of 29 other units of the product (too few are alike)")
}

// An update begins a unit anew; it is compared where its new version has peers.
func TestUpdate(t *testing.T) {
	t.Parallel()
	w := &world{d: unlike(), n: 30, days: 70, value: fault, marks: func(day int) []telemetry.Mark {
		if day == 50 {
			return []telemetry.Mark{{Kind: telemetry.MarkVersion, Unit: 3, Text: "software=2.2"}}
		}
		return nil
	}}
	found := w.run(t)
	require.NotEmpty(t, found)
	require.Equal(t, "software changed to 2.2; watched anew", found[0].ClearWhy)
	if len(found) > 1 {
		require.Contains(t, found[1].Why, "hardware A (too few are like it in version too)")
	}
}

// A unit that joins is judged when it has been seen long enough; one that leaves
// takes nothing with it.
func TestJoinAndLeave(t *testing.T) {
	t.Parallel()
	w := &world{d: unlike(), n: 25, days: 60, value: func(unit int64, day int) float64 {
		if unit == 25 {
			return 10
		}
		return 0
	}, up: func(unit int64, day, _ int) bool {
		return unit != 25 && unit != 1 || unit == 25 && day >= 30 || unit == 1 && day < 30
	}}
	found := w.run(t)
	require.Len(t, found, 1)
	require.Equal(t, "C-25", found[0].UnitID)
	require.GreaterOrEqual(t, found[0].OpenedAt.Sub(start).Hours()/24, 36.0)
	require.Contains(t, found[0].Why, "lies ")
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	p := charger()
	for name, tt := range map[string]struct {
		spec *spec.Peers
		path string
		say  string
	}{
		"nothing": {nil, "spec.peers", "a signal"},
		"signal":  {&spec.Peers{Signal: "mode"}, "spec.peers.signal", "a numeric signal of product charger (plug_temperature, current)"},
		"twice":   {&spec.Peers{Signal: "current", By: []string{"batch", "batch"}}, "spec.peers.by[1]", "each once"},
		"many":    {&spec.Peers{Signal: "current", By: []string{"a", "b", "c", "d", "e"}}, "spec.peers.by", "at most 4"},
		"period":  {&spec.Peers{Signal: "current", Period: 5}, "spec.peers.period", "1m or more"},
		"minimum": {&spec.Peers{Signal: "current", Minimum: 3}, "spec.peers.minimum", "5 or more units"},
		"budget":  {&spec.Peers{Signal: "current", Budget: "few"}, "spec.peers.budget", "as 1/year"},
		"matters": {&spec.Peers{Signal: "current", Matters: -1}, "spec.peers.matters", "0 or more"},
		"when":    {&spec.Peers{Signal: "current", When: "amps > 3"}, "spec.peers.when", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := unlike()
			d.Peers = tt.spec
			got := condition.Validate(&p, &d)
			require.Len(t, got, 1)
			require.Equal(t, tt.path, got[0].Path)
			require.Contains(t, got[0].Expected, tt.say)
		})
	}
}
