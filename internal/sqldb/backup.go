package sqldb

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"fettle.dev/fettle/internal/fault"
)

// SQLiteFile is the name of SQLite's records in a backup.
const SQLiteFile = "records.db"

// copyFile is the name of PostgreSQL's records in a backup: for each table a
// header line and then one line a row, all JSON.
const copyFile = "records.jsonl"

// Kind is "sqlite" or "postgres".
func (db *DB) Kind() string {
	if db.postgres {
		return "postgres"
	}
	return "sqlite"
}

// Backup writes the records of one moment into dir, while they are in use.
func (db *DB) Backup(ctx context.Context, dir string) error {
	if !db.postgres {
		if _, err := db.sql.ExecContext(ctx, "VACUUM INTO ?", filepath.Join(dir, SQLiteFile)); err != nil {
			return fmt.Errorf("back up records: %w", err)
		}
		return nil
	}
	if err := db.copyOut(ctx, filepath.Join(dir, copyFile)); err != nil {
		return fmt.Errorf("back up records: %w", err)
	}
	return nil
}

// Restore puts the records of a backup in dir at dsn, which must be empty: no
// file yet, or a PostgreSQL database without tables of ours.
func Restore(ctx context.Context, dsn, dir string) error {
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		from := filepath.Join(dir, SQLiteFile)
		if _, err := os.Stat(from); err != nil {
			return fault.New(fault.Invalid, "restore records: the backup was made on PostgreSQL; restore it with records: postgres://…")
		}
		if _, err := os.Stat(path); err == nil {
			return fault.New(fault.Conflict, "restore records: %s exists", path)
		}
		return os.Rename(from, path)
	}
	if _, err := os.Stat(filepath.Join(dir, copyFile)); err != nil {
		return fault.New(fault.Invalid, "restore records: the backup was made on SQLite; restore it without a records setting")
	}
	db, err := Open(ctx, dsn)
	if err != nil {
		return err
	}
	return errors.Join(db.copyIn(ctx, filepath.Join(dir, copyFile)), db.Close())
}

// table is a header line of a copy.
type table struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
}

// tables lists our tables, those that others refer to first, so that a copy
// can be read back in its order.
const tablesQuery = `
WITH RECURSIVE ours AS (
  SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relname <> 'goose_db_version'
), depth (oid, level) AS (
  SELECT oid, 0 FROM ours
  UNION
  SELECT k.conrelid, d.level + 1 FROM depth d JOIN pg_constraint k ON k.confrelid = d.oid AND k.contype = 'f' AND k.conrelid <> k.confrelid
  WHERE d.level < 32
)
SELECT ours.relname FROM ours JOIN depth USING (oid) GROUP BY ours.relname ORDER BY max(level), ours.relname`

func (db *DB) copyOut(ctx context.Context, path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	out := json.NewEncoder(w)

	tx, err := db.sql.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ignoreDone(tx.Rollback())) }()
	rows, err := tx.QueryContext(ctx, tablesQuery)
	names, err := collect(rows, err, func(r *sql.Rows) (n string, err error) { return n, r.Scan(&n) })
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyTable(ctx, tx, name, out); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return errors.Join(w.Flush(), f.Sync())
}

func copyTable(ctx context.Context, tx *sql.Tx, name string, out *json.Encoder) error {
	rows, err := tx.QueryContext(ctx, `SELECT * FROM "`+name+`"`)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	if err := out.Encode(table{name, columns}); err != nil {
		return err
	}
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row := make([]cell, len(values))
		for i, v := range values {
			row[i] = cell{v}
		}
		if err := out.Encode(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (db *DB) copyIn(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := json.NewDecoder(bufio.NewReaderSize(f, 1<<20))
	in.UseNumber()
	return db.InTx(ctx, func(ctx context.Context) error {
		insert := ""
		for {
			var line json.RawMessage
			if err := in.Decode(&line); errors.Is(err, io.EOF) {
				return db.advanceSequences(ctx)
			} else if err != nil {
				return fault.Wrap(fault.Invalid, "restore records: the copy is damaged", err)
			}
			if line[0] == '{' {
				var t table
				if err := json.Unmarshal(line, &t); err != nil {
					return fault.Wrap(fault.Invalid, "restore records: the copy is damaged", err)
				}
				var n int
				if err := db.queryRow(ctx, `SELECT count(*) FROM "`+t.Table+`"`).Scan(&n); err != nil {
					return fmt.Errorf("restore records: %w", err)
				}
				if n > 0 {
					return fault.New(fault.Conflict, "restore records: table %s holds rows already", t.Table)
				}
				insert = `INSERT INTO "` + t.Table + `" ("` + strings.Join(t.Columns, `", "`) + `") OVERRIDING SYSTEM VALUE VALUES (?` + strings.Repeat(", ?", len(t.Columns)-1) + `)`
				continue
			}
			var row []cell
			if err := json.Unmarshal(line, &row); err != nil {
				return fault.Wrap(fault.Invalid, "restore records: the copy is damaged", err)
			}
			args := make([]any, len(row))
			for i, c := range row {
				args[i] = c.value
			}
			if _, err := db.exec(ctx, insert, args...); err != nil {
				return fmt.Errorf("restore records: %w", err)
			}
		}
	})
}

// advanceSequences makes generated numbers go on above those copied in.
func (db *DB) advanceSequences(ctx context.Context) error {
	rows, err := db.query(ctx, `
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = current_schema() AND is_identity = 'YES' AND table_name <> 'goose_db_version' ORDER BY 1`)
	columns, err := collect(rows, err, func(r *sql.Rows) (c [2]string, err error) { return c, r.Scan(&c[0], &c[1]) })
	if err != nil {
		return fmt.Errorf("restore records: %w", err)
	}
	for _, c := range columns {
		if _, err := db.exec(ctx, `SELECT setval(pg_get_serial_sequence('"`+c[0]+`"', '`+c[1]+`'), coalesce((SELECT max("`+c[1]+`") FROM "`+c[0]+`"), 0) + 1, false)`); err != nil {
			return fmt.Errorf("restore records: %w", err)
		}
	}
	return nil
}

// cell is one value of a copied row. The columns' types are few: text, whole
// numbers, numbers, booleans, bytes (as {"bytes": base64}) and null.
type cell struct{ value any }

type bytesCell struct {
	Bytes []byte `json:"bytes"`
}

// MarshalJSON writes the value.
func (c cell) MarshalJSON() ([]byte, error) {
	if b, ok := c.value.([]byte); ok {
		return json.Marshal(bytesCell{b})
	}
	return json.Marshal(c.value)
}

// UnmarshalJSON reads it back. A whole number stays one.
func (c *cell) UnmarshalJSON(raw []byte) error {
	switch raw[0] {
	case '{':
		var b bytesCell
		if err := json.Unmarshal(raw, &b); err != nil {
			return err
		}
		c.value = b.Bytes
	case '"', 't', 'f', 'n':
		return json.Unmarshal(raw, &c.value)
	default:
		n := json.Number(raw)
		if i, err := n.Int64(); err == nil {
			c.value = i
			return nil
		}
		f, err := n.Float64()
		if err != nil {
			return err
		}
		c.value = f
	}
	return nil
}
