package backtest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

var start = time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)

func hour(h float64) time.Time { return start.Add(time.Duration(h * float64(time.Hour))) }

//go:fix inline

func pump() fleet.Product {
	return fleet.Product{
		Name: "pump", Purposes: []fleet.Purpose{{Name: "care", Basis: fleet.BasisConsent}},
		Signals: []fleet.Signal{
			{Name: "temperature", Type: fleet.Number, Unit: "Cel", Purposes: []string{"care"}},
			{Name: "load", Type: fleet.Number, Unit: "1", Purposes: []string{"care"}},
		},
		Tolerances: []fleet.Tolerance{{Name: "warm", Signal: "temperature", Bands: []fleet.Band{{Max: new(float64(70))}}}},
	}
}

func hot() condition.Detector {
	return condition.Detector{
		Name: "hot", Version: 3, Product: "pump", Type: condition.TypeTolerance, Severity: condition.Major, Purpose: "care", Tolerance: "warm",
	}
}

// list is a source of rows and marks in order.
type list struct {
	rows   []telemetry.Row
	marks  map[int][]telemetry.Mark // before the row of that place
	passes int
	units  []int64 // asked for, over all passes
	after  func(n int) error
}

func (l *list) Replay(_ context.Context, q telemetry.Query, fn func(*telemetry.Stored, *telemetry.StoredMark) error) error {
	l.passes++
	l.units = append(l.units, q.Units...)
	for i, r := range l.rows {
		for _, m := range l.marks[i] {
			if err := fn(nil, &telemetry.StoredMark{Mark: m}); err != nil {
				return err
			}
		}
		if l.after != nil {
			if err := l.after(i); err != nil {
				return err
			}
		}
		if !slices.Contains(q.Units, r.Unit) || !q.From.IsZero() && r.Event < q.From.UnixMilli() || !q.To.IsZero() && r.Event >= q.To.UnixMilli() {
			continue
		}
		if err := fn(&telemetry.Stored{Position: telemetry.Position{Seq: uint64(i + 1)}, Row: r}, nil); err != nil {
			return err
		}
	}
	for _, m := range l.marks[len(l.rows)] {
		if err := fn(nil, &telemetry.StoredMark{Mark: m}); err != nil {
			return err
		}
	}
	return nil
}

func (l *list) add(unit int64, at time.Time, celsius float64) {
	l.rows = append(l.rows, telemetry.Row{
		Unit: unit, Event: at.UnixMilli(), Received: at.UnixMilli(), Values: []telemetry.Value{{Signal: "temperature", Number: celsius}},
	})
}

func units(n int) (out []fleet.Unit) {
	for i := range n {
		out = append(out, fleet.Unit{ID: fmt.Sprintf("P-%d", i+1), Key: int64(i + 1), Product: "pump"})
	}
	return out
}

// The small case is worked out by hand. Three pumps, a reading an hour for 100
// hours, 60 °C but for these:
//
//	P-1: 75 at 20..24, 82 at 60..64; it failed at 70
//	P-2: 72 at 30..31;               it failed at 90
//	P-3: 90 at 50..54;               never failed
//
// Horizon 20 h, so that P-1's first alarm (20..25) is too early for the
// failure at 70 and false, its second (60..65) true with a lead of 10 h. P-2's
// alarm at 30..32 is false and its failure missed.
func small() *list {
	src := &list{}
	for h := range 101 {
		for u := int64(1); u <= 3; u++ {
			v := 60.0
			switch {
			case u == 1 && h >= 20 && h < 25:
				v = 75
			case u == 1 && h >= 60 && h < 65:
				v = 82
			case u == 2 && h >= 30 && h < 32:
				v = 72
			case u == 3 && h >= 50 && h < 55:
				v = 90
			}
			src.add(u, hour(float64(h)), v)
		}
	}
	return src
}

func smallPlan() backtest.Plan {
	return backtest.Plan{
		Product: pump(), Detector: hot(), Units: units(3), Fresh: true, Complete: true, MostFindings: 100,
		Sweep:    backtest.Sweep{Field: "margin", Values: []float64{-5, 4, 11, 25}},
		Failures: []backtest.Failure{{Unit: "P-1", At: hour(70)}, {Unit: "P-2", At: hour(90)}, {Unit: "P-9", At: hour(1)}},
		Match:    backtest.Match{Horizon: fleet.Duration(20 * time.Hour)},
		Cost:     backtest.Cost{False: 2, Missed: 7},
	}
}

