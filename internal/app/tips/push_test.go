package tips

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/person"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	store "fettle.dev/fettle/internal/sqldb/tips"
	"fettle.dev/fettle/internal/tip"
)

// door writes down what people are told.
type door []notify.Telling

func (d *door) ToOwner(_ context.Context, t notify.Telling) (notify.Decision, error) {
	*d = append(*d, t)
	return notify.Decision{Verdict: notify.Told}, nil
}

// A tip is pushed to the unit's owner and to its drivers, each in their
// language: to those who had joined by then and have not switched it off.
func TestDriversGetPushedTips(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, at := t.Context(), time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
		join := func(id, locale string, at time.Time) {
			t.Helper()
			_, err := db.Fleet().PutOwner(ctx, fleet.Owner{ID: id, Email: id + "@example.org", Locale: locale})
			require.NoError(t, err)
			if id == "owner" {
				require.NoError(t, db.Fleet().PutProduct(ctx, fleet.Product{Name: "wall-charger"}))
				require.NoError(t, db.Fleet().PutUnits(ctx, []fleet.Unit{{ID: "WC-1", Key: 1, Product: "wall-charger", Serial: "1", State: fleet.UnitActive, OwnerID: id, CreatedAt: at}}))
			} else {
				require.NoError(t, person.New(db).PutDriver(ctx, people.DriverOf{UnitID: "WC-1", PersonID: id, JoinedAt: at}))
			}
		}
		join("owner", "en", at)
		join("driver", "de", at.Add(-time.Hour))
		join("late", "de", at.Add(time.Minute))
		join("off", "de", at.Add(-time.Hour))
		join("all-off", "de", at.Add(-time.Hour))
		require.NoError(t, store.New(db).SetSwitch(ctx, "off", "cool", true))
		require.NoError(t, store.New(db).SetSwitch(ctx, "all-off", "", true))

		var told door
		r := &Rooms{c: Config{Records: db, Fleet: db.Fleet()}}
		r.Through(&told)
		words := tip.Tip{Name: "cool", Title: map[string]string{"en": "Charge later", "de": "Später laden"}}
		require.NoError(t, r.push(ctx, tip.Given{ID: "g", UnitID: "WC-1", OwnerID: "owner", At: at, Until: at.Add(time.Hour)}, words))
		require.Len(t, told, 2)
		require.Equal(t, []any{"owner", "tip:g", "Charge later"}, []any{told[0].OwnerID, told[0].Key, told[0].Values["Title"]})
		require.Equal(t, []any{"driver", "tip:g:driver:driver", "Später laden"}, []any{told[1].OwnerID, told[1].Key, told[1].Values["Title"]})
	})
}
