package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"fettle.dev/fettle/internal/duckdb/layout"
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
	if q.Units != nil && len(q.Units) == 0 || !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return nil
	}
	var err error
	if done := false; q.Newest() {
		if done, err = h.newestWindows(ctx, q, fn); done {
			return err
		}
	}
	if !q.From.IsZero() {
		first, last := layout.CeilMilli(q.From), int64(math.MaxInt64)
		if !q.To.IsZero() {
			last = layout.CeilMilli(q.To)
		}
		if done, err := h.fresh.Windows(&q, first, last, fn); done {
			return err
		}
	}
	if err == nil {
		err = h.read(ctx, func(c *sql.Conn, s *schema) error {
			p := s.products[q.Product]
			if p == nil {
				return nil
			}
			return h.queryWindows(ctx, c, p, q, fn)
		})
	}
	if err != nil {
		return fmt.Errorf("windows: %w", err)
	}
	return nil
}
