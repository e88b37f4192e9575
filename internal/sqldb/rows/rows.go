// Package rows reads what queries of the records give: whole lists, one that is
// missing, and times, which are kept as Unix milliseconds (0: none).
package rows

import (
	"database/sql"
	"errors"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb/failure"
)

// Collect scans every row of a query.
func Collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, failure.Away(rows.Err())
}

// Missing turns "no rows" into fault.NotFound that names what was looked for.
func Missing(err error, format string, args ...any) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, format, args...)
	}
	return failure.Away(err)
}

// Millis is how a time is kept.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Time is the time that was kept.
func Time(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// One gives the only element, or fault.NotFound in the caller's words.
func One[T any](all []T, err error) func(format string, args ...any) (T, error) {
	return func(format string, args ...any) (v T, _ error) {
		switch {
		case err != nil:
			return v, err
		case len(all) == 0:
			return v, fault.New(fault.NotFound, format, args...)
		}
		return all[0], nil
	}
}

// Gone turns "no row was touched" into fault.NotFound.
func Gone(res sql.Result, err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, format, args...)
	}
	return err
}
