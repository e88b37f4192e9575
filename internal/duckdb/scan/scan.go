// Package scan reads rows of history's tables: the newest values of a unit,
// the span of its rows, and how often features were used.
package scan

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/duckdb/layout"
)

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Each calls f for every row of a query.
func Each(ctx context.Context, db queryer, query string, f func(rows *sql.Rows) error) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// firstRows is how many of a unit's newest rows Newest looks at before it looks
// for what they lack in all of them.
const firstRows = 64

// Placed is a value and where it stands among others of its signal.
type Placed struct {
	Event, seq, idx int64
	Value           any
}

func (n *Placed) before(o *Placed) bool {
	return cmp.Or(cmp.Compare(n.Event, o.Event), cmp.Compare(n.seq, o.seq), cmp.Compare(n.idx, o.idx)) < 0
}

// Newest is the newest value of columns of a unit, by number of column;
// nil where it has none.
// Segments are looked through from the newest event times back, as long as
// they may hold anything newer than what was found.
func Newest(ctx context.Context, c *sql.Conn, p *layout.Product, unit int64, wanted []int) ([]*Placed, error) {
	found := make([]*Placed, len(p.Columns))
	take := func(column int, n Placed) {
		if have := found[column]; have == nil || have.before(&n) {
			found[column] = &n
		}
	}
	segments := slices.Clone(p.Segments)
	slices.SortStableFunc(segments, func(a, b *layout.Segment) int {
		if a.Sorted != b.Sorted {
			if a.Sorted {
				return 1
			}
			return -1
		}
		return -cmp.Compare(a.LastEvent, b.LastEvent)
	})
	for _, s := range segments {
		var columns []int
		for _, i := range wanted {
			if s.Holds(i) && (found[i] == nil || !s.Sorted || found[i].Event <= s.LastEvent) {
				columns = append(columns, i)
			}
		}
		if len(columns) == 0 {
			continue
		}
		rows, missing, err := latestRows(ctx, c, s, unit, columns, take)
		if err == nil && rows == firstRows {
			err = latestOf(ctx, c, s, unit, missing, take)
		}
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// latestRows takes what the unit's newest rows in the segment hold, and counts
// them; missing are the columns of which they have nothing.
func latestRows(ctx context.Context, c *sql.Conn, s *layout.Segment, unit int64, columns []int, take func(column int, n Placed)) (n int, missing []int, err error) {
	list := make([]string, len(columns))
	for i, column := range columns {
		list[i] = layout.ColumnName(column)
	}
	q := layout.Pick{Units: []int64{unit}, First: math.MinInt64, Last: math.MaxInt64}
	query := "SELECT event, seq, idx, " + strings.Join(list, ", ") + " FROM " + s.Table + layout.Where(q.Where(s)) +
		" ORDER BY event DESC, seq DESC, idx DESC LIMIT " + strconv.Itoa(firstRows)
	found := make([]bool, len(columns))
	values := make([]any, len(list))
	var at Placed
	into := []any{&at.Event, &at.seq, &at.idx}
	for i := range values {
		into = append(into, &values[i])
	}
	err = Each(ctx, c, query, func(rows *sql.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		n++
		for i, v := range values {
			if v != nil && !found[i] {
				found[i], at.Value = true, v
				take(columns[i], at)
			}
		}
		return nil
	})
	for i, column := range columns {
		if !found[i] {
			missing = append(missing, column)
		}
	}
	return n, missing, err
}

// latestOf takes the newest values of columns from all the unit's rows in the
// segment.
func latestOf(ctx context.Context, c *sql.Conn, s *layout.Segment, unit int64, columns []int, take func(column int, n Placed)) error {
	if len(columns) == 0 {
		return nil
	}
	list := make([]string, len(columns))
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i, column := range columns {
		v := layout.ColumnName(column)
		list[i] = fmt.Sprintf("arg_max({v: %s, t: event, s: seq, i: idx}, (event, seq, idx)) FILTER (%s IS NOT NULL)", v, v)
		into[i] = &values[i]
	}
	q := layout.Pick{Units: []int64{unit}, First: math.MinInt64, Last: math.MaxInt64}
	query := "SELECT " + strings.Join(list, ", ") + " FROM " + s.Table + layout.Where(q.Where(s))
	if err := c.QueryRowContext(ctx, query).Scan(into...); err != nil {
		return err
	}
	for i, v := range values {
		if n, ok := v.(map[string]any); ok {
			take(columns[i], Placed{n["t"].(int64), n["s"].(int64), int64(n["i"].(int32)), n["v"]})
		}
	}
	return nil
}

// Bounds gives a span of event times as [first, last).
func Bounds(ctx context.Context, c *sql.Conn, p *layout.Product, unit int64, from, to time.Time) (first, last int64, err error) {
	if from.IsZero() || to.IsZero() {
		first, last = math.MaxInt64, math.MinInt64
		q := layout.Pick{Units: []int64{unit}, First: math.MinInt64, Last: math.MaxInt64}
		for _, s := range p.Segments {
			var oldest, newest sql.NullInt64
			if err := c.QueryRowContext(ctx, "SELECT min(event), max(event) FROM "+s.Table+layout.Where(q.Where(s))).Scan(&oldest, &newest); err != nil {
				return 0, 0, err
			}
			if oldest.Valid {
				first, last = min(first, oldest.Int64), max(last, newest.Int64+1)
			}
		}
		if first > last {
			first, last = 0, 0
		}
	}
	if !from.IsZero() {
		first = layout.CeilMilli(from)
	}
	if !to.IsZero() {
		last = layout.CeilMilli(to)
	}
	return first, last, nil
}
