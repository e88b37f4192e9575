package bustest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

func survivesRestart(t *testing.T, s Server) {
	t.Helper()
	b := open(t, s.Config)
	for i := range 50 {
		require.NoError(t, b.Publish(t.Context(), rows(1, int64(i))))
	}
	reopen := func() {
		require.NoError(t, b.Close())
		if s.Restart != nil {
			s.Restart(t)
		}
		b = open(t, s.Config)
	}
	reopen()
	require.Len(t, collect(t, b, 0, 50), 50)

	// Trimmed as far as may be, the sequence goes on where it was.
	s.Config.MaxAge = time.Nanosecond
	reopen()
	removed, err := b.Trim(t.Context(), 1000)
	require.NoError(t, err)
	require.EqualValues(t, 49, removed)
	reopen()
	last, err := b.Last(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 50, last)
	require.NoError(t, b.Publish(t.Context(), rows(1, 99)))
	require.EqualValues(t, 51, collect(t, b, 50, 1)[0].Seq)
}

func gaps(t *testing.T, s Server) {
	t.Helper()
	s.Config.MaxAge = time.Nanosecond
	b := open(t, s.Config)
	never := func(context.Context, []telemetry.Sequenced) error { return errors.New("nothing should come") }
	err := b.Consume(t.Context(), 5, 10, never)
	require.ErrorIs(t, err, bus.ErrGap, "a position that the stream never reached")

	for i := range 20 {
		require.NoError(t, b.Publish(t.Context(), rows(1, int64(i))))
	}
	removed, err := b.Trim(t.Context(), 10)
	require.NoError(t, err)
	require.EqualValues(t, 10, removed)
	err = b.Consume(t.Context(), 9, 10, never)
	require.ErrorIs(t, err, bus.ErrGap)
	require.ErrorContains(t, err, "position is 9")
	require.ErrorContains(t, err, "begins with entry 11")
	require.EqualValues(t, 11, collect(t, b, 10, 10)[0].Seq)
}

func refusesWhenFull(t *testing.T, s Server) {
	t.Helper()
	s.Config.MaxBytes = 64 << 10
	b := open(t, s.Config)
	published := 0
	var err error
	for range 100 {
		if err = b.Publish(t.Context(), rows(100, int64(published))); err != nil {
			break
		}
		published++
	}
	require.ErrorIs(t, err, bus.ErrFull)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Positive(t, published)
	require.Len(t, collect(t, b, 0, published), published, "what was acknowledged is still there")

	// What is read may go, although it is young.
	removed, err := b.Trim(t.Context(), uint64(published))
	require.NoError(t, err)
	require.Positive(t, removed)
	require.Less(t, removed, uint64(published))
	require.NoError(t, b.Publish(t.Context(), rows(100, 0)))
	require.NoError(t, b.Ready(t.Context()))
}

func keepsTheYoung(t *testing.T, s Server) {
	t.Helper()
	s.Config.MaxAge = 2 * time.Second
	b := open(t, s.Config)
	for i := range 10 {
		require.NoError(t, b.Publish(t.Context(), rows(1, int64(i))))
	}
	removed, err := b.Trim(t.Context(), 10)
	require.NoError(t, err)
	require.Zero(t, removed)
	time.Sleep(s.Config.MaxAge + 200*time.Millisecond)
	for i := range 10 {
		require.NoError(t, b.Publish(t.Context(), rows(1, int64(i))))
	}
	removed, err = b.Trim(t.Context(), 5)
	require.NoError(t, err)
	require.EqualValues(t, 5, removed, "no more than all have read")
	removed, err = b.Trim(t.Context(), 20)
	require.NoError(t, err)
	require.EqualValues(t, 5, removed, "no more than is old")
}

func backup(t *testing.T, s Server) {
	t.Helper()
	s.Config.MaxAge = time.Nanosecond
	b := open(t, s.Config)
	for i := range 30 {
		require.NoError(t, b.Publish(t.Context(), rows(3, int64(i))))
	}
	_, err := b.Trim(t.Context(), 10)
	require.NoError(t, err)
	want := collect(t, b, 10, 20)
	dir := t.TempDir()
	require.NoError(t, b.Backup(t.Context(), dir))

	log := slog.New(slog.DiscardHandler)
	other := s.Config
	if other.URL == "" {
		other.Dir = t.TempDir()
	} else {
		other.Stream = "restored"
	}
	require.NoError(t, bus.Restore(t.Context(), other, dir, log))
	err = bus.Restore(t.Context(), other, dir, log)
	require.Equal(t, fault.Conflict, fault.KindOf(err), "%v", err)

	restored := open(t, other)
	require.Equal(t, want, collect(t, restored, 10, 20))
	require.NoError(t, restored.Publish(t.Context(), rows(1, 1)))
	require.EqualValues(t, 31, collect(t, restored, 30, 1)[0].Seq)
}

func publishesNothing(t *testing.T, s Server) {
	t.Helper()
	b := open(t, s.Config)
	require.NoError(t, b.Publish(t.Context(), &telemetry.Batch{Product: "charger"}))
	last, err := b.Last(t.Context())
	require.NoError(t, err)
	require.Zero(t, last)
}

func trimBehindConsumer(t *testing.T, s Server) {
	t.Helper()
	s.Config.MaxAge = time.Nanosecond
	b := open(t, s.Config)
	const n = 300
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			if err := b.Publish(t.Context(), rows(1, int64(i))); err != nil {
				t.Error(err)
			}
		}
	})
	seen := 0
	err := b.Consume(t.Context(), 0, 10, func(ctx context.Context, batches []telemetry.Sequenced) error {
		if seen += len(batches); seen == n {
			return errEnough
		}
		_, err := b.Trim(ctx, batches[len(batches)-1].Seq)
		return err
	})
	require.ErrorIs(t, err, errEnough)
	wg.Wait()
}
