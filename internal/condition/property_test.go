package condition_test

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// recorded is history in memory: it drops duplicates as a history must, and
// knows only how to replay.
type recorded struct {
	telemetry.History
	rows  []telemetry.Stored
	marks []telemetry.StoredMark
	seen  map[sample]bool

	applied uint64 // what Applied says
}

type sample struct {
	unit, event, sequence int64
	signal                string
}

func (h *recorded) append(seq uint64, b *telemetry.Batch) {
	for i, r := range b.Rows {
		values := r.Values
		r.Values = nil
		for _, v := range values {
			k := sample{r.Unit, r.Event, r.Sequence, v.Signal}
			if !h.seen[k] {
				h.seen[k] = true
				r.Values = append(r.Values, v)
			}
		}
		h.rows = append(h.rows, telemetry.Stored{Position: telemetry.Position{Seq: seq, Index: i}, Row: r})
	}
	for i, m := range b.Marks {
		h.marks = append(h.marks, telemetry.StoredMark{Position: telemetry.Position{Seq: seq, Index: len(b.Rows) + i}, Mark: m})
	}
}

func (h *recorded) Replay(_ context.Context, q telemetry.Query, fn func(*telemetry.Stored, *telemetry.StoredMark) error) error {
	within := func(ms int64) bool {
		return (q.From.IsZero() || ms >= q.From.UnixMilli()) && (q.To.IsZero() || ms < q.To.UnixMilli())
	}
	i, j := 0, 0
	for i < len(h.rows) || j < len(h.marks) {
		if j == len(h.marks) || i < len(h.rows) && before(h.rows[i].Position, h.marks[j].Position) {
			r := h.rows[i]
			i++
			if !slices.Contains(q.Units, r.Unit) || !within(r.Event) || q.UpTo > 0 && r.Seq > q.UpTo {
				continue
			}
			kept := r.Values
			r.Values = nil
			for _, v := range kept {
				if q.Signals == nil || slices.Contains(q.Signals, v.Signal) {
					r.Values = append(r.Values, v)
				}
			}
			if err := fn(&r, nil); err != nil {
				return err
			}
			continue
		}
		m := h.marks[j]
		j++
		if q.UpTo > 0 && m.Seq > q.UpTo {
			continue
		}
		if err := fn(nil, &m); err != nil {
			return err
		}
	}
	return nil
}

func before(a, b telemetry.Position) bool {
	return a.Seq < b.Seq || a.Seq == b.Seq && a.Index < b.Index
}

