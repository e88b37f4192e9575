package condition_test

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/condition"
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
	clocks := map[int64]time.Duration{1: 0, 2: time.Duration(rapid.IntRange(-3600, 3600).Draw(t, "clock")) * time.Second, 3: -400 * 24 * time.Hour}
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
	for u := int64(1); u <= 3; u++ {
		mark(telemetry.MarkConsent, u, "care")
	}
	for range steps {
		now = now.Add(time.Duration(rapid.IntRange(0, 240).Draw(t, "seconds")) * time.Second)
		unit := int64(rapid.IntRange(1, 3).Draw(t, "unit"))
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
		case what < 86:
			mark(telemetry.MarkVersion, unit, "software=2.0."+strconv.Itoa(what))
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

func detectors() []condition.Detector {
	quick := overheat()
	quick.Name, quick.Hold, quick.Clear, quick.Hysteresis, quick.Exposure = "quick", 0, 0, 0, ""
	return []condition.Detector{overheat(), quick, silent()}
}

func units() []fleet.Unit {
	return []fleet.Unit{{ID: "WC-1", Key: 1, Product: "wall-charger"}, {ID: "WC-2", Key: 2, Product: "wall-charger"}, {ID: "WC-3", Key: 3, Product: "wall-charger"}}
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
		e, err := condition.NewEvaluator(directory, definitions)
		require.NoError(t, err)
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
				c := e.Take()
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
			case fate < 8: // a crash
				e, err = condition.NewEvaluator(directory, definitions)
				require.NoError(t, err)
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