func TestByHand(t *testing.T) {
	t.Parallel()
	src := small()
	got, err := backtest.Run(t.Context(), src, smallPlan())
	require.NoError(t, err)
	require.Equal(t, 1, src.passes, "one pass for all thresholds")
	require.Equal(t, condition.Ref{Name: "hot", Version: 3}, got.Detector)
	require.Equal(t, []int{3, 0, 2, 1}, []int{got.Judged, got.NoData, got.Failures, got.Outside})
	require.InDelta(t, 300.0/730.5, got.UnitMonths, 1e-9)
	require.Equal(t, hour(0), got.From)
	require.Equal(t, hour(100), got.To)
	require.Equal(t, 1, got.Declared)

	type row struct {
		value                                          float64
		units, alarms, yes, no, found, missed          int
		precision, recall, lead, cost, inAlarm, perMon float64
	}
	// Alarms last from the first reading outside to the first inside.
	want := []row{
		{-5, 3, 4, 1, 3, 1, 1, 0.25, 0.5, 36000, 3*2 + 7, 17.0 / 300, 4 / (300 / 730.5)},
		{0, 3, 4, 1, 3, 1, 1, 0.25, 0.5, 36000, 3*2 + 7, 17.0 / 300, 4 / (300 / 730.5)},
		{4, 2, 3, 1, 2, 1, 1, 1.0 / 3, 0.5, 36000, 2*2 + 7, 15.0 / 300, 3 / (300 / 730.5)},
		{11, 2, 2, 1, 1, 1, 1, 0.5, 0.5, 36000, 1*2 + 7, 10.0 / 300, 2 / (300 / 730.5)},
		{25, 0, 0, 0, 0, 0, 2, -1, 0, 0, 14, 0, 0},
	}
	require.Len(t, got.Thresholds, len(want))
	for i, w := range want {
		g := got.Thresholds[i]
		require.InDelta(t, w.value, g.Value, 0)
		require.Equal(t, []int{w.units, w.alarms, w.yes, w.no, 0, w.found, w.missed}, []int{g.Units, g.Alarms, g.True, g.False, g.Open, g.Found, g.Missed}, g.Text)
		if w.precision < 0 {
			require.Nil(t, g.Prec)
			require.Nil(t, g.LeadP50)
		} else {
			require.InDelta(t, w.precision, *g.Prec, 1e-9)
			require.InDelta(t, w.lead, *g.LeadP50, 1e-9)
			require.InDelta(t, w.lead, *g.LeadP10, 1e-9)
		}
		require.InDelta(t, w.recall, *g.Recall, 1e-9)
		require.InDelta(t, w.cost, *g.Cost, 1e-9)
		require.InDelta(t, w.inAlarm, g.InAlarm, 1e-9)
		require.InDelta(t, w.perMon, g.Rate, 1e-9)
	}
	require.Equal(t, 3, got.Best)
	require.Equal(t, "above 65 °C", got.Thresholds[0].Text)
	require.Equal(t, "above 70 °C", got.Thresholds[1].Text)
	require.Len(t, got.Findings, 4)
	require.Equal(t, 3, got.Findings[0].Detector.Version)
	first := got.Findings[:2]
	p := smallPlan()
	p.MostFindings = 2
	for range 5 {
		got, err = backtest.Run(t.Context(), small(), p)
		require.NoError(t, err)
		require.Equal(t, first, got.Findings, "the first that opened")
		require.Equal(t, 4, got.Total)
	}
}

// A period picks the findings that overlap it; what was before it is known all
// the same, unless the run begins afresh.
func TestPeriod(t *testing.T) {
	t.Parallel()
	p := smallPlan()
	p.Sweep, p.From, p.To = backtest.Sweep{}, hour(24), hour(55)
	got, err := backtest.Run(t.Context(), small(), p)
	require.NoError(t, err)
	require.Equal(t, 3, got.Total, "at 24, begun afresh, at 30 and at 50")
	require.Equal(t, hour(24), got.Findings[0].Onset)
	require.Equal(t, hour(54), got.To)
	require.InDelta(t, 90.0/730.5, got.UnitMonths, 1e-9)

	p.Fresh = false
	src := small()
	src.marks = map[int][]telemetry.Mark{}
	for u := range int64(3) {
		src.marks[0] = append(src.marks[0], telemetry.Mark{Kind: telemetry.MarkConsent, Unit: u + 1, At: start.UnixMilli(), Text: "care"})
	}
	got, err = backtest.Run(t.Context(), src, p)
	require.NoError(t, err)
	require.Equal(t, 3, got.Total)
	require.Equal(t, hour(20), got.Findings[0].Onset, "as live had it")
	require.InDelta(t, 90.0/730.5, got.UnitMonths, 1e-9)
	p.From, p.To = hour(95), time.Time{}
	got, err = backtest.Run(t.Context(), src, p)
	require.NoError(t, err)
	require.Zero(t, got.Total)
}

