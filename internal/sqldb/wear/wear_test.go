package wear_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/sqldb/wear"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func units(t *testing.T, db *sqldb.DB, n int) {
	t.Helper()
	require.NoError(t, db.Fleet().PutProduct(t.Context(), fleet.Product{Name: "fan"}))
	all := make([]fleet.Unit, n)
	for i := range all {
		all[i] = fleet.Unit{ID: fmt.Sprintf("u%d", i), Key: int64(i + 1), Product: "fan", Serial: fmt.Sprint(i), State: fleet.UnitActive, CreatedAt: start}
	}
	require.NoError(t, db.Fleet().PutUnits(t.Context(), all))
}

func TestMaintenanceStore(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		ctx := t.Context()
		units(t, db, 3)
		store, c := wear.Maintenance(db), clock.NewManual(start)
		var told []maintenance.Entered
		fail := errors.New("the stream is full")
		service := maintenance.NewService(maintenance.Config{
			Store: store, Fleet: db.Fleet(), Tx: db, Clock: c, IDs: &clock.Sequence{Prefix: "m"},
			Mark: func(_ context.Context, e []maintenance.Entered) error {
				if fail != nil {
					return fail
				}
				told = append(told, e...)
				return nil
			},
		})
		records := []maintenance.Record{
			{UnitID: "u0", At: start.Add(-time.Hour), Part: "bearing", Kind: maintenance.Replacement, Reason: maintenance.Failed, Batch: "b1", Serial: "s1", Version: "2", Note: "noisy"},
			{UnitID: "u1", At: start.Add(-2 * time.Hour), Part: "bearing", Kind: maintenance.Failure},
			{UnitID: "u1", At: start.Add(-time.Hour), Kind: maintenance.Maintenance},
			{UnitID: "u2", At: start.AddDate(-1, 0, 0), Part: "bearing", Kind: maintenance.Installation},
		}
		added, err := service.Add(ctx, records, "ann")
		require.NoError(t, err)
		require.Equal(t, 4, added)
		again, err := service.Add(ctx, records, "ben")
		require.NoError(t, err)
		require.Zero(t, again, "what is on record is not added twice")

		all, err := store.Records(ctx, maintenance.Filter{Product: "fan"})
		require.NoError(t, err)
		require.Len(t, all, 4)
		require.Equal(t, []string{"u1", "u0", "u1", "u2"}, []string{all[0].UnitID, all[1].UnitID, all[2].UnitID, all[3].UnitID})
		want := records[0]
		want.ID, want.By, want.EnteredAt = "m-1", "ann", start
		got, err := store.Record(ctx, "m-1")
		require.NoError(t, err)
		require.Equal(t, want, got)
		page, err := store.Records(ctx, maintenance.Filter{Before: all[1].ID, Limit: 1})
		require.NoError(t, err)
		require.Equal(t, all[2:3], page)
		whole := ""
		of, err := store.Records(ctx, maintenance.Filter{Part: &whole})
		require.NoError(t, err)
		require.Equal(t, all[:1], of)
		of, err = store.Records(ctx, maintenance.Filter{UnitID: "u1", Kind: maintenance.Failure})
		require.NoError(t, err)
		require.Equal(t, all[2:3], of)
		parts, err := store.Parts(ctx, "fan")
		require.NoError(t, err)
		require.Equal(t, []maintenance.PartCount{{Records: 1}, {Part: "bearing", Records: 3, Failures: 2}}, parts)

		// The stream is told once it takes them: of what was put right lately.
		require.ErrorIs(t, service.Tell(ctx), fail)
		fail = nil
		require.NoError(t, service.Tell(ctx))
		require.Len(t, told, 2)
		require.Equal(t, want, told[0].Record)
		require.EqualValues(t, 1, told[0].UnitKey)
		require.EqualValues(t, 2, told[1].UnitKey)
		require.NoError(t, service.Tell(ctx))
		require.Len(t, told, 2, "told again")

		// All or none.
		_, err = service.Add(ctx, []maintenance.Record{{UnitID: "u0", At: start, Kind: maintenance.Maintenance}, {UnitID: "nobody", At: start, Kind: "x"}}, "ann")
		require.Equal(t, []string{"records[1].kind", "records[1].unitId"}, paths(err))
		n, err := store.Records(ctx, maintenance.Filter{})
		require.NoError(t, err)
		require.Len(t, n, 4)

		require.NoError(t, service.Delete(ctx, "m-1"))
		require.Equal(t, fault.NotFound, fault.KindOf(service.Delete(ctx, "m-1")))
		_, err = store.Record(ctx, "m-1")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		require.NoError(t, db.Fleet().DeleteUnit(ctx, "u1"))
		n, err = store.Records(ctx, maintenance.Filter{})
		require.NoError(t, err)
		require.Len(t, n, 1, "a unit's records go with it")
	})
}

func paths(err error) (out []string) {
	for _, f := range fault.FieldsOf(err) {
		out = append(out, f.Path)
	}
	return out
}

