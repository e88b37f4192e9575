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