// What was looked at decides the alarms that are near it; of the rest nobody
// knows anything while the list of failures is not complete.
func TestAssessmentsJudgeOnlyWhatTheyAreOf(t *testing.T) {
	t.Parallel()
	p := smallPlan()
	p.Complete, p.Sweep = false, backtest.Sweep{}
	p.Failures = []backtest.Failure{
		{Unit: "P-1", At: hour(60), Until: hour(66), Source: "assessment"},
		{Unit: "P-3", At: hour(50), Until: hour(55), Source: "assessment", Sound: true},
	}
	got, err := backtest.Run(t.Context(), small(), p)
	require.NoError(t, err)
	g := got.Thresholds[0]
	require.Equal(t, []int{4, 1, 1, 2}, []int{g.Alarms, g.True, g.False, g.Open})
	require.Equal(t, 1, got.Failures)
	require.InDelta(t, 0.5, *g.Prec, 1e-9)
	require.InDelta(t, 1, *g.Recall, 1e-9)
	require.InDelta(t, 0, *g.LeadP50, 1e-9)

	p.Failures = nil
	got, err = backtest.Run(t.Context(), small(), p)
	require.NoError(t, err)
	g = got.Thresholds[0]
	require.Nil(t, g.Prec)
	require.Nil(t, g.Recall)
	require.Nil(t, g.Cost)
	require.Equal(t, -1, got.Best)
}

func TestLateAlarmsFindWhereThatIsAllowed(t *testing.T) {
	t.Parallel()
	p := smallPlan()
	p.Sweep, p.Failures = backtest.Sweep{}, []backtest.Failure{{Unit: "P-3", At: hour(48)}}
	got, err := backtest.Run(t.Context(), small(), p)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1}, []int{got.Thresholds[0].Found, got.Thresholds[0].Missed})
	p.Match.Late = fleet.Duration(3 * time.Hour)
	got, err = backtest.Run(t.Context(), small(), p)
	require.NoError(t, err)
	require.Equal(t, 1, got.Thresholds[0].Found)
	require.InDelta(t, -2*3600, *got.Thresholds[0].LeadP50, 1e-9)
}

// noise is a fleet whose readings wander, with rows out of order, restarts of
// what is watched and an outage of ours.
func noise(seed uint64, n, hours int) *list {
	r := rand.New(rand.NewPCG(seed, 1))
	src := &list{marks: map[int][]telemetry.Mark{}}
	level := make([]float64, n)
	for h := range hours {
		for u := range n {
			if r.IntN(10) == 0 || (h+40*u)%200 > 120 && h > 100 { // lost, or away for days
				continue
			}
			level[u] = 0.9*level[u] + 3*r.NormFloat64()
			at := hour(float64(h))
			src.add(int64(u+1), at, 62+level[u])
			if row := &src.rows[len(src.rows)-1]; r.IntN(30) == 0 {
				row.Event -= int64(r.IntN(5)) * 3_600_000
			}
		}
		k := len(src.rows)
		if h < hours/2 || h > hours/2+5 {
			src.marks[k] = append(src.marks[k], telemetry.Mark{Kind: telemetry.MarkTick, At: hour(float64(h)).UnixMilli(), Text: "3600000"})
		}
		if r.IntN(50) == 0 {
			src.marks[k] = append(src.marks[k], telemetry.Mark{Kind: telemetry.MarkVersion, Unit: int64(r.IntN(n) + 1), At: hour(float64(h)).UnixMilli(), Text: "software=2"})
		}
	}
	return src
}

// rise is a fleet whose units heat up, some faster than others.
func rise(n, hours int) *list {
	r := rand.New(rand.NewPCG(5, 1))
	src := &list{marks: map[int][]telemetry.Mark{}}
	for h := range hours {
		for u := range n {
			src.add(int64(u+1), hour(float64(h)), 50+float64(h*u)/40+r.NormFloat64())
		}
	}
	return src
}

