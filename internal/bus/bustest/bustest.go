// Package bustest is the suite that the stream must pass over every kind of
// connection.
package bustest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// Server is what a bus is opened on. Every call of a Config's maker is a fresh,
// empty stream.
type Server struct {
	Config  bus.Config
	Restart func(t *testing.T) // the server, as roughly as can be; nil: opening anew does
}

// Run runs the suite; start makes a fresh, empty server.
func Run(t *testing.T, start func(t *testing.T) Server) {
	t.Helper()
	tests := map[string]func(t *testing.T, s Server){
		"order":       order,
		"from":        fromTheMiddle,
		"waiting":     asManyAsAreWaiting,
		"split":       splits,
		"too large":   refusesWhatNeverFits,
		"concurrent":  concurrent,
		"latency":     latency,
		"handle":      handleFails,
		"restart":     survivesRestart,
		"gap":         gaps,
		"full":        refusesWhenFull,
		"age":         keepsTheYoung,
		"backup":      backup,
		"nothing":     publishesNothing,
		"trim behind": trimBehindConsumer,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

func open(t *testing.T, cfg bus.Config) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func rows(n int, from int64) *telemetry.Batch {
	b := &telemetry.Batch{Product: "charger"}
	for i := range n {
		b.Rows = append(b.Rows, telemetry.Row{
			Unit: from + int64(i), Event: 1000, Received: 2000,
			Values: []telemetry.Value{{Signal: "current", Number: float64(from) + float64(i)}},
		})
	}
	return b
}

var errEnough = errors.New("enough")

// collect consumes after from until n entries have come.
func collect(t *testing.T, b *bus.Bus, from uint64, n int) []telemetry.Sequenced {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []telemetry.Sequenced
	err := b.Consume(ctx, from, 64, func(_ context.Context, batches []telemetry.Sequenced) error {
		got = append(got, batches...)
		if len(got) >= n {
			return errEnough
		}
		return nil
	})
	require.ErrorIs(t, err, errEnough, "%d of %d entries came", len(got), n)
	return got
}

func order(t *testing.T, s Server) {
	t.Helper()
	b := open(t, s.Config)
	last, err := b.Last(t.Context())
	require.NoError(t, err)
	require.Zero(t, last)

	mark := &telemetry.Batch{Marks: []telemetry.Mark{{Kind: telemetry.MarkTick, At: 5, Text: "1000"}}}
	var want []telemetry.Sequenced
	for i := range 200 {
		batch := rows(1, int64(i))
		if i%10 == 9 {
			batch = mark
		}
		require.NoError(t, b.Publish(t.Context(), batch))
		want = append(want, telemetry.Sequenced{Seq: uint64(i + 1), Batch: batch})
	}
	require.Equal(t, want, collect(t, b, 0, 200))
	last, err = b.Last(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 200, last)
}

func fromTheMiddle(t *testing.T, s Server) {
	t.Helper()
	b := open(t, s.Config)
	for i := range 20 {
		require.NoError(t, b.Publish(t.Context(), rows(1, int64(i))))
	}
	got := collect(t, b, 15, 5)
	require.Len(t, got, 5)
	require.EqualValues(t, 16, got[0].Seq)
	require.EqualValues(t, 15, got[0].Batch.Rows[0].Unit)
}

func asManyAsAreWaiting(t *testing.T, s Server) {
	t.Helper()
	b := open(t, s.Config)
	for i := range 100 {
		require.NoError(t, b.Publish(t.Context(), rows(1, int64(i))))
	}
	var sizes []int
	n := 0
	err := b.Consume(t.Context(), 0, 30, func(_ context.Context, batches []telemetry.Sequenced) error {
		time.Sleep(50 * time.Millisecond) // the others come meanwhile
		sizes = append(sizes, len(batches))
		if n += len(batches); n >= 100 {
			return errEnough
		}
		return nil
	})
	require.ErrorIs(t, err, errEnough)
	require.LessOrEqual(t, slices.Max(sizes), 30)
	require.Greater(t, slices.Max(sizes), 1)
}

func splits(t *testing.T, s Server) {
	t.Helper()
	if s.Config.URL == "" {
		s.Config.MaxPayload = 16 << 10
	}
	b := open(t, s.Config)
	text := make([]byte, 4000)
	for i := range text {
		text[i] = byte('a' + rand.IntN(26))
	}
	want := rows(1000, 1)
	for i := range want.Rows {
		want.Rows[i].Values = append(want.Rows[i].Values, telemetry.Value{Signal: "log", Text: string(text), IsText: true})
	}
	for i := range 3 {
		want.Marks = append(want.Marks, telemetry.Mark{Kind: telemetry.MarkContact, Unit: int64(i), At: 7})
	}
	require.NoError(t, b.Publish(t.Context(), want))

	last, err := b.Last(t.Context())
	require.NoError(t, err)
	require.Greater(t, last, uint64(3))
	got := &telemetry.Batch{Product: "charger"}
	for _, e := range collect(t, b, 0, int(last)) {
		require.Equal(t, "charger", e.Batch.Product)
		got.Rows = append(got.Rows, e.Batch.Rows...)
		got.Marks = append(got.Marks, e.Batch.Marks...)
	}
	require.Equal(t, want, got)
}

func refusesWhatNeverFits(t *testing.T, s Server) {
	t.Helper()
	b := open(t, s.Config)
	huge := &telemetry.Batch{Product: "charger", Rows: []telemetry.Row{{
		Unit: 1, Undeclared: 3,
		Values: []telemetry.Value{{Signal: "a", Text: string(make([]byte, 9<<20)), IsText: true}},
	}}}
	err := b.Publish(t.Context(), huge)
	require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)

	// Values that fit one by one are parted, and the counts counted once.
	huge.Rows[0].Values = nil
	for i := range 8 {
		huge.Rows[0].Values = append(huge.Rows[0].Values, telemetry.Value{Signal: fmt.Sprint(i), Text: string(make([]byte, 900<<10)), IsText: true})
	}
	require.NoError(t, b.Publish(t.Context(), huge))
	undeclared, values := 0, 0
	for _, e := range collect(t, b, 0, 8) {
		undeclared += e.Batch.Rows[0].Undeclared
		values += len(e.Batch.Rows[0].Values)
	}
	require.Equal(t, 3, undeclared)
	require.Equal(t, 8, values)
}

func concurrent(t *testing.T, s Server) {
	t.Helper()
	b := open(t, s.Config)
	const publishers, each = 8, 25
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				if err := b.Publish(t.Context(), rows(1, int64(p*1000+i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	got := collect(t, b, 0, publishers*each)
	wg.Wait()
	next := map[int64]int64{}
	for i, e := range got {
		require.EqualValues(t, i+1, e.Seq)
		unit := e.Batch.Rows[0].Unit
		require.Equal(t, next[unit/1000], unit%1000, "each publisher's order is kept")
		next[unit/1000]++
	}
	require.Len(t, next, publishers)
}

func latency(t *testing.T, s Server) {
	t.Helper()
	b := open(t, s.Config)
	arrived := make(chan uint64)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() {
		stopped <- b.Consume(ctx, 0, 10, func(ctx context.Context, batches []telemetry.Sequenced) error {
			for _, e := range batches {
				select {
				case arrived <- e.Seq:
				case <-ctx.Done():
				}
			}
			return nil
		})
	}()
	var took []time.Duration
	for i := range 20 {
		time.Sleep(20 * time.Millisecond) // so that the consumer is idle
		require.NoError(t, b.Publish(t.Context(), rows(1, int64(i))))
		published := clock.Real{}.Now()
		require.EqualValues(t, i+1, <-arrived)
		took = append(took, clock.Real{}.Now().Sub(published))
	}
	slices.Sort(took)
	require.Less(t, took[len(took)/2], 50*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-stopped, context.Canceled)
}

func handleFails(t *testing.T, s Server) {
	t.Helper()
	b := open(t, s.Config)
	require.NoError(t, b.Publish(t.Context(), rows(1, 1)))
	boom := errors.New("boom")
	calls := 0
	err := b.Consume(t.Context(), 0, 10, func(context.Context, []telemetry.Sequenced) error {
		calls++
		return boom
	})
	require.ErrorIs(t, err, boom)
	require.Equal(t, 1, calls)
	require.Len(t, collect(t, b, 0, 1), 1, "the entry is still there")
	require.Equal(t, fault.Invalid, fault.KindOf(b.Consume(t.Context(), 0, 0, nil)))
}
