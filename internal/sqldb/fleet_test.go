package sqldb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

var start = time.Date(2014, 1, 6, 8, 0, 0, 0, time.UTC)

func charger(n int) fleet.Unit {
	return fleet.Unit{
		ID: fmt.Sprintf("WC-%06d", n), Key: int64(1000 + n), Product: "wall-charger", Serial: fmt.Sprintf("S%06d", n),
		Hardware: "B", Batch: fmt.Sprintf("2013-%02d", n%12), Region: "NO", State: fleet.UnitActive, CreatedAt: start,
		Attributes: map[string]string{"plug": "NEMA 14-50"}, Versions: map[string]string{"software": "1.0.0"},
	}
}

func putProduct(t *testing.T, s fleet.Store) {
	t.Helper()
	require.NoError(t, s.PutProduct(t.Context(), fleet.Product{Name: "wall-charger", Title: "Wall charger"}))
}

func TestFleetProducts(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, ctx := db.Fleet(), t.Context()
		_, err := s.Product(ctx, "wall-charger")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		low := 3.5
		p := fleet.Product{
			Name: "wall-charger", Title: "Wall charger", SampleGap: fleet.Duration(time.Hour),
			Signals:    []fleet.Signal{{Name: "current", Type: fleet.Number, Unit: "A", Purposes: []string{"care"}, Retention: fleet.Duration(90 * 24 * time.Hour)}},
			Purposes:   []fleet.Purpose{{Name: "care", Basis: fleet.BasisConsent}},
			Tolerances: []fleet.Tolerance{{Name: "t", Signal: "current", Bands: []fleet.Band{{Min: &low}}}},
		}
		require.NoError(t, s.PutProduct(ctx, p))
		got, err := s.Product(ctx, "wall-charger")
		require.NoError(t, err)
		require.Equal(t, p, got)
		p.Title = "Wall charger 2"
		require.NoError(t, s.PutProduct(ctx, p))
		require.NoError(t, s.PutProduct(ctx, fleet.Product{Name: "bike"}))
		all, err := s.Products(ctx)
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.Equal(t, "bike", all[0].Name)
		require.Equal(t, "Wall charger 2", all[1].Title)
		require.NoError(t, s.DeleteProduct(ctx, "bike"))
		require.Equal(t, fault.NotFound, fault.KindOf(s.DeleteProduct(ctx, "bike")))
		require.NoError(t, s.PutUnits(ctx, []fleet.Unit{charger(1)}))
		require.Equal(t, fault.Conflict, fault.KindOf(s.DeleteProduct(ctx, "wall-charger")))
	})
}

func TestFleetUnits(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, ctx := db.Fleet(), t.Context()
		require.Equal(t, fault.NotFound, fault.KindOf(s.PutUnits(ctx, []fleet.Unit{charger(1)})), "no such product")
		putProduct(t, s)
		require.NoError(t, s.PutUnits(ctx, nil))
		require.NoError(t, s.PutUnits(ctx, []fleet.Unit{charger(1), charger(2), charger(3)}))
		got, err := s.Unit(ctx, "WC-000002")
		require.NoError(t, err)
		require.Equal(t, charger(2), got)
		got, err = s.UnitByKey(ctx, 1003)
		require.NoError(t, err)
		require.Equal(t, charger(3), got)
		_, err = s.Unit(ctx, "WC-9")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		_, err = s.UnitByKey(ctx, 9)
		require.Equal(t, fault.NotFound, fault.KindOf(err))

		// Reported versions are merged; an older report does not turn back the time.
		require.NoError(t, s.SetVersions(ctx, "WC-000002", map[string]string{"software": "2.0.0", "radio": "7"}, start.Add(time.Hour)))
		require.NoError(t, s.SetVersions(ctx, "WC-000002", map[string]string{"radio": "8"}, start.Add(2*time.Hour)))
		require.Equal(t, fault.NotFound, fault.KindOf(s.SetVersions(ctx, "WC-9", nil, start)))
		require.NoError(t, s.SetUnitState(ctx, "WC-000002", fleet.UnitRevoked))
		require.Equal(t, fault.NotFound, fault.KindOf(s.SetUnitState(ctx, "WC-9", fleet.UnitActive)))

		// Declared again: what was declared changes, the rest stays.
		again := charger(2)
		again.Key, again.Versions, again.State, again.CreatedAt = 77, nil, fleet.UnitActive, start.Add(time.Hour)
		again.Batch, again.Attributes = "2014-01", nil
		require.NoError(t, s.PutUnits(ctx, []fleet.Unit{charger(2), again}), "the same unit twice: the last counts")
		got, err = s.Unit(ctx, "WC-000002")
		require.NoError(t, err)
		require.Equal(t, int64(1002), got.Key)
		require.Equal(t, map[string]string{"software": "2.0.0", "radio": "8"}, got.Versions)
		require.Equal(t, start.Add(2*time.Hour), got.VersionAt)
		require.Equal(t, fleet.UnitRevoked, got.State)
		require.Equal(t, start, got.CreatedAt)
		require.Equal(t, "2014-01", got.Batch)
		require.Nil(t, got.Attributes)

		thief := charger(4)
		thief.Serial = "S000001"
		require.Equal(t, fault.Conflict, fault.KindOf(s.PutUnits(ctx, []fleet.Unit{charger(5), thief})))
		n, err := s.CountUnits(ctx, fleet.Filter{})
		require.NoError(t, err)
		require.Equal(t, 3, n, "all or nothing")

		require.NoError(t, s.DeleteUnit(ctx, "WC-000003"))
		require.Equal(t, fault.NotFound, fault.KindOf(s.DeleteUnit(ctx, "WC-000003")))
	})
}

