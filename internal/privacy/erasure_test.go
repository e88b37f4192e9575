package privacy_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/privacy"
	store "fettle.dev/fettle/internal/sqldb/privacy"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/sqldb/trail"
)

// A process that dies in any step, before or after what the step does, leaves
// an erasure that another one ends.
func TestErasureResumes(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	ctx := t.Context()
	log := slog.New(slog.DiscardHandler)
	require.NoError(t, db.Fleet().PutProduct(ctx, fleet.Product{Name: "p"}))
	wall := clock.NewManual(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC))
	died := errors.New("the process died")
	for round := range 2 { // before and after what the step does
		for at := range privacy.Steps {
			o, err := db.Fleet().PutOwner(ctx, fleet.Owner{ID: clock.Random{}.ID(), Email: "ada@example.org", Name: "Ada"})
			require.NoError(t, err)
			require.NoError(t, db.Fleet().PutUnits(ctx, []fleet.Unit{{ID: "U", Key: 1, Product: "p", Serial: "U", OwnerID: o.ID, State: fleet.UnitActive}}))
			crash, calls := true, map[string]int{}
			do := func(step int, name string) error {
				if crash && step == at && round == 0 {
					return died
				}
				calls[name]++
				if crash && step == at {
					return died
				}
				return nil
			}
			stores := privacy.Stores{
				Stop:      func(context.Context, *privacy.Subject) error { return do(0, "stop") },
				Unlinked:  func(context.Context, *privacy.Subject) error { return do(1, "unlinked") },
				Changed:   func(context.Context, *privacy.Subject) error { return do(2, "changed") },
				Last:      func(context.Context) (uint64, error) { return 7, nil },
				Settled:   func(context.Context, uint64) error { return nil },
				Detectors: func(context.Context, *privacy.Subject) error { return do(3, "detectors") },
				History:   func(context.Context, *privacy.Subject) error { return do(4, "history") },
				Stream:    func(context.Context, uint64) error { return do(5, "stream") },
				Files:     func(context.Context, *privacy.Subject) (map[string]int, error) { return nil, do(6, "files") },
			}
			service := func() *privacy.Service {
				tr := audit.New(audit.Config{Store: trail.New(db), Tx: db, Clock: wall, Log: log})
				return privacy.NewService(privacy.Config{Store: store.New(db), Tx: db, Fleet: db.Fleet(), Trail: tr, Stores: stores, Clock: wall, IDs: clock.Random{}, Log: log})
			}
			j, secret, err := service().Erase(ctx, o.ID, "owner")
			require.NoError(t, err)
			failed, err := service().Work(ctx)
			require.NoError(t, err)
			require.Equal(t, at < 7, failed, "steps 7 and 8 are the records' own")
			crash = false
			failed, err = service().Work(ctx)
			require.NoError(t, err)
			require.False(t, failed)
			done, err := store.New(db).Job(ctx, j.ID)
			require.NoError(t, err)
			require.False(t, done.EndedAt.IsZero())
			require.Nil(t, done.Subject, "the receipt names nobody")
			require.Equal(t, privacy.Proof("ADA@example.org", secret), done.Receipt().Proof)
			require.Equal(t, len(privacy.Steps), done.Receipt().Done)
			_, err = db.Fleet().Owner(ctx, o.ID)
			require.Equal(t, fault.NotFound, fault.KindOf(err))
		}
	}
	require.Equal(t, time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC), privacy.Due(wall.Now()), "a month that has no such day")
	require.Equal(t, time.Date(2026, 4, 30, 12, 0, 0, 0, time.UTC), privacy.Extended(wall.Now()))
}
