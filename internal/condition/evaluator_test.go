package condition_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

func charger() fleet.Product {
	care, both := []string{"care"}, []string{"care", "operation"}
	return fleet.Product{
		Name:     "wall-charger",
		Purposes: []fleet.Purpose{{Name: "care", Basis: fleet.BasisConsent}, {Name: "operation", Basis: fleet.BasisNecessary}},
		Signals: []fleet.Signal{
			{Name: "current", Type: fleet.Number, Unit: "A", Purposes: care},
			{Name: "plug_temperature", Type: fleet.Number, Unit: "Cel", Purposes: care},
			{Name: "charging", Type: fleet.Boolean, Purposes: both},
			{Name: "mode", Type: fleet.Text, Purposes: care},
			{Name: "state", Type: fleet.Number, Purposes: []string{"operation"}},
		},
		Tolerances: []fleet.Tolerance{{Name: "plug", Signal: "plug_temperature", Bands: []fleet.Band{
			{When: "current >= 16", Max: new(80.0)},
			{When: "charging", Max: new(60.0)},
		}}, {Name: "hot-idle", Breach: "plug_temperature > 40 && current < 1"}, {Name: "heating", Signal: "plug_temperature", Rate: fleet.Duration(10 * time.Minute), Bands: []fleet.Band{{Max: new(15.0)}}}},
	}
}

func overheat() condition.Detector {
	return condition.Detector{
		Name: "plug-overheat", Version: 1, Product: "wall-charger", Type: condition.TypeTolerance, Severity: condition.Critical, Purpose: "care",
		Tolerance: "plug", Hold: fleet.Duration(10 * time.Minute), Hysteresis: 5, Clear: fleet.Duration(20 * time.Minute), Exposure: "charging",
	}
}

func silent() condition.Detector {
	return condition.Detector{
		Name: "silent", Version: 1, Product: "wall-charger", Type: condition.TypeSilence, Severity: condition.Minor, Purpose: "operation",
		Minimum: fleet.Duration(10 * time.Minute), Maximum: fleet.Duration(12 * time.Hour),
	}
}

func directory(_ context.Context, key int64) (condition.Identity, bool, error) {
	return condition.Identity{ID: "WC-" + strconv.FormatInt(key, 10), Product: "wall-charger"}, key < 100, nil
}

var start = time.Date(2014, 1, 12, 18, 0, 0, 0, time.UTC)

// watch is an evaluator under test with what it has found so far.
type watch struct {
	t        *testing.T
	e        *condition.Evaluator
	findings map[string]condition.Finding
	states   map[int64]condition.State

	definitions []condition.Definition
}

func newWatch(t *testing.T, detectors ...condition.Detector) *watch {
	t.Helper()
	definitions := []condition.Definition{{Product: charger(), Detectors: detectors}}
	e, err := condition.NewEvaluator(directory, definitions)
	require.NoError(t, err)
	return &watch{t, e, map[string]condition.Finding{}, map[int64]condition.State{}, definitions}
}

func (w *watch) take() condition.Changes {
	c, err := w.e.Take(w.t.Context())
	require.NoError(w.t, err)
	for _, f := range c.Findings {
		w.findings[f.ID] = f
	}
	for _, s := range c.States {
		w.states[s.UnitKey] = s
	}
	return c
}

// row at a minute, received at once, with values as "current=20 charging=1".
func (w *watch) row(minute int, values string) { w.rowAt(minute, minute, values) }

func (w *watch) rowAt(event, received int, values string) {
	w.t.Helper()
	r := telemetry.Row{Unit: 1, Event: minutes(event), Received: minutes(received)}
	for v := range strings.FieldsSeq(values) {
		name, text, _ := strings.Cut(v, "=")
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			r.Values = append(r.Values, telemetry.Value{Signal: name, Text: text, IsText: true})
			continue
		}
		r.Values = append(r.Values, telemetry.Value{Signal: name, Number: n})
	}
	require.NoError(w.t, w.e.Row(w.t.Context(), &r))
}

func (w *watch) mark(minute int, kind telemetry.MarkKind, text string) {
	w.t.Helper()
	m := telemetry.Mark{Kind: kind, Unit: 1, At: minutes(minute), Text: text}
	if kind == telemetry.MarkTick {
		m.Unit, m.Text = 0, strconv.Itoa(60_000)
	}
	require.NoError(w.t, w.e.Mark(w.t.Context(), &m))
}

// ticks once a minute from a minute up to another.
func (w *watch) ticks(from, to int) {
	w.t.Helper()
	for m := from; m <= to; m++ {
		w.mark(m, telemetry.MarkTick, "")
	}
}

// all is every finding so far, by onset.
func (w *watch) all() []condition.Finding {
	w.take()
	return slices.SortedFunc(maps.Values(w.findings), func(a, b condition.Finding) int { return a.Onset.Compare(b.Onset) })
}

