package sqldb_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		store := db.Fleet()
		require.NoError(t, store.PutProduct(ctx, fleet.Product{Name: "charger", Title: "Charger"}))
		owner, err := store.PutOwner(ctx, fleet.Owner{ID: "o", Email: "a@example.com", Locale: "en", TimeZone: "UTC"})
		require.NoError(t, err)
		unit := fleet.Unit{
			ID: "WC-1", Key: 1<<62 + 1, Product: "charger", Serial: "1", OwnerID: owner.ID, State: fleet.UnitActive,
			Attributes: map[string]string{"colour": "red"}, CreatedAt: time.UnixMilli(1).UTC(),
		}
		require.NoError(t, store.PutUnits(ctx, []fleet.Unit{unit}))

		choice := consent.Choice{ID: "c", UnitID: "WC-1", Purpose: "care", Given: true, At: time.UnixMilli(5).UTC(), By: "import"}
		require.NoError(t, db.Consent().AddChoices(ctx, []consent.Choice{choice}))

		dir := t.TempDir()
		require.NoError(t, db.Backup(ctx, dir))
		require.NoError(t, store.DeleteUnit(ctx, "WC-1")) // after the backup

		restored := restore(ctx, t, db.Kind(), dir)
		got, err := restored.Fleet().Unit(ctx, "WC-1")
		require.NoError(t, err)
		require.Equal(t, unit.Key, got.Key, "a 63-bit key is kept to the last bit")
		require.Equal(t, "red", got.Attributes["colour"])
		choice.ID, choice.Given = "d", false
		require.NoError(t, restored.Consent().AddChoices(ctx, []consent.Choice{choice}), "numbers go on above those copied")
		history, err := restored.Consent().Choices(ctx, "WC-1")
		require.NoError(t, err)
		require.Len(t, history, 2)
		require.False(t, history[1].Given)
	})
}

func restore(ctx context.Context, t *testing.T, kind, dir string) *sqldb.DB {
	t.Helper()
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "restored.db")
	if kind == "postgres" {
		dsn = sqldbtest.PostgresDSN(t)
	}
	require.NoError(t, sqldb.Restore(ctx, dsn, dir))
	db, err := sqldb.Open(ctx, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestRestoreRefusesTheOtherKind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "records.jsonl"), nil, 0o600))
	err := sqldb.Restore(t.Context(), "sqlite:"+filepath.Join(dir, "r.db"), dir)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
