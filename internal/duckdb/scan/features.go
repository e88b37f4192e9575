package scan

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/telemetry"
)

// features asks a table of events for uses of features up to a position in the
// stream (0: all).
func features(columns, table string, upTo uint64, where, order string) string {
	if upTo > 0 {
		where += " AND seq <= " + layout.Bigint(int64(upTo))
	}
	return fmt.Sprintf("SELECT %s FROM %s WHERE kind = %d%s %s", columns, table, telemetry.EventFeature, where, order)
}

// FeatureEvents calls fn for the uses of features since a time, in stream order.
func FeatureEvents(ctx context.Context, c *sql.Conn, table string, from time.Time, upTo uint64, fn func(e *telemetry.StoredEvent) error) error {
	query := features("seq, idx, unit, event, received, name", table, upTo, " AND event >= "+layout.Bigint(layout.CeilMilli(from)), "ORDER BY seq, idx")
	return Each(ctx, c, query, func(rows *sql.Rows) error {
		e := telemetry.StoredEvent{Event: telemetry.Event{Kind: telemetry.EventFeature}}
		if err := rows.Scan(&e.Seq, &e.Index, &e.Unit, &e.Event.Event, &e.Received, &e.Name); err != nil {
			return err
		}
		return fn(&e)
	})
}

// FeatureUse sums the uses of features by unit, before a time (zero: any).
func FeatureUse(ctx context.Context, c *sql.Conn, table string, upTo uint64, before time.Time, fn func(unit int64, feature string, count, last int64) error) error {
	where := ""
	if !before.IsZero() {
		where = " AND event < " + layout.Bigint(layout.CeilMilli(before))
	}
	return Each(ctx, c, features("unit, name, count(*), max(event)", table, upTo, where, "GROUP BY unit, name ORDER BY unit, name"), func(rows *sql.Rows) error {
		var unit, count, last int64
		var name string
		if err := rows.Scan(&unit, &name, &count, &last); err != nil {
			return err
		}
		return fn(unit, name, count, last)
	})
}