// stream draws batches in which everything happens that may.
func stream(t *rapid.T, steps int) []*telemetry.Batch {
	now := start
	var sent []telemetry.Row
	var out []*telemetry.Batch
	tick := time.Minute
	clocks := map[int64]time.Duration{1: 0, 2: time.Duration(rapid.IntRange(-3600, 3600).Draw(t, "clock")) * time.Second, 3: -400 * 24 * time.Hour} // the others have none
	b := &telemetry.Batch{Product: "wall-charger"}
	flush := func() {
		if len(b.Rows)+len(b.Marks) > 0 {
			out = append(out, b)
		}
		b = &telemetry.Batch{Product: "wall-charger"}
	}
	row := func(unit int64) {
		r := telemetry.Row{Unit: unit, Received: now.UnixMilli(), Sequence: rapid.SampledFrom([]int64{0, 0, 0, 7}).Draw(t, "sequence")}
		age := rapid.SampledFrom([]time.Duration{0, 0, 0, 0, time.Second, 3 * time.Minute, 2 * time.Hour}).Draw(t, "age")
		r.Event = now.Add(clocks[unit] - age).Truncate(time.Minute).UnixMilli()
		for _, v := range []telemetry.Value{
			{Signal: "plug_temperature", Number: rapid.SampledFrom([]float64{20, 61, 74, 77, 85, 92, 92, 93}).Draw(t, "temperature")},
			{Signal: "current", Number: rapid.SampledFrom([]float64{0, 16, 20, 32}).Draw(t, "current")},
			{Signal: "charging", Number: rapid.SampledFrom([]float64{0, 1, 1}).Draw(t, "charging")},
			{Signal: "mode", Text: rapid.SampledFrom([]string{"eco", "fast"}).Draw(t, "mode"), IsText: true},
			{Signal: "state", Number: 1},
		} {
			if rapid.IntRange(0, 7).Draw(t, "has") > 0 {
				r.Values = append(r.Values, v)
			}
		}
		sent = append(sent, r)
		b.Rows = append(b.Rows, r)
	}
	mark := func(kind telemetry.MarkKind, unit int64, text string) {
		b.Marks = append(b.Marks, telemetry.Mark{Kind: kind, Unit: unit, At: now.UnixMilli(), Text: text})
		flush() // marks stand after the rows of their batch
	}
	for u := int64(1); u <= fleetOf; u++ {
		mark(telemetry.MarkConsent, u, "care")
	}
	for range steps {
		now = now.Add(time.Duration(rapid.IntRange(0, 240).Draw(t, "seconds")) * time.Second)
		unit := int64(rapid.IntRange(1, fleetOf).Draw(t, "unit"))
		switch what := rapid.IntRange(0, 99).Draw(t, "what"); {
		case what < 60:
			row(unit)
		case what < 75:
			mark(telemetry.MarkTick, 0, strconv.FormatInt(tick.Milliseconds(), 10))
		case what < 80 && len(sent) > 0: // sent again
			r := rapid.SampledFrom(sent).Draw(t, "again")
			r.Received = now.UnixMilli()
			b.Rows = append(b.Rows, r)
		case what < 84:
			mark(telemetry.MarkContact, unit, "")
		case what < 85:
			mark(telemetry.MarkVersion, unit, "software=2.0."+strconv.Itoa(what))
		case what < 86:
			mark(rapid.SampledFrom([]telemetry.MarkKind{telemetry.MarkMaintained, telemetry.MarkVersion}).Draw(t, "done"), unit, "plug=replacement")
		case what < 88:
			mark(telemetry.MarkConsent, unit, rapid.SampledFrom([]string{"", "care", "care", "care,operation"}).Draw(t, "given"))
		case what < 89:
			mark(telemetry.MarkRetired, unit, "")
		case what < 91:
			mark(telemetry.MarkEnrolled, unit, "")
		case what < 93: // we were down
			now = now.Add(time.Duration(rapid.IntRange(5, 600).Draw(t, "minutes down")) * time.Minute)
			mark(telemetry.MarkTick, 0, strconv.FormatInt(tick.Milliseconds(), 10))
		case what < 95:
			now = now.Add(time.Duration(rapid.IntRange(10, 120).Draw(t, "quiet")) * time.Minute)
			for range 5 {
				mark(telemetry.MarkTick, 0, "7200000")
			}
		default:
			flush()
		}
	}
	flush()
	return out
}

