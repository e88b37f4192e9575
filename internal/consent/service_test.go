package consent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

var noon = time.Date(2014, 1, 6, 12, 0, 0, 0, time.UTC)

func newService(t *testing.T, db *sqldb.DB, units int) (*consent.Service, *clock.Manual) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, db.Fleet().PutProduct(ctx, fleet.Product{
		Name: "wall-charger",
		Purposes: []fleet.Purpose{
			{Name: "care", Title: "Care", Description: "To warn you.", Basis: fleet.BasisConsent},
			{Name: "study", Title: "Study", Description: "To learn.", Basis: fleet.BasisConsent},
			{Name: "operation", Title: "Operation", Description: "To deliver updates.", Basis: fleet.BasisNecessary},
		},
	}))
	var all []fleet.Unit
	for i := 1; i <= units; i++ {
		all = append(all, fleet.Unit{ID: unit(i), Key: int64(i), Product: "wall-charger", Serial: unit(i), State: fleet.UnitActive, CreatedAt: noon})
	}
	require.NoError(t, db.Fleet().PutUnits(ctx, all))
	c := clock.NewManual(noon)
	return consent.NewService(db.Consent(), db.Fleet(), db, c, &clock.Sequence{Prefix: "c"}), c
}

func unit(n int) string { return fmt.Sprintf("WC-%06d", n) }

func TestChoices(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, clk := newService(t, db, 3)
		ctx := t.Context()
		var told []consent.Change
		s.OnChange(func(_ context.Context, c []consent.Change) error {
			told = append(told, c...)
			return nil
		})
		given, err := s.Give(ctx, unit(1), "care", "owner:o1", "v1")
		require.NoError(t, err)
		require.Equal(t, consent.Choice{ID: "c-1", UnitID: unit(1), Purpose: "care", Given: true, At: noon, Notice: "v1", By: "owner:o1"}, given)
		require.Equal(t, []consent.Change{{UnitID: unit(1), Key: 1, Product: "wall-charger", Mask: consent.Mask{"care": true}, Changes: 1}}, told)

		clk.Advance(time.Hour)
		again, err := s.Give(ctx, unit(1), "care", "owner:o1", "v1")
		require.NoError(t, err)
		require.Equal(t, given, again, "the receipt stands")
		require.Len(t, told, 1)
		withdrawn, err := s.Withdraw(ctx, unit(1), "care", "owner:o1", "v1")
		require.NoError(t, err)
		require.Equal(t, noon.Add(time.Hour), withdrawn.At)
		require.Equal(t, consent.Mask{"care": false}, told[1].Mask)

		_, err = s.Withdraw(ctx, unit(1), "operation", "owner:o1", "v1")
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		require.ErrorContains(t, err, "To deliver updates.")
		_, err = s.Give(ctx, unit(1), "ads", "owner:o1", "v1")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		_, err = s.Give(ctx, "WC-9", "care", "owner:o1", "v1")
		require.Equal(t, fault.NotFound, fault.KindOf(err))

		_, err = s.Give(ctx, unit(2), "care", "owner:o2", "v1")
		require.NoError(t, err)
		p, err := s.Permitted(ctx, "wall-charger", "care")
		require.NoError(t, err)
		require.Equal(t, map[int64]bool{1: false, 2: true, 3: false}, p)
		p, err = s.Permitted(ctx, "wall-charger", "operation")
		require.NoError(t, err)
		require.Equal(t, map[int64]bool{1: true, 2: true, 3: true}, p)
		_, err = s.Permitted(ctx, "wall-charger", "ads")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		history, err := s.Choices(ctx, unit(1))
		require.NoError(t, err)
		require.Equal(t, []consent.Choice{given, withdrawn}, history)

		// A change of owner resets consents.
		require.NoError(t, s.Reset(ctx, []string{unit(1), unit(2)}, "transfer"))
		require.NoError(t, s.Tell(ctx))
		m, err := s.Mask(ctx, unit(2))
		require.NoError(t, err)
		require.Equal(t, consent.Mask{"care": false}, m)
		require.Equal(t, unit(2), told[len(told)-1].UnitID)
	})
}

func TestImport(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		const n = 6000 // more than are told at once
		s, _ := newService(t, db, n)
		ctx := t.Context()
		told := map[string]int{}
		s.OnChange(func(_ context.Context, c []consent.Change) error {
			for _, v := range c {
				told[v.UnitID]++
				require.Equal(t, consent.Mask{"care": v.UnitID != unit(7)}, v.Mask)
			}
			return nil
		})
		_, err := s.Withdraw(ctx, unit(7), "care", "owner:o7", "v1")
		require.NoError(t, err)
		given := map[string][]string{}
		for i := 1; i <= n; i++ {
			given[unit(i)] = []string{"care", "care"}
		}
		added, err := s.Import(ctx, "wall-charger", given, "v1")
		require.NoError(t, err)
		require.Equal(t, n-1, added, "never over an owner's choice")
		require.NoError(t, s.Tell(ctx))
		require.Len(t, told, n)
		added, err = s.Import(ctx, "wall-charger", given, "v2")
		require.NoError(t, err)
		require.Zero(t, added, "at the first import only")
		require.NoError(t, s.Tell(ctx))
		for u, times := range told {
			require.Equal(t, 1, times, u)
		}

		_, err = s.Import(ctx, "wall-charger", map[string][]string{unit(1): {"study", "operation"}}, "v1")
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		_, err = s.Import(ctx, "wall-charger", map[string][]string{"WC-9": {"care"}}, "v1")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
}

// A hook that fails is told again, by Run, also after a restart.
func TestUntoldIsTold(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	s, _ := newService(t, db, 2)
	ctx := t.Context()
	s.OnChange(func(context.Context, []consent.Change) error { return errors.New("the stream is down") })
	_, err := s.Give(ctx, unit(1), "care", "owner:o1", "v1")
	require.ErrorContains(t, err, "it is kept, but does not act yet")

	restarted := consent.NewService(db.Consent(), db.Fleet(), db, clock.NewManual(noon), &clock.Sequence{Prefix: "d"})
	got := make(chan consent.Change, 10)
	restarted.OnChange(func(_ context.Context, c []consent.Change) error {
		for _, v := range c {
			got <- v
		}
		return nil
	})
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = restarted.Run(ctx, slog.New(slog.DiscardHandler)) })
	require.Equal(t, consent.Mask{"care": true}, (<-got).Mask)
	stop()
	wg.Wait()
	left, err := db.Consent().Untold(t.Context(), 10)
	require.NoError(t, err)
	require.LessOrEqual(t, len(left), 1, "at most the one being told when it stopped")
}

// What changed while it was being told is told again.
func TestChangeWhileTelling(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, _ := newService(t, db, 1)
		ctx := t.Context()
		var masks []consent.Mask
		s.OnChange(func(ctx context.Context, c []consent.Change) error {
			masks = append(masks, c[0].Mask)
			if len(masks) == 1 {
				return db.Consent().AddChoices(ctx, []consent.Choice{{ID: "x", UnitID: unit(1), Purpose: "care", Given: false, At: noon, By: "owner:o1"}})
			}
			return nil
		})
		_, err := s.Give(ctx, unit(1), "care", "owner:o1", "v1")
		require.NoError(t, err)
		require.NoError(t, s.Tell(ctx))
		require.Equal(t, []consent.Mask{{"care": true}, {"care": false}}, masks)
		require.NoError(t, s.Tell(ctx))
		require.Len(t, masks, 2)
	})
}
