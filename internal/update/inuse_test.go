package update_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/update"
)

type lastValues map[string]telemetry.Sample

func (l lastValues) Latest(context.Context, string, int64, ...string) (map[string]telemetry.Sample, error) {
	return l, nil
}

func TestNothingStartsInUse(t *testing.T) {
	t.Parallel()
	db, at := sqldbtest.SQLite(t), time.Date(2014, 3, 3, 12, 0, 0, 0, time.UTC)
	last := lastValues{}
	s, err := update.NewService(t.Context(), update.Config{Store: db.Update(), Ledger: release.New(db), Fleet: db.Fleet(), Tx: db, Clock: clock.NewManual(at), State: last, Dir: t.TempDir()})
	require.NoError(t, err)
	p := fleet.Product{
		Name:    "charger",
		Signals: []fleet.Signal{{Name: "current", Title: "Current", Type: fleet.Number, Unit: "A"}, {Name: "locked", Type: fleet.Boolean}},
		InUse:   &fleet.InUse{When: "current >= 1.0 || locked"},
	}
	u := fleet.Unit{ID: "u", Key: 1, Product: "charger"}
	for _, c := range []struct {
		name    string
		current float64
		age     time.Duration
		code    update.Code
	}{
		{"charging", 16, time.Minute, update.CodeInUse},
		{"idle", 0.5, time.Minute, ""},
		{"too old to tell", 0.5, time.Hour, update.CodeUnknownState},
	} {
		last["current"] = telemetry.Sample{At: at.Add(-c.age), Number: c.current}
		last["locked"] = telemetry.Sample{At: at.Add(-c.age)}
		no, err := s.InUse(t.Context(), &p, &u)
		require.NoError(t, err)
		if c.code == "" {
			require.Nil(t, no, c.name)
			continue
		}
		require.Equal(t, c.code, no.Code, c.name)
		require.True(t, no.Passes())
		require.NotEmpty(t, no.Why)
	}
	delete(last, "locked")
	no, err := s.InUse(t.Context(), &p, &u)
	require.NoError(t, err)
	require.Equal(t, update.CodeUnknownState, no.Code, "a value that was never sent")
	p.InUse = nil
	no, err = s.InUse(t.Context(), &p, &u)
	require.NoError(t, err)
	require.Nil(t, no, "the product does not say what use is")
}
