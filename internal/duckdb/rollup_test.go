package duckdb_test

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/telemetry"
)

// kept is a value that history should hold.
type kept struct {
	telemetry.Position
	unit, event, sequence int64
	signal                string
	value                 float64
}

// ledger is what history should hold, kept the plain way.
type ledger struct {
	values []kept
}

func (l *ledger) add(seq uint64, rows []telemetry.Row) {
	for i, r := range rows {
		for _, v := range r.Values {
			same := func(k kept) bool {
				return k.unit == r.Unit && k.event == r.Event && k.sequence == r.Sequence && k.signal == v.Signal
			}
			if !slices.ContainsFunc(l.values, same) {
				l.values = append(l.values, kept{telemetry.Position{Seq: seq, Index: i}, r.Unit, r.Event, r.Sequence, v.Signal, v.Number})
			}
		}
	}
}

func (l *ledger) drop(f func(k kept) bool) { l.values = slices.DeleteFunc(l.values, f) }

type cell struct {
	unit, at int64
}

// windows is what a query should give, from the values themselves.
func (l *ledger) windows(q telemetry.WindowQuery) map[cell][]telemetry.Stat {
	out := map[cell][]telemetry.Stat{}
	type last struct {
		event int64
		at    telemetry.Position
	}
	newest := map[string]last{}
	for _, k := range l.values {
		place := slices.Index(q.Signals, k.signal)
		if place < 0 || q.Units != nil && !slices.Contains(q.Units, k.unit) ||
			!q.From.IsZero() && k.event < q.From.UnixMilli() || !q.To.IsZero() && k.event >= q.To.UnixMilli() {
			continue
		}
		c := cell{k.unit, 0}
		if !q.From.IsZero() {
			c.at = q.From.UnixMilli()
		}
		if w := q.Width.Milliseconds(); w > 0 {
			c.at += (k.event - c.at) / w * w
		}
		if out[c] == nil {
			out[c] = make([]telemetry.Stat, len(q.Signals))
		}
		s := &out[c][place]
		if s.Count == 0 {
			s.Min, s.Max = math.Inf(1), math.Inf(-1)
		}
		s.Count++
		s.Sum += k.value
		s.Min, s.Max = min(s.Min, k.value), max(s.Max, k.value)
		if k.value != 0 {
			s.Nonzero++
		}
		name := fmt.Sprint(c, place)
		n, ok := newest[name]
		if !ok || cmp.Or(cmp.Compare(k.event, n.event), cmp.Compare(k.Seq, n.at.Seq), cmp.Compare(k.Index, n.at.Index)) > 0 {
			newest[name] = last{k.event, k.Position}
			s.Last, s.LastAt = k.value, k.event
		}
	}
	return out
}

