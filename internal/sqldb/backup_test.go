package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/peer/postgres"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

func TestBackupRestore(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			var db *sqldb.DB
			var empty, other string
			if kind == "sqlite" {
				db, empty, other = sqldbtest.SQLite(t), "sqlite:"+filepath.Join(t.TempDir(), "restored.db"), "postgres:///x"
			} else {
				db, empty, other = sqldbtest.Postgres(t), postgres.Start(t).Database(t, ""), "sqlite:"+filepath.Join(t.TempDir(), "x.db")
			}
			odd := charger(1)
			odd.Batch, odd.Attributes = "tab\tline\nback\\slash ü \\N", map[string]string{`"`: `\.`}
			putProduct(t, db.Fleet())
			require.NoError(t, db.Fleet().PutUnits(ctx, []fleet.Unit{odd}))
			choice := func(n int) consent.Choice {
				return consent.Choice{ID: fmt.Sprint(n), UnitID: odd.ID, Purpose: "care", Given: n%2 == 1, At: start, By: "owner:o1"}
			}
			require.NoError(t, db.Consent().AddChoices(ctx, []consent.Choice{choice(1)}))

			// Each transaction adds a unit and a choice: a copy never has one without the other.
			writing, stop := context.WithCancel(ctx)
			var wg sync.WaitGroup
			wg.Go(func() {
				for n := 2; writing.Err() == nil; n++ {
					_ = db.InTx(writing, func(ctx context.Context) error {
						if err := db.Fleet().PutUnits(ctx, []fleet.Unit{charger(n)}); err != nil {
							return err
						}
						return db.Consent().AddChoices(ctx, []consent.Choice{choice(n)})
					})
				}
			})
			dir := t.TempDir()
			require.NoError(t, db.Backup(ctx, dir))
			stop()
			wg.Wait()
			require.Error(t, db.Backup(ctx, dir), "never over another copy")

			require.Equal(t, fault.Invalid, fault.KindOf(sqldb.Restore(ctx, other, dir)))
			require.NoError(t, sqldb.Restore(ctx, empty, dir))
			require.Equal(t, fault.Conflict, fault.KindOf(sqldb.Restore(ctx, empty, dir)))
			restored, err := sqldb.Open(ctx, empty)
			require.NoError(t, err)
			defer restored.Close()
			got, err := restored.Fleet().Unit(ctx, odd.ID)
			require.NoError(t, err)
			require.Equal(t, odd, got)
			units, err := restored.Fleet().CountUnits(ctx, fleet.Filter{})
			require.NoError(t, err)
			choices, err := restored.Consent().Choices(ctx, odd.ID)
			require.NoError(t, err)
			require.Len(t, choices, units)
			m, err := restored.Consent().Mask(ctx, odd.ID)
			require.NoError(t, err)
			require.Equal(t, choices[len(choices)-1].Given, m["care"])

			// The restored records go on where the copy ended.
			require.NoError(t, restored.Consent().AddChoices(ctx, []consent.Choice{choice(1_000_001)}))
			choices, err = restored.Consent().Choices(ctx, odd.ID)
			require.NoError(t, err)
			require.Equal(t, "1000001", choices[len(choices)-1].ID)
		})
	}
}

func TestRestoreDamaged(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := sqldbtest.Postgres(t)
	putProduct(t, db.Fleet())
	dir := t.TempDir()
	require.NoError(t, db.Backup(ctx, dir))
	file := filepath.Join(dir, "records-postgres", "fleet_product.copy")
	require.NoError(t, os.Truncate(file, 0))
	empty := postgres.Start(t).Database(t, "")
	require.ErrorContains(t, sqldb.Restore(ctx, empty, dir), "its manifest says 1")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "records-postgres", "manifest.json"), []byte(`{"schema":9999}`), 0o600))
	require.ErrorContains(t, sqldb.Restore(ctx, postgres.Start(t).Database(t, ""), dir), "use the newer program")
}

func TestRestoreDamagedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, sqldbtest.SQLite(t).Backup(t.Context(), dir))
	copied := filepath.Join(dir, "records.db")
	b, err := os.ReadFile(copied)
	require.NoError(t, err)
	for i := 4096; i < len(b); i++ {
		b[i] = 0x5a
	}
	require.NoError(t, os.WriteFile(copied, b, 0o600))
	file := filepath.Join(t.TempDir(), "restored.db")
	require.Error(t, sqldb.Restore(t.Context(), "sqlite:"+file, dir))
	require.NoFileExists(t, file)
}

// Records of a newer version are not touched.
func TestOpenNewer(t *testing.T) {
	t.Parallel()
	dsn := sqldbtest.SQLiteDSN(t)
	raw, err := sql.Open("sqlite3", "file:"+strings.TrimPrefix(dsn, "sqlite:"))
	require.NoError(t, err)
	_, err = raw.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`)
	require.NoError(t, err)
	require.NoError(t, raw.Close())
	_, err = sqldb.Open(t.Context(), dsn)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	require.ErrorContains(t, err, "9999")
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	_, err := sqldb.Open(t.Context(), "mysql://u:hunter2@h/x")
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	require.NotContains(t, err.Error(), "hunter2")
}