func minutes(m int) int64        { return start.Add(time.Duration(m) * time.Minute).UnixMilli() }
func instant(m int) time.Time    { return time.UnixMilli(minutes(m)).UTC() }
func hot(v float64) string       { return fmt.Sprintf("current=20 charging=1 plug_temperature=%g", v) }
func (w *watch) permit()         { w.mark(-1, telemetry.MarkConsent, "care") }
func (w *watch) exposed() string { w.take(); return w.states[1].Exposures[0].For.String() }

func TestToleranceOpensAndClears(t *testing.T) {
	t.Parallel()
	w := newWatch(t, overheat())
	w.permit()
	w.row(0, hot(70))
	w.row(1, hot(85))
	w.row(6, hot(93.1))
	require.Empty(t, w.all(), "not held long enough")
	w.row(11, hot(84))
	f := w.all()[0]
	require.Equal(t, condition.Finding{
		ID: condition.FindingID(condition.Ref{Name: "plug-overheat", Version: 1}, 1, minutes(1)), Detector: condition.Ref{Name: "plug-overheat", Version: 1},
		Severity: condition.Critical, UnitID: "WC-1", UnitKey: 1, Product: "wall-charger", State: condition.Open,
		Onset: instant(1), OpenedAt: instant(11), SeenAt: instant(11), LastAt: instant(11), Peak: 93.1,
		Why: "plug_temperature up to 93.1 °C, above 80 °C for 10 min while current >= 16",
	}, f)
	w.row(12, hot(78)) // within the hysteresis: still outside
	w.row(13, hot(74))
	w.row(20, "current=2 charging=0 plug_temperature=20") // no context: not judged
	w.row(40, hot(74))
	w.row(59, hot(74))
	require.Equal(t, condition.Open, w.all()[0].State)
	w.row(60, hot(74))
	f = w.all()[0]
	require.Equal(t, condition.Cleared, f.State)
	require.Equal(t, instant(60), f.Cleared)
	require.Equal(t, instant(11), f.LastAt)
	require.Equal(t, "inside for 20 min", f.ClearWhy)
}

func TestTheFirstBandWhoseContextHoldsApplies(t *testing.T) {
	t.Parallel()
	d := overheat()
	d.Hold = 0
	w := newWatch(t, d)
	w.permit()
	w.row(0, "current=20 charging=1 plug_temperature=70")
	require.Empty(t, w.all())
	w.row(1, "current=6 charging=1 plug_temperature=70")
	require.Equal(t, "plug_temperature 70 °C, above 60 °C while charging", w.all()[0].Why)
}

func TestContextIsTheLatestKnownValueUntilItIsTooOld(t *testing.T) {
	t.Parallel()
	d := overheat()
	d.Hold = 0
	w := newWatch(t, d)
	w.permit()
	w.row(0, "plug_temperature=90")
	require.Empty(t, w.all(), "context unknown")
	w.row(1, "current=20")
	w.row(62, "plug_temperature=90")
	require.Empty(t, w.all(), "context too old")
	w.row(63, "current=20")
	w.row(64, "plug_temperature=90")
	require.Len(t, w.all(), 1)
}

func TestConsent(t *testing.T) {
	t.Parallel()
	d := overheat()
	d.Hold = 0
	w := newWatch(t, d)
	w.row(0, hot(90))
	require.Empty(t, w.all(), "an owner who has not chosen has not consented")
	w.mark(1, telemetry.MarkConsent, "care")
	w.row(2, hot(90))
	require.Len(t, w.all(), 1)
	require.False(t, w.states[1].JudgedAt.IsZero())
	w.mark(3, telemetry.MarkConsent, "")
	f := w.all()[0]
	require.Equal(t, condition.Cleared, f.State)
	require.Equal(t, "the owner no longer permits care; not watched", f.ClearWhy)
	require.True(t, w.states[1].JudgedAt.IsZero(), "no data that may be looked at")
	w.row(4, hot(90))
	require.Len(t, w.all(), 1)
	w.mark(5, telemetry.MarkConsent, "care,other")
	w.rowAt(4, 5, hot(91)) // measured while there was no consent
	require.Len(t, w.all(), 1)
	w.row(6, hot(90))
	require.Len(t, w.all(), 2)
}

func TestVersionStartsAnew(t *testing.T) {
	t.Parallel()
	d := overheat()
	d.Hold = 0
	w := newWatch(t, d)
	w.permit()
	w.row(0, hot(70))
	w.row(30, hot(90))
	require.Equal(t, "30m0s", w.exposed())
	w.mark(35, telemetry.MarkVersion, "software=2.0.0")
	f := w.all()[0]
	require.Equal(t, "software changed to 2.0.0; watched anew", f.ClearWhy)
	require.Equal(t, instant(35), f.Cleared)
	require.Equal(t, "0s", w.exposed())
	require.Equal(t, instant(35), w.states[1].Exposures[0].Since)

	w.rowAt(30, 36, hot(95)) // sent again
	w.rowAt(31, 40, hot(95)) // measured before the update, delivered after it (the way takes no time)
	require.Len(t, w.all(), 1)
	w.row(41, hot(70))
	w.row(101, hot(70))
	require.Equal(t, "1h0m0s", w.exposed())
	w.row(102, hot(90))
	fs := w.all()
	require.Len(t, fs, 2, "a relapse")
	require.Equal(t, instant(102), fs[1].Onset)
}

