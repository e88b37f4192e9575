package sqldb_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

func TestConsent(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, f, ctx := db.Consent(), db.Fleet(), t.Context()
		putProduct(t, f)
		require.NoError(t, f.PutProduct(ctx, fleet.Product{Name: "bike"}))
		bike := charger(3)
		bike.Product = "bike"
		require.NoError(t, f.PutUnits(ctx, []fleet.Unit{charger(1), charger(2), bike}))

		choice := func(id, unit, purpose string, given bool) consent.Choice {
			return consent.Choice{ID: id, UnitID: unit, Purpose: purpose, Given: given, At: start, Notice: "1", By: "owner:o1"}
		}
		m, err := s.Mask(ctx, "WC-000001")
		require.NoError(t, err)
		require.Equal(t, consent.Mask{}, m, "no choice means no")

		require.NoError(t, s.AddChoices(ctx, nil))
		first, second := choice("c1", "WC-000001", "care", true), choice("c2", "WC-000001", "care", false)
		second.At = start.Add(-time.Minute) // the latest added counts, whatever a clock says
		require.NoError(t, s.AddChoices(ctx, []consent.Choice{first, second, choice("c3", "WC-000001", "ads", true), choice("c4", "WC-000003", "care", true)}))
		require.NoError(t, s.AddChoices(ctx, []consent.Choice{choice("c5", "WC-000001", "ads", false)}))

		m, err = s.Mask(ctx, "WC-000001")
		require.NoError(t, err)
		require.Equal(t, consent.Mask{"care": false, "ads": false}, m)
		all, err := s.Masks(ctx, "wall-charger")
		require.NoError(t, err)
		require.Equal(t, map[string]consent.Mask{"WC-000001": {"care": false, "ads": false}}, all)
		all, err = s.Masks(ctx, "bike")
		require.NoError(t, err)
		require.Equal(t, map[string]consent.Mask{"WC-000003": {"care": true}}, all)

		history, err := s.Choices(ctx, "WC-000001")
		require.NoError(t, err)
		require.Equal(t, []consent.Choice{first, second, choice("c3", "WC-000001", "ads", true), choice("c5", "WC-000001", "ads", false)}, history)

		err = s.AddChoices(ctx, []consent.Choice{choice("c6", "WC-000001", "care", true), choice("c7", "WC-9", "care", true)})
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		m, err = s.Mask(ctx, "WC-000001")
		require.NoError(t, err)
		require.False(t, m["care"], "all or nothing")

		// The proof outlives the unit, the permission does not.
		require.NoError(t, f.DeleteUnit(ctx, "WC-000003"))
		require.NoError(t, f.PutUnits(ctx, []fleet.Unit{bike}))
		m, err = s.Mask(ctx, "WC-000003")
		require.NoError(t, err)
		require.Empty(t, m)
		history, err = s.Choices(ctx, "WC-000003")
		require.NoError(t, err)
		require.Len(t, history, 1)
	})
}
