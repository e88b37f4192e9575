package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"fettle.dev/fettle/internal/fault"
)

// What a backup directory holds: a SQLite file, or a file for each table of
// PostgreSQL in the format of COPY, with a manifest.
const (
	sqliteBackup   = "records.db"
	postgresBackup = "records-postgres"
	manifestFile   = "manifest.json"
)

// manifest describes a copy of PostgreSQL. Tables stand so that each comes
// after those it refers to.
type manifest struct {
	Schema int64       `json:"schema"` // version of the migrations
	Tables []tableCopy `json:"tables"`
}

type tableCopy struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Rows    int64    `json:"rows"`
}

// Backup writes a consistent copy of the records into dir, while others write.
func (db *DB) Backup(ctx context.Context, dir string) (err error) {
	if db.postgres {
		err = db.backupPostgres(ctx, filepath.Join(dir, postgresBackup))
	} else {
		err = db.backupSQLite(ctx, filepath.Join(dir, sqliteBackup))
	}
	if err != nil {
		return fmt.Errorf("back up records: %w", away(err))
	}
	return nil
}

func (db *DB) backupSQLite(ctx context.Context, file string) error {
	if _, err := os.Stat(file); err == nil {
		return fault.New(fault.Conflict, "%s exists", file)
	}
	if _, err := db.sql.ExecContext(ctx, `VACUUM INTO ?`, file); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Sync(), f.Close())
}

func (db *DB) backupPostgres(ctx context.Context, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return db.onPostgres(ctx, func(conn *pgx.Conn) error {
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
		var m manifest
		if err := tx.QueryRow(ctx, `SELECT max(version_id) FROM goose_db_version`).Scan(&m.Schema); err != nil {
			return err
		}
		if m.Tables, err = tables(ctx, tx); err != nil {
			return err
		}
		for i := range m.Tables {
			t := &m.Tables[i]
			if err := toFile(filepath.Join(dir, t.Name+".copy"), func(w io.Writer) error {
				tag, err := conn.PgConn().CopyTo(ctx, w, `COPY `+t.target()+` TO STDOUT`)
				t.Rows = tag.RowsAffected()
				return err
			}); err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
		}
		return toFile(filepath.Join(dir, manifestFile), func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", " ")
			return e.Encode(m)
		})
	})
}

func (t *tableCopy) target() string {
	columns := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		columns[i] = pgx.Identifier{c}.Sanitize()
	}
	return pgx.Identifier{t.Name}.Sanitize() + ` (` + strings.Join(columns, ", ") + `)`
}

// toFile writes a new file and syncs it.
func toFile(file string, write func(w io.Writer) error) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Sync(), f.Close())
}

// onPostgres lends one connection in pgx's own form, which knows COPY.
func (db *DB) onPostgres(ctx context.Context, fn func(conn *pgx.Conn) error) error {
	c, err := db.sql.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Raw(func(driver any) error { return fn(driver.(*stdlib.Conn).Conn()) })
}

// Compact makes the files hold nothing that was deleted: on SQLite the log with
// the pages as they were is emptied; on PostgreSQL the tables are vacuumed.
func (db *DB) Compact(ctx context.Context) error {
	if db.postgres {
		_, err := db.sql.ExecContext(ctx, `VACUUM`)
		return away(err)
	}
	var busy, pages, done int
	if err := db.write.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &done); err != nil {
		return fmt.Errorf("empty the records' log: %w", away(err))
	}
	if busy != 0 {
		return fault.New(fault.Unavailable, "the records' log cannot be emptied now: somebody reads it")
	}
	return nil
}

// tables lists the tables of the records with their columns, each after those it refers to.
func tables(ctx context.Context, tx pgx.Tx) ([]tableCopy, error) {
	rows, err := tx.Query(ctx, `SELECT c.oid::bigint, c.relname,
			ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum),
			ARRAY(SELECT confrelid::bigint FROM pg_constraint WHERE conrelid = c.oid AND contype = 'f' AND confrelid <> c.oid)
		FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND c.relname <> 'goose_db_version' ORDER BY c.relname`)
	if err != nil {
		return nil, err
	}
	type table struct {
		oid    int64
		copied tableCopy
		refers []int64
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (t table, err error) {
		err = r.Scan(&t.oid, &t.copied.Name, &t.copied.Columns, &t.refers)
		return t, err
	})
	if err != nil {
		return nil, err
	}
	placed := map[int64]bool{}
	var out []tableCopy
	for len(out) < len(all) {
		before := len(out)
		for _, t := range all {
			ready := !placed[t.oid]
			for _, r := range t.refers {
				ready = ready && placed[r]
			}
			if ready {
				placed[t.oid] = true
				out = append(out, t.copied)
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("tables refer to each other in a circle")
		}
	}
	return out, nil
}

// Restore makes records at dsn from the copy in dir, and migrates them to this
// version's schema. It refuses an address where there are records already.
func Restore(ctx context.Context, dsn, dir string) (err error) {
	if file, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		err = restoreSQLite(ctx, dsn, file, filepath.Join(dir, sqliteBackup))
	} else {
		err = restorePostgres(ctx, dsn, filepath.Join(dir, postgresBackup))
	}
	if errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.Invalid, "restore records: the backup holds none of this kind of database (back up and restore on the same kind): %w", err)
	}
	if err != nil {
		return fmt.Errorf("restore records: %w", err)
	}
	return nil
}

