package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// firstRows is how many of a unit's newest rows Latest looks at before it looks
// for what they lack in all of them.
const firstRows = 64

// Latest is the newest value of each signal of a unit. Of values of the same
// time the one stored last counts: seq breaks ties.
func (h *History) Latest(ctx context.Context, product string, unit int64) (map[string]telemetry.Sample, error) {
	latest := map[string]telemetry.Sample{}
	p := h.product(product)
	if p == nil || len(p.columns) == 0 {
		return latest, nil
	}
	found := make([]bool, len(p.columns))
	take := func(column int, at int64, value any) {
		s := telemetry.Sample{At: time.UnixMilli(at).UTC()}
		switch v := value.(type) {
		case float64:
			s.Number = v
		case string:
			s.Text, s.IsText = v, true
		}
		found[column] = true
		// A signal whose type has changed has two columns.
		name := p.columns[column].signal
		if other, ok := latest[name]; !ok || s.At.After(other.At) {
			latest[name] = s
		}
	}
	err := h.use(ctx, func(c *sql.Conn) error {
		rows, err := latestRows(ctx, c, p, unit, found, take)
		if err != nil || rows < firstRows {
			return err
		}
		return latestOf(ctx, c, p, unit, found, take)
	})
	if err != nil {
		return nil, fmt.Errorf("latest values: %w", err)
	}
	return latest, nil
}

// latestRows takes what the unit's newest rows hold, and counts them.
func latestRows(ctx context.Context, c *sql.Conn, p *product, unit int64, found []bool, take func(column int, at int64, value any)) (n int, err error) {
	list := make([]string, len(p.columns))
	for i := range list {
		list[i] = columnName(i)
	}
	query := "SELECT event, " + strings.Join(list, ", ") + " FROM " + p.table + " WHERE unit = " + bigint(unit) + //nolint:gosec // names and numbers of our own
		" ORDER BY event DESC, seq DESC, idx DESC LIMIT " + strconv.Itoa(firstRows)
	rows, err := c.QueryContext(ctx, query)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]any, len(list))
	var at int64
	into := []any{&at}
	for i := range values {
		into = append(into, &values[i])
	}
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		for i, v := range values {
			if v != nil && !found[i] {
				take(i, at, v)
			}
		}
	}
	return n, rows.Err()
}

// latestOf takes what the newest rows lacked from all the unit's rows.
func latestOf(ctx context.Context, c *sql.Conn, p *product, unit int64, found []bool, take func(column int, at int64, value any)) error {
	var list []string
	var columns []int
	for i := range p.columns {
		if !found[i] {
			v := columnName(i)
			list, columns = append(list, fmt.Sprintf("arg_max({v: %s, t: event}, (event, seq, idx)) FILTER (%s IS NOT NULL)", v, v)), append(columns, i)
		}
	}
	if len(list) == 0 {
		return nil
	}
	values := make([]any, len(list))
	into := make([]any, len(list))
	for i := range values {
		into[i] = &values[i]
	}
	query := "SELECT " + strings.Join(list, ", ") + " FROM " + p.table + " WHERE unit = " + bigint(unit)
	if err := c.QueryRowContext(ctx, query).Scan(into...); err != nil {
		return err
	}
	for i, v := range values {
		if pair, ok := v.(map[string]any); ok {
			take(columns[i], pair["t"].(int64), pair["v"])
		}
	}
	return nil
}

// Series is a unit's signal in [from, to), in at most buckets points; buckets
// without values have none. A signal of texts has none at all. A zero from or
// to is that of the unit's rows.
func (h *History) Series(ctx context.Context, product string, unit int64, signal string, from, to time.Time, buckets int) ([]telemetry.Point, error) {
	if buckets < 1 {
		return nil, fault.New(fault.Invalid, "series: at least one bucket is needed, not %d", buckets)
	}
	p := h.product(product)
	if p == nil {
		return nil, nil
	}
	n, ok := p.number[signal]
	if !ok {
		return nil, nil
	}
	var points []telemetry.Point
	err := h.use(ctx, func(c *sql.Conn) error {
		first, last, err := bounds(ctx, c, p, unit, from, to)
		if err != nil || last <= first {
			return err
		}
		// Division by floats keeps spans of any length from overflowing.
		width := max(int64((float64(last)-float64(first))/float64(buckets)), 1)
		for float64(width)*float64(buckets) < float64(last)-float64(first) {
			width++
		}
		query := fmt.Sprintf(`SELECT (event - %[1]d) // %[2]d AS bucket, min(%[3]s), max(%[3]s), avg(%[3]s), count(%[3]s)
			FROM %[4]s WHERE unit = %[5]s AND event >= %[1]d AND event < %[6]d AND %[3]s IS NOT NULL GROUP BY bucket ORDER BY bucket`,
			first, width, columnName(n), p.table, bigint(unit), last)
		return each(ctx, c, query, func(rows *sql.Rows) error {
			var bucket int64
			var point telemetry.Point
			err := rows.Scan(&bucket, &point.Min, &point.Max, &point.Mean, &point.Count)
			point.At = time.UnixMilli(first + bucket*width).UTC()
			points = append(points, point)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("series: %w", err)
	}
	return points, nil
}

// bounds gives a span of event times as [first, last).
func bounds(ctx context.Context, c *sql.Conn, p *product, unit int64, from, to time.Time) (first, last int64, err error) {
	if from.IsZero() || to.IsZero() {
		query := "SELECT coalesce(min(event), 0), coalesce(max(event) + 1, 0) FROM " + p.table + " WHERE unit = " + bigint(unit)
		if err := c.QueryRowContext(ctx, query).Scan(&first, &last); err != nil {
			return 0, 0, err
		}
	}
	if !from.IsZero() {
		first = ceilMilli(from)
	}
	if !to.IsZero() {
		last = ceilMilli(to)
	}
	return first, last, nil
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
		query += " WHERE unit IN (" + list(units) + ")"
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
	p := h.product(product)
	if p == nil {
		return time.Time{}, time.Time{}, nil
	}
	var first, last sql.NullInt64
	err = h.use(ctx, func(c *sql.Conn) error {
		return c.QueryRowContext(ctx, "SELECT min(event), max(event) FROM "+p.table).Scan(&first, &last)
	})
	if err != nil {
		return time.Time{}, time.Time{}, fmt.Errorf("extent of history: %w", err)
	}
	if !first.Valid {
		return time.Time{}, time.Time{}, nil
	}
	return time.UnixMilli(first.Int64).UTC(), time.UnixMilli(last.Int64).UTC(), nil
}

func list(units []int64) string {
	var b strings.Builder
	for i, u := range units {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(bigint(u))
	}
	return b.String()
}
