package condition_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	watching "fettle.dev/fettle/internal/condition/watch"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/telemetry"
)

// gated is a store in which reading the detectors can be held up.
type gated struct {
	condition.Store
	armed   atomic.Bool
	entered chan struct{} // closed when the reader is held up
	open    chan struct{} // closed to let it go on
}

func (g *gated) Detectors(ctx context.Context, product string) ([]condition.Detector, error) {
	if g.armed.CompareAndSwap(true, false) {
		close(g.entered)
		select {
		case <-g.open:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return g.Store.Detectors(ctx, product)
}

// A row that comes while a detector that was told before is still being read
// waits for it: it is judged with the detector, by whichever of the watcher's
// goroutines the change was noticed.
func TestRowsWaitForADetectorThatWasToldBefore(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := sqldbtest.SQLite(t)
	require.NoError(t, db.Fleet().PutProduct(ctx, charger()))
	require.NoError(t, db.Fleet().PutUnits(ctx, []fleet.Unit{{ID: "WC-1", Key: 1, Product: "wall-charger", Serial: "1", State: fleet.UnitActive, CreatedAt: start}}))
	store := &gated{Store: db.Condition(), entered: make(chan struct{}), open: make(chan struct{})}
	live := make(chan telemetry.Sequenced)
	w := watching.New(watching.Config{
		Stream: channel{live}, Store: store, Fleet: db.Fleet(), Tx: db, Prompt: time.Millisecond, Idle: time.Millisecond,
	})
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.Run(running) }()
	at := func(seq uint64) {
		require.Eventually(t, func() bool { return w.Position() == seq }, time.Minute, time.Millisecond)
	}
	live <- telemetry.Sequenced{Seq: 1, Batch: &telemetry.Batch{Product: "wall-charger", Marks: []telemetry.Mark{
		{Kind: telemetry.MarkConsent, Unit: 1, At: minutes(0), Text: "care"},
	}}}
	at(1)

	// The look for changes is under way, and has not come to its end...
	service := condition.NewService(condition.Config{Store: db.Condition(), Fleet: db.Fleet(), Changed: func() {
		store.armed.Store(true)
		w.Reload()
	}})
	_, err := service.PutDetector(ctx, detectors()[1])
	require.NoError(t, err)
	<-store.entered
	// ...when the one row comes that breaches.
	row := telemetry.Row{Unit: 1, Event: minutes(1), Received: minutes(1), Values: []telemetry.Value{
		{Signal: "plug_temperature", Number: 90}, {Signal: "current", Number: 20},
	}}
	live <- telemetry.Sequenced{Seq: 2, Batch: &telemetry.Batch{Product: "wall-charger", Rows: []telemetry.Row{row}}}
	require.Never(t, func() bool { return w.Position() == 2 }, 100*time.Millisecond, 5*time.Millisecond, "it is not judged without the detector")
	close(store.open)
	at(2)
	stop()
	require.NoError(t, <-done)
	found, err := db.Condition().Findings(ctx, condition.FindingFilter{Detector: "quick"})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.True(t, found[0].Onset.Equal(time.UnixMilli(minutes(1))), "%v", found[0].Onset)
}
