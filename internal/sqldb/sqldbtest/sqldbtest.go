// Package sqldbtest runs a test of the records on every database they can
// stand on: SQLite in a temporary directory, and a real PostgreSQL.
package sqldbtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/postgres"
	"fettle.dev/fettle/internal/sqldb"
)

// Each runs fn on empty records of each kind, as parallel subtests named
// sqlite and postgres.
func Each(t *testing.T, fn func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		fn(t, SQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		fn(t, Postgres(t))
	})
}

// Migrating costs more than copying, so it is done once a process.
var (
	sqliteTemplate   = sync.OnceValues(migratedFile)
	postgresTemplate sync.Once
	errPostgres      error
)

func migratedFile() (content []byte, err error) {
	dir, err := os.MkdirTemp("", "fettle-records")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "records.db")
	db, err := sqldb.Open(context.Background(), "sqlite:"+file)
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// SQLite opens empty records on SQLite, closed at the end of the test.
func SQLite(tb testing.TB) *sqldb.DB {
	tb.Helper()
	return open(tb, SQLiteDSN(tb))
}

// SQLiteDSN is the address of empty records on SQLite.
func SQLiteDSN(tb testing.TB) string {
	tb.Helper()
	content, err := sqliteTemplate()
	require.NoError(tb, err)
	file := filepath.Join(tb.TempDir(), "records.db")
	require.NoError(tb, os.WriteFile(file, content, 0o600))
	return "sqlite:" + file
}

// Postgres opens empty records on PostgreSQL, closed and dropped at the end of
// the test. Where there is no PostgreSQL, see postgres.Start.
func Postgres(tb testing.TB) *sqldb.DB {
	tb.Helper()
	return open(tb, PostgresDSN(tb))
}

// PostgresDSN is the address of empty records on PostgreSQL.
func PostgresDSN(tb testing.TB) string {
	tb.Helper()
	const template = "fettle_template"
	server := postgres.Start(tb)
	postgresTemplate.Do(func() {
		if errPostgres = server.Create(context.Background(), template, ""); errPostgres != nil {
			return
		}
		var db *sqldb.DB
		if db, errPostgres = sqldb.Open(context.Background(), server.DSN(template)); errPostgres == nil {
			errPostgres = db.Close()
		}
	})
	require.NoError(tb, errPostgres)
	return server.Database(tb, template)
}

func open(tb testing.TB, dsn string) *sqldb.DB {
	tb.Helper()
	db, err := sqldb.Open(context.Background(), dsn)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	return db
}
