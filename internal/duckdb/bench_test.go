package duckdb_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/telemetry"
)

// fleet makes rows of chargers in turn: five signals, one of them true or
// false, as the demo sends them.
type fleet struct {
	units []int64
	r     *rand.Rand
	seq   uint64
	next  int
}

func newFleet(n int) *fleet {
	f := &fleet{r: rand.New(rand.NewPCG(1, 2))}
	for range n {
		f.units = append(f.units, f.r.Int64())
	}
	return f
}

func (f *fleet) batch(rows int) telemetry.Sequenced {
	b := &telemetry.Batch{Product: "wall-charger", Rows: make([]telemetry.Row, rows)}
	for i := range b.Rows {
		at := int64(1_400_000_000_000) + int64(f.next)*10
		b.Rows[i] = telemetry.Row{
			Unit: f.units[f.next%len(f.units)], Event: at - int64(f.r.IntN(500)), Received: at, Sequence: int64(f.next),
			Values: []telemetry.Value{
				{Signal: "current", Number: math.Round(f.r.Float64()*160) / 10},
				{Signal: "plug_temperature", Number: math.Round(f.r.Float64()*800) / 10},
				{Signal: "ambient_temperature", Number: math.Round(f.r.Float64()*200) / 10},
				{Signal: "energy", Number: math.Round(f.r.Float64()*1000) / 100},
				{Signal: "charging", Number: float64(f.r.IntN(2))},
			},
		}
		f.next++
	}
	f.seq++
	return telemetry.Sequenced{Seq: f.seq, Batch: b}
}

func benchOpen(b *testing.B) *duckdb.History {
	b.Helper()
	h, err := duckdb.Open(b.Context(), duckdb.Config{Dir: b.TempDir()}, quiet)
	require.NoError(b, err)
	b.Cleanup(func() { _ = h.Close() })
	return h
}

// BenchmarkAppend appends commits of so many rows, 29,222 units in turn.
func BenchmarkAppend(b *testing.B) {
	for _, rows := range []int{500, 5000, 20000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			h, f := benchOpen(b), newFleet(29222)
			require.NoError(b, h.Append(b.Context(), []telemetry.Sequenced{f.batch(10)}))
			var took time.Duration
			for b.Loop() {
				batch := []telemetry.Sequenced{f.batch(rows)}
				began := time.Now()
				if err := h.Append(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
				took += time.Since(began)
			}
			b.ReportMetric(float64(b.N*rows)/took.Seconds(), "rows/s")
		})
	}
}

// BenchmarkAppendLate appends rows of which a hundredth must be looked up
// among two million.
func BenchmarkAppendLate(b *testing.B) {
	h, f := filled(b, 2_000_000)
	b.ResetTimer()
	for b.Loop() {
		batch := f.batch(5000)
		for i := 0; i < 5000; i += 100 {
			batch.Batch.Rows[i].Event -= 10_000_000
		}
		require.NoError(b, h.Append(b.Context(), []telemetry.Sequenced{batch}))
	}
	b.ReportMetric(float64(b.N*5000)/b.Elapsed().Seconds(), "rows/s")
}

func filled(b *testing.B, rows int) (*duckdb.History, *fleet) {
	b.Helper()
	h, f := benchOpen(b), newFleet(29222)
	for range rows / 20000 {
		require.NoError(b, h.Append(b.Context(), []telemetry.Sequenced{f.batch(20000)}))
	}
	return h, f
}

// BenchmarkQueries asks a history of two million rows.
func BenchmarkQueries(b *testing.B) {
	const rows = 2_000_000
	h, f := filled(b, rows)
	replay := func(b *testing.B, q telemetry.Query, want int) {
		b.Helper()
		q.Product = "wall-charger"
		for b.Loop() {
			n := 0
			require.NoError(b, h.Replay(b.Context(), q, func(*telemetry.Stored, *telemetry.StoredMark) error {
				n++
				return nil
			}))
			require.Equal(b, want, n)
		}
		b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
	}
	b.Run("replay all signals", func(b *testing.B) { replay(b, telemetry.Query{}, rows) })
	b.Run("replay two signals", func(b *testing.B) {
		replay(b, telemetry.Query{Signals: []string{"current", "plug_temperature"}}, rows)
	})
	b.Run("replay half the units", func(b *testing.B) {
		n := 0
		for i := range rows {
			if i%len(f.units) < len(f.units)/2 {
				n++
			}
		}
		replay(b, telemetry.Query{Units: f.units[:len(f.units)/2]}, n)
	})
	b.Run("replay ten units", func(b *testing.B) {
		n := 0
		for i := range rows {
			if i%len(f.units) < 10 {
				n++
			}
		}
		replay(b, telemetry.Query{Units: f.units[:10]}, n)
	})
	b.Run("latest", func(b *testing.B) {
		for b.Loop() {
			l, err := h.Latest(b.Context(), "wall-charger", f.units[b.N%100])
			require.NoError(b, err)
			require.Len(b, l, 5)
		}
	})
	b.Run("series", func(b *testing.B) {
		for b.Loop() {
			p, err := h.Series(b.Context(), "wall-charger", f.units[b.N%100], "plug_temperature", time.Time{}, time.Time{}, 500)
			require.NoError(b, err)
			require.NotEmpty(b, p)
		}
	})
	b.Run("accounts of all", func(b *testing.B) {
		for b.Loop() {
			a, err := h.Accounts(b.Context(), nil)
			require.NoError(b, err)
			require.Len(b, a, len(f.units))
		}
	})
	b.Run("accounts of one", func(b *testing.B) {
		for b.Loop() {
			a, err := h.Accounts(b.Context(), f.units[:1])
			require.NoError(b, err)
			require.Len(b, a, 1)
		}
	})
	b.Run("extent", func(b *testing.B) {
		for b.Loop() {
			_, _, err := h.Extent(b.Context(), "wall-charger")
			require.NoError(b, err)
		}
	})
}
