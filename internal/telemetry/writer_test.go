package telemetry_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

var quiet = slog.New(slog.DiscardHandler)

// declared is a catalogue of products.
type declared map[string]map[string]string

func (d declared) Signals(_ context.Context, product string) (map[string]string, error) {
	if s, ok := d[product]; ok {
		return s, nil
	}
	return nil, fault.New(fault.NotFound, "no product %s", product)
}

// faulty is a history that can be told to fail.
type faulty struct {
	telemetry.History
	failing  atomic.Int32 // appends that fail before
	doubting atomic.Int32 // appends that fail although they were done
	appends  atomic.Int32
}

var errFaulty = errors.New("disk is full")

func (f *faulty) Append(ctx context.Context, batches []telemetry.Sequenced) error {
	f.appends.Add(1)
	if f.failing.Add(-1) >= 0 {
		return errFaulty
	}
	err := f.History.Append(ctx, batches)
	if f.doubting.Add(-1) >= 0 {
		return errFaulty
	}
	return err
}

type rig struct {
	stream  *bus.Bus
	history *faulty
	writer  *telemetry.Writer
	stop    func() error
}

func newRig(t *testing.T, cfg telemetry.WriterConfig) *rig {
	t.Helper()
	stream, err := bus.Open(t.Context(), bus.Config{Dir: t.TempDir()}, quiet)
	require.NoError(t, err)
	t.Cleanup(func() { _ = stream.Close() })
	history, err := duckdb.Open(t.Context(), duckdb.Config{Dir: t.TempDir()}, quiet)
	require.NoError(t, err)
	t.Cleanup(func() { _ = history.Close() })
	r := &rig{stream: stream, history: &faulty{History: history}}
	products := declared{"wall-charger": {"current": "number", "charging": "boolean"}}
	r.writer = telemetry.NewWriter(stream, r.history, products, cfg, quiet)
	return r
}

func (r *rig) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.writer.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { require.ErrorIs(t, r.stop(), context.Canceled) })
}

// publish publishes batches and gives the last position.
func (r *rig) publish(t *testing.T, batches ...*telemetry.Batch) uint64 {
	t.Helper()
	for _, b := range batches {
		require.NoError(t, r.stream.Publish(t.Context(), b))
	}
	last, err := r.stream.Last(t.Context())
	require.NoError(t, err)
	return last
}

func (r *rig) wait(t *testing.T, seq uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, r.writer.WaitFor(ctx, seq))
	require.GreaterOrEqual(t, r.writer.Applied(), seq)
}

func (r *rig) stored(t *testing.T) (stored, duplicate int64) {
	t.Helper()
	list, err := r.history.Accounts(t.Context(), nil)
	require.NoError(t, err)
	for _, a := range list {
		stored += a.Stored
		duplicate += a.Duplicate
	}
	return stored, duplicate
}

func charge(n int) *telemetry.Batch {
	return &telemetry.Batch{Product: "wall-charger", Rows: []telemetry.Row{{
		Unit: int64(n%10 + 1), Event: int64(n), Received: int64(n),
		Values: []telemetry.Value{{Signal: "current", Number: float64(n)}, {Signal: "charging", Number: 1}},
	}}}
}

func TestWriterCopiesTheStream(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	r := newRig(t, telemetry.WriterConfig{Written: func(w telemetry.Written) { written.Add(int64(w.Rows)) }})
	r.publish(t, charge(0), charge(1))
	lag, err := r.writer.Lag(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, lag)
	r.run(t)
	unknown := &telemetry.Batch{Product: "no longer declared", Rows: []telemetry.Row{{Unit: 99, Values: []telemetry.Value{{Signal: "x", Number: 1}}}}}
	last := r.publish(t, charge(2), unknown, &telemetry.Batch{Marks: []telemetry.Mark{{Kind: telemetry.MarkTick, At: 5}}})
	r.wait(t, last)
	stored, duplicate := r.stored(t)
	require.EqualValues(t, 7, stored)
	require.Zero(t, duplicate)
	require.EqualValues(t, 4, written.Load())
	lag, err = r.writer.Lag(t.Context())
	require.NoError(t, err)
	require.Zero(t, lag)
	r.wait(t, 0)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, r.writer.WaitFor(ctx, last+1), context.DeadlineExceeded)
}

// Nobody waits: what has arrived is written within the interval, and many
// small batches share a transaction.
func TestWriterPacks(t *testing.T) {
	t.Parallel()
	r := newRig(t, telemetry.WriterConfig{Interval: 300 * time.Millisecond})
	r.run(t)
	var last uint64
	for i := range 100 {
		last = r.publish(t, charge(i))
	}
	require.Eventually(t, func() bool { return r.writer.Applied() == last }, time.Minute, 10*time.Millisecond)
	require.Less(t, int(r.history.appends.Load()), 30)
	stored, _ := r.stored(t)
	require.EqualValues(t, 200, stored)
}

// As many rows as may be written at once do not wait.
func TestWriterDoesNotWaitForMore(t *testing.T) {
	t.Parallel()
	r := newRig(t, telemetry.WriterConfig{Rows: 10, Interval: time.Hour})
	r.run(t)
	for i := range 10 {
		r.publish(t, charge(i))
	}
	require.Eventually(t, func() bool { return r.writer.Applied() == 10 }, time.Minute, 10*time.Millisecond)
}

func TestWriterTriesAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, telemetry.WriterConfig{Backoff: time.Millisecond})
	r.history.failing.Store(3)
	last := r.publish(t, charge(0), charge(1))
	r.run(t)
	r.wait(t, last)
	require.GreaterOrEqual(t, int(r.history.appends.Load()), 4)

	// A transaction that was committed but reported as failed is not repeated.
	r.history.doubting.Store(1)
	last = r.publish(t, charge(2))
	r.wait(t, last)
	require.Less(t, r.history.doubting.Load(), int32(1))
	stored, duplicate := r.stored(t)
	require.EqualValues(t, 6, stored)
	require.Zero(t, duplicate)
}

// A writer that starts anew goes on from history's position.
func TestWriterGoesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, telemetry.WriterConfig{Interval: time.Hour})
	r.run(t)
	r.wait(t, r.publish(t, charge(0)))
	r.publish(t, charge(1)) // waits for the interval
	require.ErrorIs(t, r.stop(), context.Canceled)
	r.writer = telemetry.NewWriter(r.stream, r.history, declared{}, telemetry.WriterConfig{}, quiet)
	r.run(t)
	r.wait(t, r.publish(t, charge(2)))
	stored, duplicate := r.stored(t)
	require.EqualValues(t, 6, stored)
	require.Zero(t, duplicate)
}
