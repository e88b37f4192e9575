package condition_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	watching "fettle.dev/fettle/internal/condition/watch"
	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/telemetry"
)

// trimmed is a stream that begins with an entry.
type trimmed struct {
	played
	first uint64
}

func (s *trimmed) Consume(ctx context.Context, from uint64, most int, handle func(context.Context, []telemetry.Sequenced) error) error {
	if from+1 < s.first {
		return &telemetry.GapError{Position: from, First: s.first}
	}
	return s.played.Consume(ctx, from, most, handle)
}

// What the stream no longer holds, history tells: the same is found, each told
// once, and what nobody holds is counted and left out.
func TestWatcherTakesFromHistoryWhatTheStreamLost(t *testing.T) {
	t.Parallel()
	batches := example(7)
	last := uint64(len(batches))
	for name, c := range map[string]struct {
		first, stored uint64 // entry that the stream begins with; those that history holds
		missed        uint64
	}{
		"history holds all of it":  {first: 2*last/3 + 1, stored: last},
		"history holds some of it": {first: 2*last/3 + 1, stored: last / 3, missed: 2*last/3 - last/3},
		"the stream is empty":      {first: last + 1, stored: last},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := sqldbtest.SQLite(t)
			equip(t, db, true)
			h, err := duckdb.Open(t.Context(), duckdb.Config{Dir: t.TempDir(), SealRows: 500}, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, h.Close()) })
			var stored []telemetry.Sequenced
			for i, b := range batches[:c.stored] {
				stored = append(stored, telemetry.Sequenced{Seq: uint64(i + 1), Batch: b})
			}
			require.NoError(t, h.Append(t.Context(), stored))
			require.NoError(t, h.Compact(t.Context()))

			w := watching.New(watching.Config{
				Stream: &trimmed{played{batches: batches, pause: 100 * time.Microsecond}, c.first},
				Store:  db.Condition(), Fleet: db.Fleet(), Tx: db, History: h, Prompt: 5 * time.Millisecond, Idle: 20 * time.Millisecond, Memory: 1, // all that may go goes
				Told: tellOnce(db),
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx) }()
			require.Eventually(t, func() bool { return w.Position() == last }, time.Minute, time.Millisecond)
			cancel()
			require.NoError(t, <-done)
			fromHistory, missed := w.Bridged()
			require.Equal(t, c.first-1-c.missed, fromHistory)
			require.Equal(t, c.missed, missed)
			if c.missed == 0 {
				compare(t, db, batches)
			}
		})
	}
}
