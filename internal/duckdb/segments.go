package duckdb

import (
	"context"
	"database/sql"
	"fmt"

	"fettle.dev/fettle/internal/duckdb/layout"
)

// fromVersion1 takes the one table of each product as its first segment.
const fromVersion1 = `BEGIN TRANSACTION;
INSERT INTO segments SELECT id, 1, 'rows_' || id, false, 0, 0, 0, 0, 0, 0, 0 FROM products;
UPDATE format SET version = 2;
COMMIT`

// loadSegments reads the segments, and drops tables that a crash left behind
// before they became one.
func loadSegments(ctx context.Context, db *sql.DB, products map[int]*layout.Product) error {
	columns := map[string][]int{}
	err := each(ctx, db, "SELECT table_name, coalesce(try_cast(column_name[2:] AS INTEGER), -1) FROM duckdb_columns() WHERE NOT internal AND regexp_matches(table_name, '^(rows|part)_')", func(rows *sql.Rows) error {
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
	err = each(ctx, db, query, func(rows *sql.Rows) error {
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

// measure reads what the record of a part says of its rows.
func measure(ctx context.Context, c *sql.Conn, s *layout.Segment) error {
	return c.QueryRowContext(ctx, "SELECT count(*), coalesce(min(event), 0), coalesce(max(event), 0), coalesce(min(seq), 0), coalesce(max(seq), 0) FROM "+s.Table).
		Scan(&s.Rows, &s.FirstEvent, &s.LastEvent, &s.FirstSeq, &s.LastSeq)
}

// chooseLevels keeps those rollups that have at most half the rows of the next
// finer: of a unit that reports once an hour the rows themselves serve as
// rollups by the minute.
func (h *History) chooseLevels(ctx context.Context, part *layout.Segment) error {
	return h.use(ctx, func(c *sql.Conn) error {
		var finer int64
		if err := c.QueryRowContext(ctx, "SELECT count(*) FROM "+part.Table).Scan(&finer); err != nil {
			return err
		}
		for l, width := range layout.LevelWidth {
			var groups int64
			query := fmt.Sprintf("SELECT count(*) FROM (SELECT DISTINCT unit, %s FROM %s)", layout.FloorOf("event", width), part.Table) //nolint:gosec // names and numbers of our own
			if err := c.QueryRowContext(ctx, query).Scan(&groups); err != nil {
				return err
			}
			if part.Levels[l] = 2*groups <= finer; part.Levels[l] {
				finer = groups
			}
		}
		return nil
	})
}
