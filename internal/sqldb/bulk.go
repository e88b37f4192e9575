package sqldb

import (
	"context"
	"strings"
)

// maxParameters keeps below what both databases take in one statement
// (SQLite 32,766, PostgreSQL 65,535) and where both are fastest.
const maxParameters = 8000

// insertRows writes rows by as few statements as parameters allow:
// "INSERT INTO t (a, b)" + " VALUES (?,?),(?,?)…" + " ON CONFLICT …". Rows
// must not hit the same key twice where tail updates. Call it inside InTx when
// all or none of the rows shall stand.
func (db *DB) insertRows(ctx context.Context, head, tail string, rows [][]any) error {
	_, err := db.InsertCounted(ctx, head, tail, rows)
	return err
}

// InsertCounted is InsertRows that says how many rows were written: fewer where
// tail says DO NOTHING.
func (db *DB) InsertCounted(ctx context.Context, head, tail string, rows [][]any) (written int, err error) {
	if len(rows) == 0 {
		return 0, nil
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
		res, err := db.exec(ctx, text, args...)
		if err != nil {
			return written, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return written, err
		}
		written += int(n)
	}
	return written, nil
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