func TestPrognosisStore(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		ctx := t.Context()
		units(t, db, 4)
		store := wear.Prognosis(db)
		status := prognosis.Status{Detector: "wear", Version: 2, Product: "fan", RanAt: start, NextAt: start.Add(time.Hour), Needed: 12, Why: "too few", Counts: prognosis.Counts{OK: 2}}
		require.NoError(t, store.PutStatus(ctx, prognosis.Status{Detector: "wear"}))
		require.NoError(t, store.PutStatus(ctx, status))
		all, err := store.Statuses(ctx)
		require.NoError(t, err)
		require.Equal(t, []prognosis.Status{status}, all)

		model := prognosis.Model{
			Detector: "wear", Number: 1, State: prognosis.Champion, Learns: "signals=a", TrainedAt: start, Verdict: "good", Data: []byte{0, 1, 255},
			Training: []prognosis.Member{{Unit: 1<<62 + 1, Number: 1, To: start, Failed: true}}, Test: []prognosis.Member{}, Before: &prognosis.Figures{Lives: 3, RMSE: 1.5},
		}
		require.NoError(t, store.PutModel(ctx, model))
		next := model
		next.Number, next.State, next.Before = 2, prognosis.Rejected, nil
		require.NoError(t, store.PutModel(ctx, next))
		require.Error(t, store.PutModel(ctx, next), "a number is given once")
		require.NoError(t, store.SetModelState(ctx, "wear", 1, prognosis.Retired, start.Add(time.Hour)))
		require.Equal(t, fault.NotFound, fault.KindOf(store.SetModelState(ctx, "wear", 9, prognosis.Retired, start)))
		models, err := store.Models(ctx, "wear")
		require.NoError(t, err)
		model.State, model.RetiredAt, model.Data, next.Data = prognosis.Retired, start.Add(time.Hour), nil, nil
		require.Equal(t, []prognosis.Model{next, model}, models)
		data, err := store.ModelData(ctx, "wear", 1)
		require.NoError(t, err)
		require.Equal(t, []byte{0, 1, 255}, data)
		_, err = store.ModelData(ctx, "wear", 3)
		require.Equal(t, fault.NotFound, fault.KindOf(err))

		predict := func(at time.Time, medians ...float64) (out []prognosis.Prediction) {
			for i, m := range medians {
				p := prognosis.Prediction{Detector: "wear", Version: 2, Model: 1, UnitID: fmt.Sprintf("u%d", i), UnitKey: int64(i + 1), Product: "fan", At: at, Since: start, State: prognosis.OK, Low: m / 2, Median: m, High: 2 * m, Reasons: []prognosis.Reason{{Signal: "a", Text: "a is high", Drift: 3}}}
				if m == 0 {
					p.State, p.Why = prognosis.Unknown, "no data"
				}
				if m == 1 {
					p.State = prognosis.Heading
				}
				out = append(out, p)
			}
			return out
		}
		first := predict(start, 30, 20, 0, 7)
		require.NoError(t, store.PutPredictions(ctx, "wear", first, start.AddDate(-1, 0, 0)))
		require.NoError(t, store.PutPredictions(ctx, "wear", first, start.AddDate(-1, 0, 0)), "done again after a crash")
		second := predict(start.Add(24*time.Hour), 29, 1, 0)
		require.NoError(t, store.PutPredictions(ctx, "wear", second, start.AddDate(-1, 0, 0)))
		list := func(f prognosis.RiskFilter) (out []string) {
			got, err := store.Risks(ctx, f)
			require.NoError(t, err)
			for _, p := range got {
				out = append(out, p.UnitID)
			}
			return out
		}
		require.Equal(t, []string{"u1", "u0", "u2"}, list(prognosis.RiskFilter{}))
		require.Equal(t, []string{"u1"}, list(prognosis.RiskFilter{Product: "fan", Detector: "wear", State: prognosis.Heading}))
		require.Equal(t, []string{"u0"}, list(prognosis.RiskFilter{After: "wear/u1", Limit: 1}))
		require.Equal(t, []string{"u2"}, list(prognosis.RiskFilter{After: "wear/u0"}))
		require.Nil(t, list(prognosis.RiskFilter{Product: "pump"}))
		got, err := store.Risks(ctx, prognosis.RiskFilter{UnitID: "u1"})
		require.NoError(t, err)
		require.Equal(t, second[1:2], got)
		history, err := store.Predictions(ctx, "u0", "", 10)
		require.NoError(t, err)
		require.Equal(t, []prognosis.Prediction{second[0], first[0]}, history)
		history, err = store.Predictions(ctx, "u0", "other", 10)
		require.NoError(t, err)
		require.Empty(t, history)
		history, err = store.Predictions(ctx, "u2", "", 10)
		require.NoError(t, err)
		require.Empty(t, history, "what could not be told has no history")

		require.NoError(t, store.DropRisks(ctx, "wear", []string{"u1", "u9"}))
		require.Equal(t, []string{"u0", "u2"}, list(prognosis.RiskFilter{}))
		require.NoError(t, store.PutPredictions(ctx, "wear", second, start.Add(time.Hour)))
		history, err = store.Predictions(ctx, "u0", "wear", 10)
		require.NoError(t, err)
		require.Len(t, history, 1, "what is too old is gone")
		require.NoError(t, db.Fleet().DeleteUnit(ctx, "u0"))
		require.NoError(t, store.DeleteStatus(ctx, "wear"))
		require.Nil(t, list(prognosis.RiskFilter{}))
		models, err = store.Models(ctx, "wear")
		require.NoError(t, err)
		require.Len(t, models, 2, "models outlive the detector")
	})
}
