package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

var _ telemetry.Exporter = (*History)(nil)

// Export writes rows to a Parquet file, as they stood when it began.
func (h *History) Export(ctx context.Context, q telemetry.ExportQuery, file string) (rows int64, err error) {
	err = h.read(ctx, func(c *sql.Conn, s *schema) error {
		p := s.products[q.Product]
		if p == nil {
			p = layout.NewProduct(0, q.Product)
			p.Segments = nil
		}
		units, query := p.Export(&q)
		nothing := fault.New(fault.NotFound, "there is nothing to export: history has no values of these signals in this time that may be given")
		if query == "" {
			return nothing
		}
		for _, statement := range units {
			if _, err := c.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		result, err := c.ExecContext(ctx, fmt.Sprintf("COPY (%s) TO %s (FORMAT parquet, COMPRESSION zstd)", query, layout.Quote(file)))
		if err != nil {
			return err
		}
		switch rows, err = result.RowsAffected(); {
		case err != nil:
			return err
		case rows == 0:
			return nothing
		}
		_, err = c.ExecContext(ctx, "DROP TABLE export_units")
		return err
	})
	if err != nil {
		if e := os.Remove(file); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
		return 0, fmt.Errorf("export history: %w", err)
	}
	return rows, nil
}
