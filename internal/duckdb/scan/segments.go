package scan

import (
	"context"
	"database/sql"

	"fettle.dev/fettle/internal/duckdb/layout"
)

// Segments reads the segments, and drops tables that a crash left behind
// before they became one.
func Segments(ctx context.Context, db *sql.DB, products map[int]*layout.Product) error {
	columns := map[string][]int{}
	err := Each(ctx, db, "SELECT table_name, coalesce(try_cast(column_name[2:] AS INTEGER), -1) FROM duckdb_columns() WHERE NOT internal AND regexp_matches(table_name, '^(rows|part)_')", func(rows *sql.Rows) error {
		var table string
		var column int
		err := rows.Scan(&table, &column)
		columns[table] = append(columns[table], column)
		return err
	})
	if err != nil {
		return err
	}
	query := "SELECT product, id, tbl, sorted, after, n, first_event, last_event, first_seq, last_seq, levels FROM segments ORDER BY product, sorted DESC, first_seq, id"
	err = Each(ctx, db, query, func(rows *sql.Rows) error {
		var product, mask int
		s := &layout.Segment{}
		if err := rows.Scan(&product, &s.ID, &s.Table, &s.Sorted, &s.After, &s.Rows, &s.FirstEvent, &s.LastEvent, &s.FirstSeq, &s.LastSeq, &mask); err != nil {
			return err
		}
		p := products[product]
		s.Has = make([]bool, len(p.Columns))
		for _, i := range columns[s.Table] {
			if i >= 0 && i < len(s.Has) {
				s.Has[i] = true
			}
		}
		for l := range s.Levels {
			s.Levels[l] = mask&(1<<l) != 0
		}
		p.Segments = append(p.Segments, s)
		for _, t := range s.Tables() {
			delete(columns, t)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for table := range columns {
		if _, err := db.ExecContext(ctx, "DROP TABLE "+table); err != nil {
			return err
		}
	}
	return nil
}

// Measure reads what the record of a part says of its rows.
func Measure(ctx context.Context, c *sql.Conn, s *layout.Segment) error {
	return c.QueryRowContext(ctx, "SELECT count(*), coalesce(min(event), 0), coalesce(max(event), 0), coalesce(min(seq), 0), coalesce(max(seq), 0) FROM "+s.Table).
		Scan(&s.Rows, &s.FirstEvent, &s.LastEvent, &s.FirstSeq, &s.LastSeq)
}
