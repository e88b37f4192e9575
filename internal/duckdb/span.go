package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/duckdb/layout"
)

// EraseSpan removes a unit's rows and events with event times in [from, to),
// marks received then, and what rollups say of them; a zero time is open. What
// the unit had before and after stays.
func (h *History) EraseSpan(ctx context.Context, unit int64, from, to time.Time) error {
	defer h.reshape()()
	q := layout.Pick{Units: []int64{unit}}
	q.Bound(from, to)
	if q.First >= q.Last {
		return nil
	}
	where := layout.Where(q.Where(&layout.Segment{})) // also of rows that stand in parts by now
	events, err := h.eventTables(ctx)
	if err != nil {
		return fmt.Errorf("erase a span of history: %w", err)
	}
	err = h.rewrite(ctx, func(c *sql.Conn) ([]*layout.Product, error) {
		loose := map[string]string{"marks": strings.ReplaceAll(where, "event ", "received ")}
		for _, t := range events {
			loose[t] = where
		}
		for t, where := range loose {
			if err := deleteRows(ctx, c, t, where); err != nil {
				return nil, err
			}
		}
		var changed []*layout.Product
		for _, p := range h.schema.Load().products {
			p = p.Clone()
			for _, s := range slices.Clone(p.Segments) {
				if !s.Overlaps(q.First, q.Last) {
					continue
				}
				statements := append(s.EraseSpan(p, unit, q.First, q.Last, where), layout.Rewrite(s.Table))
				for _, t := range s.Tables()[1:] {
					statements = append(statements, layout.Rewrite(t)+" ORDER BY unit, bucket")
				}
				if err := purge(ctx, c, p, s, where, statements); err != nil {
					return nil, err
				}
			}
			changed = append(changed, p)
		}
		return changed, nil
	})
	if err != nil {
		return fmt.Errorf("erase a span of history: %w", err)
	}
	for _, known := range h.units {
		if r := known[unit]; r != nil {
			r.Unlearn()
			r.Newest = nil // they are another now
		}
	}
	if err := h.use(ctx, func(c *sql.Conn) error { return h.rereadNewest(ctx, c, unit) }); err != nil {
		h.forgetNewest() // they are read anew when somebody asks
		h.log.Warn("history: newest values after an erasure", "error", err)
	}
	return nil
}