// Rollups are what the rows come to, over rows in any order, late ones,
// duplicates, parts made and merged at any time, restarts, killed processes,
// expiry and erasure.
func TestRollupsAreWhatRowsComeTo(t *testing.T) {
	t.Parallel()
	most := 15
	if os.Getenv("FETTLE_SOAK") != "" {
		most = math.MaxInt
	}
	tries := 0
	rapid.Check(t, func(rt *rapid.T) {
		if tries++; tries > most {
			return
		}
		defer func() {
			if rt.Failed() {
				most = math.MaxInt // it is to be reproduced
			}
		}()
		dir := t.TempDir()
		cfg := duckdb.Config{Dir: dir, MemoryMB: 256, Manual: true, SealRows: rapid.IntRange(1, 40).Draw(rt, "seal"), MergeParts: rapid.IntRange(2, 4).Draw(rt, "merge")}
		cfg.Fresh = rapid.SampledFrom([]int64{1, 2000, 20000}).Draw(rt, "fresh")
		cfg.Newest = rapid.SampledFrom([]int{0, 0, 3}).Draw(rt, "newest")
		h, err := duckdb.Open(t.Context(), cfg, quiet)
		require.NoError(rt, err)
		defer func() { _ = h.Close() }()

		const name = "product"
		var l ledger
		base := rapid.SampledFrom([]int64{1_400_000_000_000, 1_399_939_200_000 - 7, -3_600_000}).Draw(rt, "base")
		span := rapid.SampledFrom([]int64{120_000, 3 * 3_600_000, 3 * 86_400_000}).Draw(rt, "span")
		step := span / rapid.Int64Range(10, 200).Draw(rt, "steps")
		units := []int64{1, 2, 3, -4 << 40}
		signals := []string{"a", "b", "late"}
		drawRow := rapid.Custom(func(rt *rapid.T) telemetry.Row {
			r := telemetry.Row{
				Unit:     rapid.SampledFrom(units).Draw(rt, "unit"),
				Event:    base + rapid.Int64Range(0, span/step).Draw(rt, "event")*step,
				Sequence: rapid.Int64Range(0, 1).Draw(rt, "sequence"),
			}
			r.Received = r.Event + rapid.Int64Range(-1, 2).Draw(rt, "behind")*step // or ahead
			for range rapid.IntRange(0, 3).Draw(rt, "values") {
				v := telemetry.Value{Signal: rapid.SampledFrom(signals).Draw(rt, "signal"), Number: float64(rapid.IntRange(-2, 2).Draw(rt, "number"))}
				if v.Number == 2 {
					v.Number = rapid.Float64Range(-100, 100).Draw(rt, "fraction")
				}
				r.Values = append(r.Values, v)
			}
			return r
		})
		seq := uint64(0)
		check := func() {
			q := telemetry.WindowQuery{Product: name, Signals: signals}
			if rapid.Bool().Draw(rt, "some units") {
				q.Units = []int64{1, 3}
			}
			if rapid.Bool().Draw(rt, "windows") {
				q.Width = rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 7 * time.Minute, time.Hour, 5 * time.Hour, 24 * time.Hour}).Draw(rt, "width")
				align := rapid.SampledFrom([]int64{1, 60_000, 3_600_000, 86_400_000}).Draw(rt, "align")
				from := (base + rapid.Int64Range(0, span).Draw(rt, "from")) / align * align
				q.From = time.UnixMilli(from)
				q.To = q.From.Add(time.Duration(rapid.Int64Range(1, 2*span).Draw(rt, "for")) * time.Millisecond)
			} else if rapid.Bool().Draw(rt, "from") {
				q.From = time.UnixMilli(base + rapid.Int64Range(0, span).Draw(rt, "from"))
			}
			want := l.windows(q)
			got := map[cell][]telemetry.Stat{}
			require.NoError(rt, h.Windows(t.Context(), q, func(w *telemetry.Window) error {
				c := cell{unit: w.Unit}
				if !w.At.IsZero() {
					c.at = w.At.UnixMilli()
				}
				require.NotContains(rt, got, c)
				got[c] = slices.Clone(w.Stats)
				return nil
			}))
			for c, stats := range want {
				require.Len(rt, got[c], len(stats), "%v of %v", c, q)
				for i := range stats {
					require.InDelta(rt, stats[i].Sum, got[c][i].Sum, 1e-9)
					got[c][i].Sum = stats[i].Sum
				}
			}
			require.Equal(rt, want, got, "%+v", q)

			// The newest values stand in memory; so do those of one unit.
			newest := telemetry.WindowQuery{Product: name, Signals: signals, Units: q.Units, Measures: telemetry.MeasureLast}
			want = l.windows(newest)
			for _, stats := range want {
				for i := range stats {
					stats[i] = telemetry.Stat{Last: stats[i].Last, LastAt: stats[i].LastAt}
				}
			}
			got = map[cell][]telemetry.Stat{}
			before := int64(math.MinInt64)
			require.NoError(rt, h.Windows(t.Context(), newest, func(w *telemetry.Window) error {
				require.Greater(rt, w.Unit, before)
				before = w.Unit
				got[cell{unit: w.Unit}] = slices.Clone(w.Stats)
				return nil
			}))
			require.Equal(rt, want, got)
			for _, unit := range units {
				latest, err := h.Latest(t.Context(), name, unit)
				require.NoError(rt, err)
				stats, some := l.windows(telemetry.WindowQuery{Signals: signals})[cell{unit: unit}]
				for i, signal := range signals {
					v, ok := latest[signal]
					require.Equal(rt, some && stats[i].Count > 0, ok)
					if ok {
						require.Equal(rt, telemetry.Sample{At: time.UnixMilli(stats[i].LastAt).UTC(), Number: stats[i].Last}, v)
					}
				}
			}

			// A chart tells the same values.
			unit, buckets := rapid.SampledFrom(units).Draw(rt, "chart of"), rapid.IntRange(1, 50).Draw(rt, "buckets")
			points, err := h.Series(t.Context(), name, unit, "a", q.From, q.To, buckets)
			require.NoError(rt, err)
			require.LessOrEqual(rt, len(points), buckets)
			want = l.windows(telemetry.WindowQuery{Units: []int64{unit}, Signals: []string{"a"}, From: q.From, To: q.To})
			n, sum, least, greatest := int64(0), 0.0, math.Inf(1), math.Inf(-1)
			for _, p := range points {
				n, sum, least, greatest = n+p.Count, sum+p.Mean*float64(p.Count), min(least, p.Min), max(greatest, p.Max)
			}
			for _, stats := range want {
				require.Equal(rt, stats[0].Count, n)
				require.InDelta(rt, stats[0].Sum, sum, 1e-6)
				require.Equal(rt, []float64{stats[0].Min, stats[0].Max}, []float64{least, greatest})
			}
			if len(want) == 0 {
				require.Zero(rt, n)
			}
		}
		steps := map[string]func(){
			"append": func() {
				seq++
				rows := rapid.SliceOfN(drawRow, 1, 60).Draw(rt, "rows")
				require.NoError(rt, h.Append(t.Context(), []telemetry.Sequenced{{Seq: seq, Batch: &telemetry.Batch{Product: name, Rows: rows}}}))
				l.add(seq, rows)
			},
			"compact": func() { require.NoError(rt, h.Compact(t.Context())) },
			"reopen": func() {
				require.NoError(rt, h.Close())
				h, err = duckdb.Open(t.Context(), cfg, quiet)
				require.NoError(rt, err)
			},
			"kill": func() { // what is on disk is what a killed process leaves
				cfg.Dir = t.TempDir()
				for _, file := range []string{duckdb.File, duckdb.File + ".wal"} {
					b, err := os.ReadFile(filepath.Join(dir, file))
					if err == nil {
						require.NoError(rt, os.WriteFile(filepath.Join(cfg.Dir, file), b, 0o600))
					}
				}
				require.NoError(rt, h.Close())
				dir = cfg.Dir
				h, err = duckdb.Open(t.Context(), cfg, quiet)
				require.NoError(rt, err)
			},
			"erase": func() {
				unit := rapid.SampledFrom(units).Draw(rt, "unit")
				require.NoError(rt, h.EraseUnits(t.Context(), []int64{unit}, nil))
				l.drop(func(k kept) bool { return k.unit == unit })
			},
			"erase a span": func() {
				unit := rapid.SampledFrom(units).Draw(rt, "unit")
				from, to := base+rapid.Int64Range(0, span).Draw(rt, "from"), base+rapid.Int64Range(0, span).Draw(rt, "to")
				from, to = min(from, to), max(from, to)
				first, last := time.UnixMilli(from), time.UnixMilli(to)
				switch rapid.IntRange(0, 2).Draw(rt, "open") {
				case 0:
					from, first = math.MinInt64, time.Time{}
				case 1:
					to, last = math.MaxInt64, time.Time{}
				}
				require.NoError(rt, h.EraseSpan(t.Context(), unit, first, last))
				l.drop(func(k kept) bool { return k.unit == unit && k.event >= from && k.event < to })
			},
			"withdraw": func() {
				unit, signal := rapid.SampledFrom(units).Draw(rt, "unit"), rapid.SampledFrom(signals).Draw(rt, "signal")
				require.NoError(rt, h.EraseUnits(t.Context(), []int64{unit}, []string{signal}))
				l.drop(func(k kept) bool { return k.unit == unit && k.signal == signal })
			},
			"expire": func() {
				signal := rapid.SampledFrom(signals).Draw(rt, "signal")
				end := base + rapid.Int64Range(0, span).Draw(rt, "end")
				before := map[string]time.Time{signal: time.UnixMilli(end)}
				require.NoError(rt, h.Expire(t.Context(), name, before))
				l.drop(func(k kept) bool { return k.signal == signal && k.event < end })
			},
		}
		names := []string{"append", "append", "append", "append", "compact", "compact", "reopen", "kill", "erase", "erase a span", "withdraw", "expire"}
		for range rapid.IntRange(2, 10).Draw(rt, "steps") {
			steps[rapid.SampledFrom(names).Draw(rt, "step")]()
			check()
		}
		require.NoError(rt, h.Compact(t.Context()))
		check()
	})
}
