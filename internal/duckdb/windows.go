package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/duckdb/replay"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// Windows calls fn for each window of each unit that has values, by unit and
// time.
func (h *History) Windows(ctx context.Context, q telemetry.WindowQuery, fn func(w *telemetry.Window) error) error {
	switch {
	case q.Width < 0 || q.Width%time.Millisecond != 0:
		return fault.New(fault.Invalid, "windows: a width of whole milliseconds is needed, not %s", q.Width)
	case q.Width > 0 && (q.From.IsZero() || q.To.IsZero()):
		return fault.New(fault.Invalid, "windows of a width need a span that begins and ends")
	case q.Measures == 0:
		q.Measures = telemetry.MeasureAll
	}
	q.Measures |= telemetry.MeasureCount // it tells which windows have values
	span := layout.Pick{Units: q.Units}
	span.Bound(q.From, q.To)
	if q.Units != nil && len(q.Units) == 0 || span.First >= span.Last {
		return nil
	}
	err := h.read(ctx, func(c *sql.Conn, s *schema) error {
		p := s.products[q.Product]
		if p == nil {
			return nil
		}
		w := replay.NewWindows(p, q, span)
		query := w.Query(p, span)
		if query == "" {
			return nil
		}
		return c.Raw(func(conn any) error { return w.Run(ctx, conn.(replay.Queryer), query, fn) })
	})
	if err != nil {
		return fmt.Errorf("windows: %w", err)
	}
	return nil
}
