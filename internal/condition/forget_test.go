package condition_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

// What was forgotten of a unit is not kept again out of memory.
func TestWatcherForgets(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	equip(t, db, true)
	batches := example(3)
	s := &played{batches: batches, pause: time.Microsecond}
	w := watcher(db, s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	require.Eventually(t, func() bool { return w.Position() == uint64(len(batches)) }, time.Minute, 5*time.Millisecond)
	states := func() map[int64]bool {
		out := map[int64]bool{}
		_, err := db.Condition().Load(t.Context(), "all", func(_ context.Context, states []condition.State) error {
			for _, st := range states {
				out[st.UnitKey] = true
			}
			return nil
		})
		require.NoError(t, err)
		return out
	}
	before := states()
	var key int64
	for k := range before { // 0 is the stream as a whole
		key = max(key, k)
	}
	require.NotZero(t, key)
	drop := func(ctx context.Context) error {
		_, err := db.Exec(ctx, `DELETE FROM condition_state WHERE unit_key = ?`, key)
		return err
	}
	require.NoError(t, w.Forget(t.Context(), drop))
	require.NotContains(t, states(), key)
	require.Len(t, states(), len(before)-1)
	cancel()
	require.NoError(t, <-done)
	require.NotContains(t, states(), key, "nor when it ends")
	require.NoError(t, w.Forget(t.Context(), drop), "one that does not run")
}
