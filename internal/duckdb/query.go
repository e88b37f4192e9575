package duckdb

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

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// firstRows is how many of a unit's newest rows Latest looks at before it looks
// for what they lack in all of them.
const firstRows = 64

// newest is a value and where it stands among others of its signal.
type newest struct {
	event, seq, idx int64
	value           any
}

func (n *newest) before(o *newest) bool {
	return cmp.Or(cmp.Compare(n.event, o.event), cmp.Compare(n.seq, o.seq), cmp.Compare(n.idx, o.idx)) < 0
}

// Latest is the newest value of each signal of a unit. Of values of the same
// time the one stored last counts: seq breaks ties.
func (h *History) Latest(ctx context.Context, product string, unit int64) (map[string]telemetry.Sample, error) {
	latest := map[string]telemetry.Sample{}
	err := h.read(ctx, func(c *sql.Conn, s *schema) error {
		p := s.products[product]
		if p == nil || len(p.columns) == 0 {
			return nil
		}
		found, err := p.latest(ctx, c, unit)
		for i, n := range found {
			if n == nil {
				continue
			}
			sample := telemetry.Sample{At: time.UnixMilli(n.event).UTC()}
			switch v := n.value.(type) {
			case float64:
				sample.Number = v
			case string:
				sample.Text, sample.IsText = v, true
			}
			// A signal whose type has changed has two columns.
			name := p.columns[i].signal
			if other, ok := latest[name]; !ok || sample.At.After(other.At) {
				latest[name] = sample
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("latest values: %w", err)
	}
	return latest, nil
}

// latest is the newest value of each column of a unit; nil where it has none.
// Segments are looked through from the newest event times back, as long as
// they may hold anything newer than what was found.
func (p *product) latest(ctx context.Context, c *sql.Conn, unit int64) ([]*newest, error) {
	found := make([]*newest, len(p.columns))
	take := func(column int, n newest) {
		if have := found[column]; have == nil || have.before(&n) {
			found[column] = &n
		}
	}
	segments := slices.Clone(p.segments)
	slices.SortStableFunc(segments, func(a, b *segment) int {
		if a.sorted != b.sorted {
			if a.sorted {
				return 1
			}
			return -1
		}
		return -cmp.Compare(a.lastEvent, b.lastEvent)
	})
	for _, s := range segments {
		var columns []int
		for i := range p.columns {
			if s.holds(i) && (found[i] == nil || !s.sorted || found[i].event <= s.lastEvent) {
				columns = append(columns, i)
			}
		}
		if len(columns) == 0 {
			continue
		}
		rows, missing, err := s.latestRows(ctx, c, unit, columns, take)
		if err == nil && rows == firstRows {
			err = s.latestOf(ctx, c, unit, missing, take)
		}
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// latestRows takes what the unit's newest rows in the segment hold, and counts
// them; missing are the columns of which they have nothing.
func (s *segment) latestRows(ctx context.Context, c *sql.Conn, unit int64, columns []int, take func(column int, n newest)) (n int, missing []int, err error) {
	list := make([]string, len(columns))
	for i, column := range columns {
		list[i] = columnName(column)
	}
	q := pick{units: []int64{unit}, first: math.MinInt64, last: math.MaxInt64}
	query := "SELECT event, seq, idx, " + strings.Join(list, ", ") + " FROM " + s.table + whereAll(q.where(s)) + //nolint:gosec // names and numbers of our own
		" ORDER BY event DESC, seq DESC, idx DESC LIMIT " + strconv.Itoa(firstRows)
	found := make([]bool, len(columns))
	values := make([]any, len(list))
	var at newest
	into := []any{&at.event, &at.seq, &at.idx}
	for i := range values {
		into = append(into, &values[i])
	}
	err = each(ctx, c, query, func(rows *sql.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		n++
		for i, v := range values {
			if v != nil && !found[i] {
				found[i], at.value = true, v
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
func (s *segment) latestOf(ctx context.Context, c *sql.Conn, unit int64, columns []int, take func(column int, n newest)) error {
	if len(columns) == 0 {
		return nil
	}
	list := make([]string, len(columns))
	values := make([]any, len(columns))
	into := make([]any, len(columns))
	for i, column := range columns {
		v := columnName(column)
		list[i] = fmt.Sprintf("arg_max({v: %s, t: event, s: seq, i: idx}, (event, seq, idx)) FILTER (%s IS NOT NULL)", v, v)
		into[i] = &values[i]
	}
	q := pick{units: []int64{unit}, first: math.MinInt64, last: math.MaxInt64}
	query := "SELECT " + strings.Join(list, ", ") + " FROM " + s.table + whereAll(q.where(s))
	if err := c.QueryRowContext(ctx, query).Scan(into...); err != nil {
		return err
	}
	for i, v := range values {
		if n, ok := v.(map[string]any); ok {
			take(columns[i], newest{n["t"].(int64), n["s"].(int64), int64(n["i"].(int32)), n["v"]})
		}
	}
	return nil
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
		n, ok := p.number[signal]
		if !ok {
			return nil
		}
		first, last, err := p.bounds(ctx, c, unit, from, to)
		if err != nil || last <= first {
			return err
		}
		g := seriesGrid(first, last, buckets)
		q := pick{units: []int64{unit}}
		query := p.measure(g, q, []int{n}, telemetry.MeasureCount|telemetry.MeasureSum|telemetry.MeasureMin|telemetry.MeasureMax)
		if query == "" {
			return nil
		}
		var unit, bucket, count int64
		var least, greatest, sum sql.NullFloat64
		return each(ctx, c, query+" ORDER BY win", func(rows *sql.Rows) error {
			err := rows.Scan(&unit, &bucket, &count, &sum, &least, &greatest)
			if count > 0 {
				points = append(points, telemetry.Point{
					At: g.at(bucket), Min: least.Float64, Max: greatest.Float64, Mean: sum.Float64 / float64(count), Count: count,
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

// seriesGrid divides [first, last) into at most so many windows.
func seriesGrid(first, last int64, buckets int) grid {
	// Division by floats keeps spans of any length from overflowing.
	span := float64(last) - float64(first)
	width := max(int64(math.Min(span/float64(buckets), math.MaxInt64/2)), 1)
	for float64(width)*float64(buckets) < span {
		width++
	}
	g := grid{first: first, last: last, origin: first, width: width, level: -1}
	const far = math.MaxInt64 / 4
	for l := levels - 1; l >= 0; l-- {
		w := levelWidth[l]
		if width < w || first < -far || last > far {
			continue
		}
		g.level, g.origin = l, floorDiv(first, w)*w
		g.width = -floorDiv(-width, w) * w
		if float64(g.width)*float64(buckets) < float64(last)-float64(g.origin) {
			g.width += w
		}
		break
	}
	return g
}

// bounds gives a span of event times as [first, last).
func (p *product) bounds(ctx context.Context, c *sql.Conn, unit int64, from, to time.Time) (first, last int64, err error) {
	if from.IsZero() || to.IsZero() {
		first, last = math.MaxInt64, math.MinInt64
		q := pick{units: []int64{unit}, first: math.MinInt64, last: math.MaxInt64}
		for _, s := range p.segments {
			var oldest, newest sql.NullInt64
			if err := c.QueryRowContext(ctx, "SELECT min(event), max(event) FROM "+s.table+whereAll(q.where(s))).Scan(&oldest, &newest); err != nil {
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
	var first, last sql.NullInt64
	err = h.read(ctx, func(c *sql.Conn, s *schema) error {
		p := s.products[product]
		if p == nil {
			return nil
		}
		for _, s := range p.segments {
			oldest, newest := sql.NullInt64{Int64: s.firstEvent, Valid: true}, sql.NullInt64{Int64: s.lastEvent, Valid: true}
			if !s.sorted { // of a part it is known
				if err := c.QueryRowContext(ctx, "SELECT min(event), max(event) FROM "+s.table+whereAll(s.beyond())).Scan(&oldest, &newest); err != nil {
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