// detectors are of every kind that the evaluator runs, so declared that short
// streams make them speak.
func detectors() []condition.Detector {
	quick := overheat()
	quick.Name, quick.Hold, quick.Clear, quick.Hysteresis, quick.Exposure = "quick", 0, 0, 0, ""
	rule := func(name string, kind condition.DetectorType, change func(d *condition.Detector)) condition.Detector {
		d := condition.Detector{Name: name, Version: 1, Product: "wall-charger", Type: kind, Severity: condition.Minor, Purpose: "care"}
		change(&d)
		return d
	}
	hour := fleet.Duration(time.Hour)
	return []condition.Detector{
		overheat(), quick, silent(),
		rule("share", condition.TypeTolerance, func(d *condition.Detector) { d.Tolerance, d.Window, d.Share = "plug", hour, 5 }),
		rule("count", condition.TypeTolerance, func(d *condition.Detector) { d.Tolerance, d.Window, d.Count, d.Clear = "plug", hour, 3, hour/4 }),
		rule("rate", condition.TypeTolerance, func(d *condition.Detector) { d.Tolerance = "heating" }),
		rule("together", condition.TypeTolerance, func(d *condition.Detector) { d.Tolerance, d.Exposure = "hot-idle", "charging" }),
		rule("unusual", condition.TypeAnomaly, func(d *condition.Detector) {
			d.Anomaly = &spec.Anomaly{Signals: []string{"plug_temperature"}, Budget: "5000/year", Warmup: fleet.Duration(time.Minute)}
		}),
		rule("unusual-by-mode", condition.TypeAnomaly, func(d *condition.Detector) {
			d.Anomaly = &spec.Anomaly{Budget: "9000/year", Warmup: fleet.Duration(time.Minute), Mode: "mode", When: "current >= 0"}
		}),
		rule("trend", condition.TypeTrend, func(d *condition.Detector) {
			d.Trend = &spec.Trend{Signal: "plug_temperature", Max: new(100.0), Horizon: 100 * hour, Cycle: spec.CycleNone, By: spec.ByEarliest}
		}),
		rule("peers", condition.TypePeers, func(d *condition.Detector) {
			d.Peers = &spec.Peers{Signal: "plug_temperature", Period: hour, Minimum: 5, Budget: "9000/year"}
		}),
	}
}

const fleetOf = 6

func units() []fleet.Unit {
	var out []fleet.Unit
	for key := int64(1); key <= fleetOf; key++ {
		out = append(out, fleet.Unit{ID: "WC-" + strconv.FormatInt(key, 10), Key: key, Product: "wall-charger"})
	}
	return out
}

// Every kind in the table is among the detectors that the properties hold of.
func TestEveryKindIsTried(t *testing.T) {
	t.Parallel()
	p := charger()
	for _, name := range condition.Types() {
		if name == condition.TypePrognosis {
			continue // run by package prognosis
		}
		require.True(t, slices.ContainsFunc(detectors(), func(d condition.Detector) bool { return d.Type == name }), name)
	}
	for _, d := range detectors() {
		require.Empty(t, condition.Validate(&p, &d), d.Name)
	}
}

// evicting has an evaluator keep no more than most bytes that could be read back
// from states.
func evicting(e *condition.Evaluator, states map[int64]condition.State, most, atOnce int) *condition.Evaluator {
	e.Evict(func(_ context.Context, units []int64) (map[int64][]byte, error) {
		out := map[int64][]byte{}
		for _, key := range units {
			if s, ok := states[key]; ok {
				out[key] = s.Data
			}
		}
		return out, nil
	}, most, atOnce)
	return e
}

// take is everything that has changed.
func take(t require.TestingT, e *condition.Evaluator) condition.Changes {
	c, err := e.Take(context.Background())
	require.NoError(t, err)
	for more := c; more.More; {
		more, err = e.Take(context.Background())
		require.NoError(t, err)
		require.Empty(t, more.Findings, "told with the first")
		c.States = append(c.States, more.States...)
	}
	return c
}

// An evaluator that is started again after every batch, from what it has kept,
// finds what one does that never was: states are read as they were written. So
// does one that lets all of them go whenever they are kept.
func TestStartedAgainAfterEveryBatch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		batches := stream(t, rapid.IntRange(1, 250).Draw(t, "steps"))
		ctx := context.Background()
		definitions := []condition.Definition{{Product: charger(), Detectors: detectors()}}
		var found [3]map[string]condition.Finding
		for way := range found {
			found[way] = map[string]condition.Finding{}
			states := map[int64]condition.State{}
			e, err := condition.NewEvaluator(directory, definitions)
			require.NoError(t, err)
			if way == 2 {
				evicting(e, states, 0, 0)
			}
			for i, b := range batches {
				for j := range b.Rows {
					require.NoError(t, e.Row(ctx, &b.Rows[j]))
				}
				for j := range b.Marks {
					require.NoError(t, e.Mark(ctx, &b.Marks[j]))
				}
				if way == 0 && i < len(batches)-1 {
					continue
				}
				c := take(t, e)
				for _, f := range c.Findings {
					found[way][f.ID] = f
				}
				for _, s := range c.States {
					states[s.UnitKey] = s
				}
				e.Keeps()
				if way == 1 {
					e, err = condition.NewEvaluator(directory, definitions)
					require.NoError(t, err)
					require.NoError(t, e.Load(ctx, slices.Collect(maps.Values(states))))
				}
			}
		}
		require.Equal(t, found[0], found[1])
		require.Equal(t, found[0], found[2])
	})
}

