package sqldb

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/mattn/go-sqlite3"
)

// maxParameters keeps below what both databases take in one statement
// (SQLite 32,766, PostgreSQL 65,535) and where both are fastest.
const maxParameters = 8000

// insertRows writes rows by as few statements as parameters allow:
// "INSERT INTO t (a, b)" + " VALUES (?,?),(?,?)…" + " ON CONFLICT …". Rows
// must not hit the same key twice where tail updates. Call it inside InTx when
// all or none of the rows shall stand.
func (db *DB) insertRows(ctx context.Context, head, tail string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	columns := len(rows[0])
	tuple := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	size := max(1, maxParameters/columns)
	for len(rows) > 0 {
		part := rows[:min(size, len(rows))]
		rows = rows[len(part):]
		args := make([]any, 0, len(part)*columns)
		for _, r := range part {
			args = append(args, r...)
		}
		text := head + " VALUES " + strings.TrimSuffix(strings.Repeat(tuple+",", len(part)), ",") + tail
		if _, err := db.exec(ctx, text, args...); err != nil {
			return err
		}
	}
	return nil
}

// in writes "column IN (?,?,…)" for up to maxParameters values; use chunks for
// more.
func in[T any](column string, values []T) (text string, args []any) {
	if len(values) == 0 {
		return "1 = 0", nil
	}
	args = make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return column + " IN (" + strings.TrimSuffix(strings.Repeat("?,", len(values)), ",") + ")", args
}

// isForeign reports whether err says that a row referred to is missing, or
// that a row is still referred to.
func isForeign(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == "23503"
	}
	e, ok := errors.AsType[sqlite3.Error](err)
	return ok && e.ExtendedCode == sqlite3.ErrConstraintForeignKey
}

// isDuplicate reports whether err says that a unique key is taken.
func isDuplicate(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == "23505"
	}
	e, ok := errors.AsType[sqlite3.Error](err)
	return ok && (e.ExtendedCode == sqlite3.ErrConstraintUnique || e.ExtendedCode == sqlite3.ErrConstraintPrimaryKey)
}