// What is found for the threshold as declared is what live found, field by
// field, whatever else is tried in the same pass and however the fleet is cut.
func TestEqualsLive(t *testing.T) {
	t.Parallel()
	silent := condition.Detector{Name: "quiet", Version: 2, Product: "pump", Type: condition.TypeSilence, Severity: condition.Minor, Purpose: "care", Factor: 2, Minimum: fleet.Duration(time.Hour), Maximum: fleet.Duration(20 * time.Hour)}
	held := hot()
	held.Hold, held.Clear, held.Hysteresis = fleet.Duration(2*time.Hour), fleet.Duration(time.Hour), 1
	trend := condition.Detector{
		Name: "rising", Version: 1, Product: "pump", Type: condition.TypeTrend, Severity: condition.Minor, Purpose: "care",
		Trend: &spec.Trend{Signal: "temperature", Max: new(float64(90)), Horizon: fleet.Duration(48 * time.Hour), Cycle: spec.CycleNone},
	}
	peers := condition.Detector{
		Name: "unlike", Version: 1, Product: "pump", Type: condition.TypePeers, Severity: condition.Minor, Purpose: "care",
		Peers: &spec.Peers{Signal: "temperature", Minimum: 5, Budget: "300/year", Period: fleet.Duration(6 * time.Hour)},
	}
	anomaly := condition.Detector{
		Name: "odd", Version: 1, Product: "pump", Type: condition.TypeAnomaly, Severity: condition.Minor, Purpose: "care",
		Anomaly: &spec.Anomaly{Signals: []string{"temperature"}, Warmup: fleet.Duration(24 * time.Hour), Budget: "100/year"},
	}
	for _, d := range []condition.Detector{hot(), held, silent, trend, peers, anomaly} {
		const n = 10
		src := noise(7, n, 260)
		for i := range src.rows { // one heats up, and stays hot
			if r := &src.rows[i]; r.Unit == 2 && i > len(src.rows)/2 {
				r.Values[0].Number += min(60, float64(i-len(src.rows)/2)/20)
			}
		}
		if d.Type == condition.TypeTrend {
			src = rise(n, 200)
		}
		live := map[string]condition.Finding{}
		ids := map[int64]string{}
		for _, u := range units(n) {
			ids[u.Key] = u.ID
		}
		e, err := condition.NewEvaluator(func(_ context.Context, key int64) (condition.Identity, bool, error) {
			return condition.Identity{ID: ids[key], Product: "pump"}, true, nil
		}, []condition.Definition{{Product: pump(), Detectors: []condition.Detector{d}}})
		require.NoError(t, err)
		for u := range ids {
			src.marks[0] = append(src.marks[0], telemetry.Mark{Kind: telemetry.MarkConsent, Unit: u, At: start.UnixMilli(), Text: "care"})
		}
		require.NoError(t, src.Replay(t.Context(), telemetry.Query{Units: []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}}, func(row *telemetry.Stored, mark *telemetry.StoredMark) error {
			if mark != nil {
				return e.Mark(t.Context(), &mark.Mark)
			}
			return e.Row(t.Context(), &row.Row)
		}))
		c, err := e.Take(t.Context())
		require.NoError(t, err)
		for _, f := range c.Findings {
			live[f.ID] = f
		}
		require.NotEmpty(t, live, d.Name)
		sweep := backtest.Sweep{Auto: true}
		if d.Type == condition.TypeTrend { // costs more than the others
			sweep = backtest.Sweep{Field: "trend.horizon", Values: []float64{24 * 3600, 96 * 3600}}
		}
		if d.Type == condition.TypeAnomaly {
			sweep = backtest.Sweep{Field: "anomaly.budget", Values: []float64{50, 500}}
		}
		for _, limits := range []backtest.Limits{{}, {Watches: 30}} {
			got, err := backtest.Run(t.Context(), src, backtest.Plan{
				Product: pump(), Detector: d, Units: units(n), Sweep: sweep, MostFindings: 1 << 20, Limits: limits,
			})
			require.NoError(t, err)
			require.Greater(t, len(got.Thresholds), 2)
			have := map[string]condition.Finding{}
			for _, f := range got.Findings {
				have[f.ID] = f
			}
			require.Equal(t, live, have, d.Name)
			require.Equal(t, len(live), got.Total)
		}
	}
}