// After a start of a fleet whose exposures do not all fit into one Take, all are
// told in time, though nothing of the units is in memory.
func TestAllAreToldAfterAStart(t *testing.T) {
	t.Parallel()
	const of = 11_000 // with two detectors each, more than a Take tells
	definitions := []condition.Definition{{Product: charger(), Detectors: []condition.Detector{overheat(), detectors()[1]}}}
	states := map[int64]condition.State{}
	e, err := condition.NewEvaluator(everyone, definitions)
	require.NoError(t, err)
	for u := range int64(of) {
		require.NoError(t, e.Mark(t.Context(), &telemetry.Mark{Kind: telemetry.MarkConsent, Unit: u + 1, At: minutes(0), Text: "care"}))
	}
	for e.Changed() {
		for _, s := range take(t, e).States {
			states[s.UnitKey] = s
		}
	}
	e, err = condition.NewEvaluator(everyone, definitions)
	require.NoError(t, err)
	require.NoError(t, evicting(e, states, 0, 1<<30).Load(t.Context(), slices.Collect(maps.Values(states))))
	told, takes := map[int64]bool{}, 0
	for ; e.Changed(); takes++ {
		c := take(t, e)
		e.Keeps()
		for _, s := range c.States {
			require.Equal(t, states[s.UnitKey].Data, s.Data, "kept again as it was")
			if len(s.Exposures) == 2 {
				told[s.UnitKey] = true
			}
		}
	}
	require.Len(t, told, of)
	require.Greater(t, takes, 1)
}

// What was found live, with crashes at any time, is what a backtest over
// history finds, field by field.
func TestLiveIsBacktest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		batches := stream(t, rapid.IntRange(1, 400).Draw(t, "steps"))
		ctx := context.Background()
		definitions := []condition.Definition{{Product: charger(), Detectors: detectors()}}
		live, exposures := map[string]condition.Finding{}, map[condition.Ref]map[int64]condition.Exposure{}
		states := map[int64]condition.State{}
		most := rapid.SampledFrom([]int{0, 5000, 1 << 30}).Draw(t, "memory")
		atOnce := rapid.SampledFrom([]int{0, 5000, 1 << 30}).Draw(t, "at once")
		e, err := condition.NewEvaluator(directory, definitions)
		require.NoError(t, err)
		evicting(e, states, most, atOnce)
		kept := 0 // batches whose effects are kept
		for i := 0; i < len(batches); i++ {
			for j := range batches[i].Rows {
				require.NoError(t, e.Row(ctx, &batches[i].Rows[j]))
			}
			for j := range batches[i].Marks {
				require.NoError(t, e.Mark(ctx, &batches[i].Marks[j]))
			}
			switch fate := rapid.IntRange(0, 19).Draw(t, "fate"); {
			case fate < 6 || i == len(batches)-1:
				c := take(t, e)
				for _, f := range c.Findings {
					live[f.ID] = f
				}
				for _, s := range c.States {
					states[s.UnitKey] = s
					for _, x := range s.Exposures {
						if exposures[x.Detector] == nil {
							exposures[x.Detector] = map[int64]condition.Exposure{}
						}
						exposures[x.Detector][s.UnitKey] = x
					}
				}
				kept = i + 1
				e.Keeps()
			case fate < 8: // a crash
				e, err = condition.NewEvaluator(directory, definitions)
				require.NoError(t, err)
				evicting(e, states, most, atOnce)
				require.NoError(t, e.Load(ctx, slices.Collect(maps.Values(states))))
				i = kept - 1
			}
		}

		h := &recorded{seen: map[sample]bool{}}
		for i, b := range batches {
			h.append(uint64(i+1), b)
		}
		for _, d := range detectors() {
			trial := condition.Trial{History: h, Product: charger(), Detector: d, Units: units()}
			got, err := trial.Run(ctx)
			require.NoError(t, err)
			want := map[string]condition.Finding{}
			for id, f := range live {
				if f.Detector == d.Ref() {
					want[id] = f
				}
			}
			have := map[string]condition.Finding{}
			for _, f := range got.Findings {
				have[f.ID] = f
			}
			require.Equal(t, want, have, "detector %s", d.Name)
		}

		// Causality: nothing that comes later changes when and why a finding opened.
		upTo := uint64(rapid.IntRange(1, len(batches)).Draw(t, "up to"))
		for _, d := range detectors() {
			trial := condition.Trial{History: h, Product: charger(), Detector: d, Units: units(), UpTo: upTo}
			got, err := trial.Run(ctx)
			require.NoError(t, err)
			for _, f := range got.Findings {
				l := live[f.ID]
				require.Equal(t, []any{f.Onset, f.OpenedAt, f.SeenAt, f.Why, f.Late}, []any{l.Onset, l.OpenedAt, l.SeenAt, l.Why, l.Late})
			}
		}
	})
}

