package condition_test

import (
	"context"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/telemetry"
)

// What a row costs: a band by context, an exposure and a silence detector on
// a fleet of 29,222 units, five signals a row.
func BenchmarkEvaluator(b *testing.B) {
	const units = 29_222
	e, err := condition.NewEvaluator(everyone, []condition.Definition{{Product: charger(), Detectors: []condition.Detector{overheat(), silent()}}})
	require.NoError(b, err)
	ctx := b.Context()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for u := range int64(units) {
		require.NoError(b, e.Mark(ctx, &telemetry.Mark{Kind: telemetry.MarkConsent, Unit: u + 1, At: minutes(0), Text: "care"}))
	}
	r := telemetry.Row{Values: []telemetry.Value{
		{Signal: "current"}, {Signal: "plug_temperature"}, {Signal: "charging", Number: 1}, {Signal: "mode", Text: "eco", IsText: true}, {Signal: "state", Number: 1},
	}}
	row := func(i int) error {
		minute := i/units + 1
		r.Unit, r.Event, r.Received = int64(i%units)+1, minutes(minute), minutes(minute)
		r.Values[0].Number, r.Values[1].Number = float64(10+minute%12), float64(50+(i+minute)%35)
		return e.Row(ctx, &r)
	}
	warm := 70 * units // every unit remembers as many event times as it ever will
	for i := range warm {
		if err := row(i); err != nil {
			b.Fatal(err)
		}
	}
	e.Drain(func(*condition.Finding) {})
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := row(warm + i); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/units, "heap-B/unit")
	c, err := e.Take(b.Context())
	require.NoError(b, err)
	size := 0
	for _, s := range c.States {
		size += len(s.Data)
	}
	b.ReportMetric(float64(size)/float64(max(len(c.States), 1)), "state-B/unit")
}

// What stays in memory of units whose states are evicted, and what a row costs
// whose unit has to be read back from the records first, of a detector of three
// signals together.
func BenchmarkEvicted(b *testing.B) {
	const units = 2000
	d := unusual()
	d.Purpose, d.Anomaly.Signals = "care", []string{"current", "plug_temperature", "state"}
	p := charger()
	p.Signals[4].Purposes = []string{"care"}
	for name, most := range map[string]int{"all in memory": 1 << 40, "all evicted": 0} {
		b.Run(name, func(b *testing.B) {
			ctx, store := b.Context(), sqldbtest.SQLite(b).Condition()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			e, err := condition.NewEvaluator(everyone, []condition.Definition{{Product: p, Detectors: []condition.Detector{d}}})
			require.NoError(b, err)
			e.Evict(func(ctx context.Context, units []int64) (map[int64][]byte, error) {
				return store.Kept(ctx, "all", units)
			}, most, 1<<30)
			seq := uint64(0)
			keep := func() {
				c, err := e.Take(ctx)
				require.NoError(b, err)
				seq++
				require.NoError(b, store.Commit(ctx, "all", seq, c.Findings, c.States))
				e.Keeps()
			}
			batch := telemetry.Batch{Product: p.Name}
			for u := range int64(units) {
				batch.Marks = append(batch.Marks, telemetry.Mark{Kind: telemetry.MarkConsent, Unit: u + 1, At: minutes(0), Text: "care"})
			}
			require.NoError(b, e.Batch(ctx, &batch))
			round := func(minute int) {
				for from := 0; from < units; from += 200 {
					batch := telemetry.Batch{Product: p.Name}
					for u := from; u < from+200; u++ {
						v := float64(50 + (u*3+minute)%11)
						batch.Rows = append(batch.Rows, telemetry.Row{
							Unit: int64(u) + 1, Event: minutes(minute), Received: minutes(minute),
							Values: []telemetry.Value{{Signal: "current", Number: v}, {Signal: "plug_temperature", Number: v + 1}, {Signal: "state", Number: v + 2}},
						})
					}
					require.NoError(b, e.Batch(ctx, &batch))
				}
			}
			minute := 0
			for range 600 {
				minute += 5
				round(minute)
			}
			keep()
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ResetTimer()
			for b.Loop() {
				minute += 5
				round(minute)
				b.StopTimer()
				keep()
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*units), "ns/row")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/units, "heap-B/unit")
		})
	}
}

func everyone(_ context.Context, key int64) (condition.Identity, bool, error) {
	return condition.Identity{ID: "WC-" + strconv.FormatInt(key, 10), Product: "wall-charger"}, true, nil
}

// What the default anomaly detector costs a row and keeps of a unit, by the
// number of signals it watches together.
func BenchmarkAnomaly(b *testing.B) {
	names := []string{"current", "plug_temperature", "state"}
	for n := 1; n <= len(names); n++ {
		b.Run(strconv.Itoa(n)+" signals", func(b *testing.B) {
			const units = 200
			d := unusual()
			d.Purpose, d.Anomaly.Signals = "care", names[:n]
			p := charger()
			p.Signals[4].Purposes = []string{"care"}
			ctx := b.Context()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			e, err := condition.NewEvaluator(everyone, []condition.Definition{{Product: p, Detectors: []condition.Detector{d}}})
			require.NoError(b, err)
			for u := range int64(units) {
				require.NoError(b, e.Mark(ctx, &telemetry.Mark{Kind: telemetry.MarkConsent, Unit: u + 1, At: minutes(0), Text: "care"}))
			}
			r := telemetry.Row{Values: []telemetry.Value{{Signal: names[0]}, {Signal: names[1]}, {Signal: names[2]}}}
			row := func(i int) {
				minute := 5 * (i/units + 1)
				r.Unit, r.Event, r.Received = int64(i%units)+1, minutes(minute), minutes(minute)
				for s := range r.Values {
					r.Values[s].Number = float64(50 + (i*(s+3)+minute)%11)
				}
				if err := e.Row(ctx, &r); err != nil {
					b.Fatal(err)
				}
			}
			warm := 3000 * units
			for i := range warm {
				row(i)
			}
			e.Drain(func(*condition.Finding) {})
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				row(warm + i)
			}
			b.StopTimer()
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/units, "heap-B/unit")
			c, err := e.Take(b.Context())
			require.NoError(b, err)
			size := 0
			for _, s := range c.States {
				size += len(s.Data)
			}
			b.ReportMetric(float64(size)/float64(max(len(c.States), 1)), "state-B/unit")
		})
	}
}
