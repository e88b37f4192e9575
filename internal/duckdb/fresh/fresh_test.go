package fresh_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/duckdb/fresh"
	"fettle.dev/fettle/internal/telemetry"
)

// What is answered from memory is all that is stored of the span, however far
// clocks are ahead, or it is not answered. (That it is what tables tell is a
// test of history.)
func TestSpansThatAreWhole(t *testing.T) {
	t.Parallel()
	const product, first = "charger", int64(1_000_000)
	batch := func(event, received int64, rows int) []telemetry.Sequenced {
		b := &telemetry.Batch{Product: product}
		for i := range rows {
			b.Rows = append(b.Rows, telemetry.Row{Unit: int64(i), Event: event, Received: received, Values: []telemetry.Value{{Signal: "current", Number: 1}}})
		}
		return []telemetry.Sequenced{{Seq: 1, Batch: b}}
	}
	r := fresh.New(100 * 128) // a hundred rows
	count := func(from int64) (n int64, done bool) {
		q := &telemetry.WindowQuery{Product: product, Signals: []string{"current"}, From: time.UnixMilli(from), Measures: telemetry.MeasureCount}
		done, err := r.Windows(q, from, from+1_000_000, func(w *telemetry.Window) error {
			n += w.Stats[0].Count
			return nil
		})
		require.NoError(t, err)
		return n, done
	}
	_, done := count(first)
	require.False(t, done, "nothing is known of the product")
	r.Begin(product, first)
	_, done = count(first)
	require.False(t, done, "something may be stored of that time")
	n, done := count(first + 1)
	require.True(t, done)
	require.Zero(t, n)

	r.Add(batch(first+500, first+10, 7), nil) // half a second ahead
	for i := range int64(5) {
		r.Add(batch(first+20+i, first+20+i, 50), nil)
	}
	_, done = count(first + 2)
	require.False(t, done, "what was first has gone")
	n, done = count(first + 23)
	require.True(t, done)
	require.EqualValues(t, 107, n, "rows that were ahead stay")
	r.Add(batch(first+600, first+30, 5000), nil)
	_, done = count(first + 550)
	require.False(t, done, "too many were ahead")
	n, done = count(first + 601)
	require.True(t, done)
	require.Zero(t, n)
	r.Add(batch(first+700, first+700, 1), nil)
	r.Drop()
	_, done = count(first + 650)
	require.False(t, done)
	_, done = count(first + 701)
	require.True(t, done)
	r.Forget()
	_, done = count(first + 701)
	require.False(t, done)
}