// days of six units that report every five minutes; one drifts, one is unlike
// the others, one changes at once, one falls silent. From a batch on the future
// may be another.
func days(n int, other uint64, from int) []*telemetry.Batch {
	r := rand.New(rand.NewPCG(7, 1))
	var out []*telemetry.Batch
	for i := range n * 288 {
		if i == from && other > 0 {
			r = rand.New(rand.NewPCG(7, other))
		}
		at := start.Add(time.Duration(5*i) * time.Minute)
		day := float64(i) / 288
		b := &telemetry.Batch{Product: "wall-charger"}
		for unit := int64(1); unit <= fleetOf; unit++ {
			v := 50 + 8*math.Sin(2*math.Pi*day) + r.NormFloat64()
			switch {
			case unit == 1:
				v += 3 * day
			case unit == 2 && day > 4:
				v += 15
			case unit == 3 && i%1500 > 1490:
				v += 45
			case unit == 4 && i%400 > 340:
				continue
			}
			if other > 0 && i >= from {
				v -= 20 * r.Float64()
			}
			if r.IntN(20) == 0 {
				continue // lost
			}
			b.Rows = append(b.Rows, telemetry.Row{Unit: unit, Event: at.UnixMilli(), Received: at.Add(time.Second).UnixMilli(), Values: []telemetry.Value{
				{Signal: "plug_temperature", Number: v}, {Signal: "current", Number: 16}, {Signal: "charging", Number: float64(i / 6 % 2)}, {Signal: "mode", Text: []string{"eco", "fast"}[i/50%2], IsText: true},
			}})
		}
		if i == 0 {
			for unit := int64(1); unit <= fleetOf; unit++ {
				b.Marks = append(b.Marks, telemetry.Mark{Kind: telemetry.MarkConsent, Unit: unit, At: at.UnixMilli() - 1000, Text: "care"})
			}
		}
		if i == 5*288 {
			b.Marks = append(b.Marks, telemetry.Mark{Kind: telemetry.MarkMaintained, Unit: 2, At: at.UnixMilli(), Text: "plug=replacement"})
		}
		b.Marks = append(b.Marks, telemetry.Mark{Kind: telemetry.MarkTick, At: at.UnixMilli() + 2000, Text: "300000"})
		if i == 0 { // consents before rows
			out = append(out, &telemetry.Batch{Marks: b.Marks}, &telemetry.Batch{Product: b.Product, Rows: b.Rows})
			continue
		}
		out = append(out, b)
	}
	return out
}