func TestLateRows(t *testing.T) {
	t.Parallel()
	w := newWatch(t, overheat())
	w.permit()
	w.row(0, hot(70))
	w.row(100, hot(70))
	for m := 20; m <= 40; m += 5 { // a buffer, delivered late
		w.rowAt(m, 101, hot(90+float64(m)))
		w.rowAt(m, 101, hot(90+float64(m))) // twice
	}
	fs := w.all()
	require.Len(t, fs, 1)
	require.True(t, fs[0].Late)
	require.Equal(t, condition.Cleared, fs[0].State)
	require.Equal(t, instant(20), fs[0].Onset)
	require.Equal(t, instant(30), fs[0].OpenedAt)
	require.Equal(t, instant(101), fs[0].SeenAt)
	require.InDelta(t, 120, fs[0].Peak, 0, "what came after it opened doesn't change it")
}

func TestExposureIsCappedByTheGap(t *testing.T) {
	t.Parallel()
	w := newWatch(t, overheat())
	w.permit()
	w.row(0, hot(70))
	w.row(600, hot(70))
	w.row(610, "charging=0")
	w.row(620, hot(70))
	require.Equal(t, "1h10m0s", w.exposed())
}

func TestSilence(t *testing.T) {
	t.Parallel()
	w := newWatch(t, silent())
	for m := 0; m <= 1200; m += 5 {
		w.row(m, "state=1")
		w.ticks(m, m+4)
	}
	w.ticks(1205, 1219)
	require.Empty(t, w.all())
	w.ticks(1220, 1225) // twice the five minutes, of which 240 reports leave no doubt, and the hold of ten
	f := w.all()[0]
	require.Equal(t, instant(1200), f.Onset)
	require.WithinDuration(t, instant(1220), f.OpenedAt, time.Minute)
	require.Equal(t, instant(1220), f.SeenAt)
	require.Equal(t, "nothing heard for 20 min since 2014-01-13 14:00 UTC; it is usually heard of within 5 min", f.Why)
	w.mark(1240, telemetry.MarkContact, "")
	f = w.all()[0]
	require.Equal(t, condition.Cleared, f.State)
	require.Equal(t, "heard of again after 40 min", f.ClearWhy)
	require.InDelta(t, 2400, f.Peak, 0)
}

func TestTimeInWhichTheServerWasDownIsNotSilence(t *testing.T) {
	t.Parallel()
	w := newWatch(t, silent())
	for m := 0; m <= 1200; m += 5 {
		w.row(m, "state=1")
		w.ticks(m, m+4)
	}
	w.ticks(1500, 1515) // down since minute 1204: 16 minutes were left
	require.Empty(t, w.all())
	w.ticks(1516, 1520)
	require.WithinDuration(t, instant(1516), w.all()[0].OpenedAt, time.Minute)
}

func TestARetiredUnitIsNotWatched(t *testing.T) {
	t.Parallel()
	d := overheat()
	d.Hold = 0
	w := newWatch(t, d, silent())
	w.permit()
	w.row(0, hot(90))
	w.mark(1, telemetry.MarkRetired, "")
	require.Equal(t, "the unit was retired", w.all()[0].ClearWhy)
	w.row(2, hot(90))
	w.ticks(2, 24*60)
	require.Len(t, w.all(), 1)
	w.mark(24*60+1, telemetry.MarkEnrolled, "")
	w.row(24*60+2, hot(90))
	require.Len(t, w.all(), 2)
}

func TestChangedDetectors(t *testing.T) {
	t.Parallel()
	d := overheat()
	d.Hold = 0
	w := newWatch(t, d)
	w.permit()
	w.row(0, hot(90))
	second := d
	second.Version, second.Hysteresis = 2, 1
	both := []condition.Definition{{Product: charger(), Detectors: []condition.Detector{second, d}}}
	require.NoError(t, w.e.Redefine(both))
	w.row(1, hot(91))
	require.Len(t, w.all(), 2, "the first is frozen and goes on; the second is new")
	require.NoError(t, w.e.Redefine([]condition.Definition{{Product: charger(), Detectors: []condition.Detector{second}}}))
	fs := w.all()
	require.Equal(t, "the detector was changed: version 2 watches from here", fs[0].ClearWhy)
	require.Equal(t, condition.Open, fs[1].State)
	require.NoError(t, w.e.Redefine(nil))
	require.Equal(t, "the detector was deleted", w.all()[1].ClearWhy)
}