// Values near the one declared are near by any measure: what is noise to a
// limit of 70 is not known.
func TestValuesNearTheDeclared(t *testing.T) {
	t.Parallel()
	values := func(field string, change func(d *condition.Detector)) (out []float64) {
		d := hot()
		change(&d)
		got, err := backtest.Run(t.Context(), small(), backtest.Plan{Product: pump(), Detector: d, Units: units(3), Fresh: true, Sweep: backtest.Sweep{Field: field}})
		require.NoError(t, err)
		for _, one := range got.Thresholds {
			out = append(out, one.Value)
		}
		require.InDelta(t, map[string]float64{"margin": d.Margin, "hysteresis": d.Hysteresis}[field], out[got.Declared], 0)
		return out
	}
	up := []float64{.02, .05, .1, .2, .5, 1, 2, 5, 10, 20}
	around := []float64{0}
	for _, x := range up {
		around = append(around, -x, x)
	}
	slices.Sort(around)
	require.Equal(t, around, values("margin", func(*condition.Detector) {}))
	require.Equal(t, append([]float64{0}, up...), values("hysteresis", func(*condition.Detector) {}))
	require.Equal(t, []float64{1, 2, 2.5, 2.8, 2.9, 2.95, 2.98, 3, 3.02, 3.05, 3.1, 3.2, 3.5, 4, 5, 8, 13, 23},
		values("hysteresis", func(d *condition.Detector) { d.Hysteresis = 3 }))
}

// A limit further out never flags another unit, and a longer patience never
// finds another unit silent. The number of alarms may grow: one long alarm
// becomes several.
func TestMonotone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		src := noise(rapid.Uint64().Draw(t, "seed"), 8, 150)
		d := hot()
		d.Hold = fleet.Duration(time.Duration(rapid.IntRange(0, 4).Draw(t, "hold")) * time.Hour)
		d.Hysteresis = float64(rapid.IntRange(0, 3).Draw(t, "hysteresis"))
		field := rapid.SampledFrom([]string{"margin", "hold"}).Draw(t, "field")
		got, err := backtest.Run(context.Background(), src, backtest.Plan{Product: pump(), Detector: d, Units: units(8), Fresh: true, Sweep: backtest.Sweep{Field: field}})
		require.NoError(t, err)
		require.Greater(t, len(got.Thresholds), 5)
		for i := 1; i < len(got.Thresholds); i++ {
			a, b := got.Thresholds[i-1], got.Thresholds[i]
			require.Less(t, a.Value, b.Value)
			require.GreaterOrEqual(t, a.Units, b.Units, "%s %v", field, b.Value)
		}
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(p *backtest.Plan)
		path   string
	}{
		"no such setting": {func(p *backtest.Plan) { p.Sweep.Field = "colour" }, "sweep.field"},
		"a text":          {func(p *backtest.Plan) { p.Sweep.Field = "title" }, "sweep.field"},
		"too many": {func(p *backtest.Plan) {
			p.Sweep.Values = make([]float64, 50)
			for i := range p.Sweep.Values {
				p.Sweep.Values[i] = float64(i)
			}
		}, "sweep.values"},
		"negative hold":    {func(p *backtest.Plan) { p.Sweep = backtest.Sweep{Field: "hold", Values: []float64{-1}} }, "sweep.values"},
		"of another kind":  {func(p *backtest.Plan) { p.Sweep = backtest.Sweep{Field: "factor", Values: []float64{2}} }, "sweep.values"},
		"hysteresis below": {func(p *backtest.Plan) { p.Sweep = backtest.Sweep{Field: "hysteresis", Values: []float64{-2}} }, "sweep.values"},
	} {
		p := smallPlan()
		c.change(&p)
		_, err := backtest.Run(t.Context(), small(), p)
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
		require.Equal(t, c.path, fault.FieldsOf(err)[0].Path, name)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	p := smallPlan()
	p.Limits.Episodes = 5
	_, err := backtest.Run(t.Context(), small(), p)
	require.ErrorContains(t, err, "more than 5 alarms")
	p = smallPlan()
	p.Limits.Judgements = 100
	_, err = backtest.Run(t.Context(), small(), p)
	require.ErrorContains(t, err, "more than 100 rows times thresholds")
	p = smallPlan()
	p.Limits.Watches = 5
	src := small()
	got, err := backtest.Run(t.Context(), src, p)
	require.NoError(t, err)
	require.Equal(t, 3, src.passes, "a unit a pass")
	require.Equal(t, 4, got.Total)

	ctx, cancel := context.WithCancel(t.Context())
	src = noise(3, 6, 4000)
	seen := 0
	src.after = func(n int) error {
		if seen = n; n == 1000 {
			cancel()
		}
		return nil
	}
	_, err = backtest.Run(ctx, src, backtest.Plan{Product: pump(), Detector: hot(), Units: units(6), Fresh: true})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, seen, 10_000, "it ends soon")
}

func TestOnlyUnitsGivenAreRead(t *testing.T) {
	t.Parallel()
	p := smallPlan()
	p.Units = units(2)
	src := small()
	got, err := backtest.Run(t.Context(), src, p)
	require.NoError(t, err)
	require.NotContains(t, src.units, int64(3))
	require.Equal(t, 2, got.Judged)
}
