package duckdb

import (
	"context"
	"database/sql"
	"time"

	"fettle.dev/fettle/internal/duckdb/scan"
	"fettle.dev/fettle/internal/telemetry"
)

// withEvents runs f on a product's table of events, if there is one.
func (h *History) withEvents(ctx context.Context, product string, f func(c *sql.Conn, table string) error) error {
	p := h.product(product)
	return h.use(ctx, func(c *sql.Conn) error {
		if has, err := hasEvents(ctx, c, p); err != nil || !has {
			return err
		}
		return f(c, eventsTable(p))
	})
}

// FeatureEvents calls fn for the uses of features of a product since a time,
// in stream order, up to a position (0: all). It knows nothing of consent.
func (h *History) FeatureEvents(ctx context.Context, product string, from time.Time, upTo uint64, fn func(e *telemetry.StoredEvent) error) error {
	return h.withEvents(ctx, product, func(c *sql.Conn, table string) error { return scan.FeatureEvents(ctx, c, table, from, upTo, fn) })
}

// FeatureUse sums the uses of features by unit: how many, and when the newest
// was (event time, Unix ms), up to a position (0: all) and before a time
// (zero: any). It knows nothing of consent.
func (h *History) FeatureUse(ctx context.Context, product string, upTo uint64, before time.Time, fn func(unit int64, feature string, count, last int64) error) error {
	return h.withEvents(ctx, product, func(c *sql.Conn, table string) error { return scan.FeatureUse(ctx, c, table, upTo, before, fn) })
}