func TestFleetFilter(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, ctx := db.Fleet(), t.Context()
		putProduct(t, s)
		require.NoError(t, s.PutProduct(ctx, fleet.Product{Name: "bike"}))
		owner, err := s.PutOwner(ctx, fleet.Owner{ID: "o1", Email: "ada@example.org", Locale: "en", TimeZone: "UTC"})
		require.NoError(t, err)
		units := make([]fleet.Unit, 24)
		for i := range units {
			units[i] = charger(i)
		}
		units[3].Product, units[3].State = "bike", fleet.UnitPending
		units[4].Hardware, units[4].Region = "C", "DE"
		units[5].OwnerID = owner.ID
		units[6].Attributes = map[string]string{`odd "key'`: "100%", "plug": "Type 2"}
		units[7].Versions = map[string]string{"software": "2.0.0"}
		units[8].Serial = "X_Y%Z"
		require.NoError(t, s.PutUnits(ctx, units))
		for name, c := range map[string]struct {
			f    fleet.Filter
			want int
		}{
			"all":               {fleet.Filter{}, 24},
			"product":           {fleet.Filter{Product: "bike"}, 1},
			"state":             {fleet.Filter{State: fleet.UnitPending}, 1},
			"hardware":          {fleet.Filter{Hardware: "C"}, 1},
			"region":            {fleet.Filter{Region: "NO"}, 23},
			"batch":             {fleet.Filter{Batch: "2013-04"}, 2},
			"two fields":        {fleet.Filter{Batch: "2013-04", Hardware: "B"}, 1},
			"version":           {fleet.Filter{Version: "2.0.0"}, 1},
			"owner":             {fleet.Filter{OwnerID: "o1"}, 1},
			"attribute":         {fleet.Filter{Attributes: map[string]string{"plug": "NEMA 14-50"}}, 23},
			"odd attribute":     {fleet.Filter{Attributes: map[string]string{`odd "key'`: "100%", "plug": "Type 2"}}, 1},
			"no such attribute": {fleet.Filter{Attributes: map[string]string{"plug": "Type 3"}}, 0},
			"search id":         {fleet.Filter{Search: "wc-00000"}, 10},
			"search serial":     {fleet.Filter{Search: "S00002"}, 4},
			"search literally":  {fleet.Filter{Search: "x_y%z"}, 1},
			"search underscore": {fleet.Filter{Search: "_0"}, 0},
			"after":             {fleet.Filter{After: "WC-000020"}, 3},
			"limit":             {fleet.Filter{Limit: 5}, 5},
		} {
			got, err := s.Units(ctx, c.f)
			require.NoError(t, err, name)
			require.Len(t, got, c.want, name)
			if c.f.After == "" && c.f.Limit == 0 {
				n, err := s.CountUnits(ctx, c.f)
				require.NoError(t, err, name)
				require.Equal(t, c.want, n, name)
			}
			for i := 1; i < len(got); i++ {
				require.Less(t, got[i-1].ID, got[i].ID, name)
			}
		}
	})
}

func TestFleetOwners(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, ctx := db.Fleet(), t.Context()
		o, err := s.PutOwner(ctx, fleet.Owner{ID: "o1", Email: "ada@example.org", Name: "Ada", Locale: "en", TimeZone: "UTC"})
		require.NoError(t, err)
		again, err := s.PutOwner(ctx, fleet.Owner{ID: "o2", Email: "ada@example.org", Name: "Ada L.", Locale: "de", TimeZone: "Europe/Berlin"})
		require.NoError(t, err)
		require.Equal(t, "o1", again.ID)
		require.Equal(t, "de", again.Locale)
		byID, err := s.Owner(ctx, o.ID)
		require.NoError(t, err)
		require.Equal(t, again, byID)
		byMail, err := s.OwnerByEmail(ctx, "ada@example.org")
		require.NoError(t, err)
		require.Equal(t, again, byMail)
		_, err = s.OwnerByEmail(ctx, "eve@example.org")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		_, err = s.Owner(ctx, "o2")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
}

// A fleet of the 2014 recall is kept, and kept again.
func TestFleetBulk(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, ctx := db.Fleet(), t.Context()
		putProduct(t, s)
		const n = 29_222
		units := make([]fleet.Unit, n)
		for i := range units {
			units[i] = charger(i)
		}
		begin := time.Now()
		require.NoError(t, s.PutUnits(ctx, units))
		t.Logf("insert %d: %s", n, time.Since(begin))
		require.NoError(t, s.PutUnits(ctx, units))
		got, err := s.CountUnits(ctx, fleet.Filter{Product: "wall-charger"})
		require.NoError(t, err)
		require.Equal(t, n, got)
	})
}
