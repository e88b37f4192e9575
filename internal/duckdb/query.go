package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/duckdb/newest"
	"fettle.dev/fettle/internal/duckdb/replay"
	"fettle.dev/fettle/internal/duckdb/scan"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// Latest is the newest value of each of the signals (none: all) of a unit. Of
// values of the same time the one stored last counts: seq breaks ties. Numbers
// are known from memory, texts are looked up.
func (h *History) Latest(ctx context.Context, product string, unit int64, signals ...string) (map[string]telemetry.Sample, error) {
	latest := map[string]telemetry.Sample{}
	wanted := func(c layout.Column) bool { return len(signals) == 0 || slices.Contains(signals, c.Signal) }
	take := func(c layout.Column, sample telemetry.Sample) {
		if !wanted(c) {
			return
		}
		// A signal whose type has changed has two columns.
		if other, ok := latest[c.Signal]; !ok || sample.At.After(other.At) {
			latest[c.Signal] = sample
		}
	}
	numbers := false // are known from memory
	if p := h.product(product); p != nil {
		if values := h.newestValues(p); values != nil {
			var found []newest.Value
			if found, numbers = values.Of(unit); numbers {
				for i, v := range found {
					if v.Known() {
						take(p.Columns[i], telemetry.Sample{At: time.UnixMilli(v.Event).UTC(), Number: v.Number})
					}
				}
			}
		}
		if numbers && !slices.ContainsFunc(p.Columns, func(c layout.Column) bool { return c.IsText && wanted(c) }) {
			return latest, nil
		}
	}
	err := h.read(ctx, func(c *sql.Conn, s *schema) error {
		p := s.products[product]
		if p == nil {
			return nil
		}
		var columns []int
		for i, column := range p.Columns {
			if wanted(column) && (column.IsText || !numbers) {
				columns = append(columns, i)
			}
		}
		if len(columns) == 0 {
			return nil
		}
		found, err := scan.Newest(ctx, c, p, unit, columns)
		for i, n := range found {
			if n == nil {
				continue
			}
			sample := telemetry.Sample{At: time.UnixMilli(n.Event).UTC()}
			switch v := n.Value.(type) {
			case float64:
				sample.Number = v
			case string:
				sample.Text, sample.IsText = v, true
			}
			take(p.Columns[i], sample)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("latest values: %w", err)
	}
	return latest, nil
}

// Series is a unit's signal in [from, to), in at most buckets points; buckets
// without values have none. A signal of texts has none at all. A zero from or
// to is that of the unit's rows. Points further apart than a minute begin at
// whole minutes, hours or days, the first one at from: rollups have the rest.
func (h *History) Series(ctx context.Context, product string, unit int64, signal string, from, to time.Time, buckets int) ([]telemetry.Point, error) {
	if buckets < 1 {
		return nil, fault.New(fault.Invalid, "series: at least one bucket is needed, not %d", buckets)
	}
	var points []telemetry.Point
	err := h.read(ctx, func(c *sql.Conn, s *schema) error {
		p := s.products[product]
		if p == nil {
			return nil
		}
		n, ok := p.Find(signal, false)
		if !ok {
			return nil
		}
		first, last, err := scan.Bounds(ctx, c, p, unit, from, to)
		if err != nil || last <= first {
			return err
		}
		g := layout.SeriesGrid(first, last, buckets)
		q := layout.Pick{Units: []int64{unit}}
		query := p.Measure(g, q, []int{n}, telemetry.MeasureCount|telemetry.MeasureSum|telemetry.MeasureMin|telemetry.MeasureMax)
		if query == "" {
			return nil
		}
		var unit, bucket, count int64
		var least, greatest, sum sql.NullFloat64
		return each(ctx, c, query+" ORDER BY win", func(rows *sql.Rows) error {
			err := rows.Scan(&unit, &bucket, &count, &sum, &least, &greatest)
			if count > 0 {
				points = append(points, telemetry.Point{
					At: g.At(bucket), Min: least.Float64, Max: greatest.Float64, Mean: sum.Float64 / float64(count), Count: count,
				})
			}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("series: %w", err)
	}
	return points, nil
}

// Replay calls fn for the rows and marks that q picks, in stream order, as
// they stood when it began. Of the marks it leaves out those of units that q
// does not name; times do not bound marks.
func (h *History) Replay(ctx context.Context, q telemetry.Query, fn func(row *telemetry.Stored, mark *telemetry.StoredMark) error) error {
	// One transaction sees one state, however long fn takes.
	err := h.read(ctx, func(c *sql.Conn, s *schema) error {
		return c.Raw(func(conn any) error {
			return replay.Run(ctx, conn.(replay.Queryer), s.products[q.Product], q, fn)
		})
	})
	if err != nil {
		return fmt.Errorf("replay history: %w", err)
	}
	return nil
}

// Accounts is the accounting of units, nil: of all; units of which nothing was
// ever acknowledged are left out.
func (h *History) Accounts(ctx context.Context, units []int64) ([]telemetry.Account, error) {
	accounts := []telemetry.Account{}
	if units != nil && len(units) == 0 {
		return accounts, nil
	}
	query := sumAccounts
	if units != nil {
		query += " WHERE unit IN (" + layout.List(units) + ")"
	}
	err := h.use(ctx, func(c *sql.Conn) error {
		return each(ctx, c, query+" GROUP BY unit ORDER BY unit", func(rows *sql.Rows) error {
			var a telemetry.Account
			err := rows.Scan(&a.Unit, &a.Stored, &a.NotConsented, &a.Undeclared, &a.Duplicate, &a.Invalid)
			a.Acknowledged = a.Stored + a.NotConsented + a.Undeclared + a.Duplicate + a.Invalid
			accounts = append(accounts, a)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	return accounts, nil
}

// Extent is the earliest and latest event time held of a product; zero times
// when nothing is.
func (h *History) Extent(ctx context.Context, product string) (from, to time.Time, err error) {
	var first, last sql.NullInt64
	err = h.read(ctx, func(c *sql.Conn, s *schema) error {
		p := s.products[product]
		if p == nil {
			return nil
		}
		for _, s := range p.Segments {
			oldest, newest := sql.NullInt64{Int64: s.FirstEvent, Valid: true}, sql.NullInt64{Int64: s.LastEvent, Valid: true}
			if !s.Sorted { // of a part it is known
				if err := c.QueryRowContext(ctx, "SELECT min(event), max(event) FROM "+s.Table+layout.Where(s.Beyond())).Scan(&oldest, &newest); err != nil {
					return err
				}
			}
			switch {
			case !oldest.Valid:
			case !first.Valid:
				first, last = oldest, newest
			default:
				first.Int64, last.Int64 = min(first.Int64, oldest.Int64), max(last.Int64, newest.Int64)
			}
		}
		return nil
	})
	if err != nil {
		return time.Time{}, time.Time{}, fmt.Errorf("extent of history: %w", err)
	}
	if !first.Valid {
		return time.Time{}, time.Time{}, nil
	}
	return time.UnixMilli(first.Int64).UTC(), time.UnixMilli(last.Int64).UTC(), nil
}