func restoreSQLite(ctx context.Context, dsn, file, backup string) error {
	in, err := os.Open(backup)
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := os.Stat(file); err == nil {
		return fault.New(fault.Conflict, "%s exists", file)
	}
	if err := toFile(file, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	}); err != nil {
		return err
	}
	if err := check(ctx, dsn); err != nil {
		// Nobody shall start on a damaged copy.
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(file + suffix)
		}
		return err
	}
	return nil
}

func check(ctx context.Context, dsn string) error {
	db, err := Open(ctx, dsn)
	if err != nil {
		return err
	}
	var verdict string
	err = db.queryRow(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict)
	if err == nil && verdict != "ok" {
		err = fault.New(fault.Invalid, "the copy is damaged: %s", verdict)
	}
	return errors.Join(err, db.Close())
}

func restorePostgres(ctx context.Context, dsn, dir string) (err error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return err
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return fault.New(fault.Invalid, "%s: %w", manifestFile, err)
	}
	db, err := connect(dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var known sql.NullString
	if err := db.queryRow(ctx, `SELECT to_regclass('goose_db_version')::text`).Scan(&known); err != nil {
		return err
	}
	if known.Valid {
		return fault.New(fault.Conflict, "the database holds records already: give an empty one")
	}
	p, err := db.migrations()
	if err != nil {
		return err
	}
	if _, want, err := p.GetVersions(ctx); err != nil || m.Schema > want {
		return errors.Join(err, fault.New(fault.Invalid, "the backup has schema version %d, this program knows %d: use the newer program", m.Schema, want))
	}
	// First the schema that the copy was made of, then the data, then what came since.
	if _, err := p.UpTo(ctx, m.Schema); err != nil {
		return err
	}
	if err := db.onPostgres(ctx, func(conn *pgx.Conn) error { return load(ctx, conn, dir, m) }); err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

func load(ctx context.Context, conn *pgx.Conn, dir string, m manifest) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for i := range m.Tables {
			t := &m.Tables[i]
			if _, err := tx.Exec(ctx, `TRUNCATE `+pgx.Identifier{t.Name}.Sanitize()+` CASCADE`); err != nil { // what a migration put there
				return err
			}
		}
		for i := range m.Tables {
			t := &m.Tables[i]
			tag, err := fromFile(ctx, conn, filepath.Join(dir, filepath.Base(t.Name)+".copy"), `COPY `+t.target()+` FROM STDIN`)
			if err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
			if tag.RowsAffected() != t.Rows {
				return fault.New(fault.Invalid, "table %s: the copy holds %d rows, its manifest says %d", t.Name, tag.RowsAffected(), t.Rows)
			}
			if err := advance(ctx, tx, t.Name); err != nil {
				return fmt.Errorf("table %s: %w", t.Name, err)
			}
		}
		return nil
	})
}

func fromFile(ctx context.Context, conn *pgx.Conn, file, text string) (pgconn.CommandTag, error) {
	f, err := os.Open(file)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	defer f.Close()
	return conn.PgConn().CopyFrom(ctx, f, text)
}

// advance sets the counters of a table's numbered columns beyond what was loaded.
func advance(ctx context.Context, tx pgx.Tx, table string) error {
	rows, err := tx.Query(ctx, `SELECT attname::text, pg_get_serial_sequence($1, attname) FROM pg_attribute
		WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND pg_get_serial_sequence($1, attname) IS NOT NULL`, table)
	if err != nil {
		return err
	}
	type counter struct{ Column, Sequence string }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[counter])
	if err != nil {
		return err
	}
	for _, c := range all {
		text := fmt.Sprintf(`SELECT setval($1::regclass, coalesce((SELECT max(%s) FROM %s), 0) + 1, false)`,
			pgx.Identifier{c.Column}.Sanitize(), pgx.Identifier{table}.Sanitize())
		if _, err := tx.Exec(ctx, text, c.Sequence); err != nil {
			return err
		}
	}
	return nil
}
