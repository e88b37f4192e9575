// Package sqldb keeps the records on SQLite or PostgreSQL: one query text with
// ? placeholders, a flavor for what differs, twin migrations. Each room's
// store is a file here; a room alone writes its own prefixed tables. Times are
// Unix milliseconds (0: none), in BIGINT columns; structures are JSON text.
package sqldb

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strconv"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "github.com/mattn/go-sqlite3"    // driver "sqlite3"
	"github.com/pressly/goose/v3"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb/failure"
	"fettle.dev/fettle/internal/sqldb/rows"
)

//go:embed migrations
var migrations embed.FS

// DB is the records. It implements fleet.Transactor; the rooms' stores are
// made from it.
type DB struct {
	sql      *sql.DB // reads; and writes on PostgreSQL
	write    *sql.DB // SQLite has one writer: a pool of one, so that writers queue here and never see SQLITE_BUSY
	postgres bool

	committed func(number uint32) // of SQLite, see Committed
}

// Open opens "sqlite:PATH" or a postgres:// URL and migrates it to this
// version's schema. It refuses records of a newer version.
func Open(ctx context.Context, dsn string) (*DB, error) {
	db, err := connect(dsn)
	if err != nil {
		return nil, err
	}
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(failure.Damaged(err), db.Close())
	}
	return db, nil
}

func connect(dsn string) (*DB, error) {
	db := &DB{}
	switch {
	case strings.HasPrefix(dsn, "sqlite:"):
		q := url.Values{
			"_journal_mode": {"WAL"}, "_synchronous": {"FULL"}, "_foreign_keys": {"on"},
			"_busy_timeout": {"10000"}, "_txlock": {"immediate"}, "_secure_delete": {"on"}, // what is deleted is overwritten
		}
		file := "file:" + strings.TrimPrefix(dsn, "sqlite:") + "?" + q.Encode()
		var err error
		if db.write, err = sql.Open("sqlite3", file); err != nil {
			return nil, fmt.Errorf("open records: %w", err)
		}
		db.write.SetMaxOpenConns(1)
		q.Set("_txlock", "deferred")
		if db.sql, err = sql.Open("sqlite3", "file:"+strings.TrimPrefix(dsn, "sqlite:")+"?"+q.Encode()); err != nil {
			return nil, fmt.Errorf("open records: %w", err)
		}
		db.sql.SetMaxOpenConns(4)
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		pool, err := sql.Open("pgx", dsn)
		if err != nil {
			return nil, fmt.Errorf("open records: %w", err)
		}
		pool.SetMaxOpenConns(16)
		db.sql, db.write, db.postgres = pool, pool, true
	default:
		return nil, fault.New(fault.Invalid, "records address %q: expected sqlite:PATH or postgres://…", redacted(dsn))
	}
	return db, nil
}

// redacted leaves a password out of an address.
func redacted(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return "(not a URL)"
	}
	return u.Redacted()
}

// Close closes the records.
func (db *DB) Close() error {
	if db.write != db.sql {
		return errors.Join(db.write.Close(), db.sql.Close())
	}
	return db.sql.Close()
}

// Ping reports whether the records answer.
func (db *DB) Ping(ctx context.Context) error { return db.write.PingContext(ctx) }

func (db *DB) migrations() (*goose.Provider, error) {
	dialect, dir := goose.DialectSQLite3, "migrations/sqlite"
	if db.postgres {
		dialect, dir = goose.DialectPostgres, "migrations/postgres"
	}
	files, err := fs.Sub(migrations, dir)
	if err != nil {
		return nil, err
	}
	p, err := goose.NewProvider(dialect, db.write, files)
	if err != nil {
		return nil, fmt.Errorf("migrations of the records: %w", err)
	}
	return p, nil
}

func (db *DB) migrate(ctx context.Context) error {
	p, err := db.migrations()
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("migrate records: %w", err)
	}
	if have > want {
		return fault.New(fault.Invalid, "the records have schema version %d, this program knows %d: use the newer program, or restore a backup", have, want)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate records: %w", err)
	}
	return nil
}

type txKey struct{}

// InTx runs fn in one transaction; stores called with fn's context take part.
// Nested calls join.
func (db *DB) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if ctx.Value(txKey{}) != nil {
		return fn(ctx)
	}
	ctx, ended := fleet.WithEnd(ctx)
	defer ended()
	begun, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", away(err))
	}
	tx := &transaction{Tx: begun}
	var number uint32
	committed := func() {}
	within := context.WithValue(ctx, txKey{}, tx)
	if err = fn(within); err == nil {
		committed, err = fleet.Committing(within, tx.wrote)
	}
	if err == nil {
		number, err = db.count(ctx, tx)
	}
	if err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", away(err))
	}
	committed()
	if number != 0 && db.committed != nil {
		db.committed(number)
	}
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (db *DB) at(ctx context.Context, pool *sql.DB) querier {
	if tx, ok := ctx.Value(txKey{}).(*transaction); ok {
		return tx
	}
	return pool
}

// rebind turns ? into $1, $2 … on PostgreSQL. Query texts hold no literal ?.
func (db *DB) rebind(query string) string {
	if !db.postgres {
		return query
	}
	var b strings.Builder
	n := 0
	for _, r := range query {
		if r == '?' {
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (db *DB) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tx, ok := ctx.Value(txKey{}).(*transaction)
	if !ok && (!db.postgres || fleet.WaitsForCommit(ctx)) { // so that it is counted, and what waits for it is called
		var res sql.Result
		err := db.InTx(ctx, func(ctx context.Context) (err error) {
			res, err = db.exec(ctx, query, args...)
			return err
		})
		return res, err
	}
	if ok {
		tx.wrote = true
	}
	res, err := db.at(ctx, db.write).ExecContext(ctx, db.rebind(query), args...)
	return res, away(err)
}

func (db *DB) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := db.at(ctx, db.sql).QueryContext(ctx, db.rebind(query), args...)
	return rows, away(err)
}

func (db *DB) queryRow(ctx context.Context, query string, args ...any) *sql.Row {
	if tx, ok := ctx.Value(txKey{}).(*transaction); ok && !strings.HasPrefix(query, "SELECT") { // … RETURNING
		tx.wrote = true
	}
	return db.at(ctx, db.sql).QueryRowContext(ctx, db.rebind(query), args...)
}

// forUpdate locks the rows a read-change-write reads; SQLite has one writer anyway.
func (db *DB) forUpdate() string {
	if db.postgres {
		return " FOR UPDATE"
	}
	return ""
}

// collect scans every row of a query.
func collect[T any](r *sql.Rows, err error, scan func(*sql.Rows) (T, error)) ([]T, error) {
	return rows.Collect(r, err, scan)
}

var (
	missing    = rows.Missing
	millis     = rows.Millis
	fromMillis = rows.Time
)

// For stores that stand in packages below this one.

// Exec runs a statement, in the transaction of ctx if there is one.
func (db *DB) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return db.exec(ctx, query, args...)
}

// Query reads rows.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return db.query(ctx, query, args...)
}

// QueryRow reads one row.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return db.queryRow(ctx, query, args...)
}

// ForUpdate locks the rows that a read-change-write reads; see forUpdate.
func (db *DB) ForUpdate() string { return db.forUpdate() }

// InsertRows writes rows by few statements; see insertRows.
func (db *DB) InsertRows(ctx context.Context, head, tail string, rows [][]any) error {
	return db.insertRows(ctx, head, tail, rows)
}