// live runs batches, and starts again now and then from what it has kept.
func live(t *testing.T, batches []*telemetry.Batch, seed uint64) map[string]condition.Finding {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, seed))
	found, states := map[string]condition.Finding{}, map[int64]condition.State{}
	definitions := []condition.Definition{{Product: charger(), Detectors: detectors()}}
	e, err := condition.NewEvaluator(directory, definitions)
	require.NoError(t, err)
	if seed > 0 {
		evicting(e, states, 20_000, 20_000)
	}
	kept := 0
	for i := 0; i < len(batches); i++ {
		for j := range batches[i].Rows {
			require.NoError(t, e.Row(t.Context(), &batches[i].Rows[j]))
		}
		for j := range batches[i].Marks {
			require.NoError(t, e.Mark(t.Context(), &batches[i].Marks[j]))
		}
		fate := 1
		if seed > 0 {
			fate = r.IntN(60)
		}
		if fate == 0 || i == len(batches)-1 {
			c := take(t, e)
			for _, f := range c.Findings {
				found[f.ID] = f
			}
			for _, s := range c.States {
				states[s.UnitKey] = s
			}
			e.Keeps()
			kept = i + 1
		}
		if seed > 0 && r.IntN(150) == 0 && i < len(batches)-1 { // killed: what was not kept is told again
			e, err = condition.NewEvaluator(directory, definitions)
			require.NoError(t, err)
			require.NoError(t, evicting(e, states, 20_000, 20_000).Load(t.Context(), slices.Collect(maps.Values(states))))
			i = kept - 1
		}
	}
	return found
}

// Every kind speaks on an ordinary fleet, and says the same live, after any
// number of kills, and in a backtest; another future changes nothing that was
// said before it.
func TestEveryKindSpeaksAndSaysTheSame(t *testing.T) {
	t.Parallel()
	const of, from = 8, 6 * 288
	batches := days(of, 0, 0)
	straight := live(t, batches, 0)
	said := map[condition.DetectorType]int{}
	for _, d := range detectors() {
		for _, f := range straight {
			if f.Detector == d.Ref() {
				said[d.Type]++
			}
		}
	}
	for _, name := range condition.Types() {
		if name != condition.TypePrognosis {
			require.Positive(t, said[name], "%s says nothing: %v", name, said)
		}
	}
	for seed := range uint64(2) {
		require.Equal(t, straight, live(t, batches, seed+1), "killed now and then")
	}

	h := &recorded{seen: map[sample]bool{}}
	for i, b := range batches {
		h.append(uint64(i+1), b)
	}
	for _, d := range detectors() {
		trial := condition.Trial{History: h, Product: charger(), Detector: d, Units: units()}
		got, err := trial.Run(t.Context())
		require.NoError(t, err)
		have, want := map[string]condition.Finding{}, map[string]condition.Finding{}
		for _, f := range got.Findings {
			have[f.ID] = f
		}
		for id, f := range straight {
			if f.Detector == d.Ref() {
				want[id] = f
			}
		}
		require.Equal(t, want, have, "detector %s in a backtest", d.Name)
	}

	another := live(t, days(of, 9, from), 0)
	before := func(all map[string]condition.Finding) (out [][]any) {
		for _, id := range slices.Sorted(maps.Keys(all)) {
			if f := all[id]; f.SeenAt.Before(start.Add(from * 5 * time.Minute)) {
				out = append(out, []any{f.ID, f.UnitID, f.Onset, f.OpenedAt, f.SeenAt, f.Why, f.Late})
			}
		}
		return out
	}
	require.NotEmpty(t, before(straight))
	require.Equal(t, before(straight), before(another), "another future")
	require.NotEqual(t, straight, another, "the futures differ")
}
