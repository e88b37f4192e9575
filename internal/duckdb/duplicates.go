package duckdb

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sort"
	"strings"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/duckdb/newest"
	"fettle.dev/fettle/internal/telemetry"
)

// A sample is known by unit, signal, event time and sequence number. Nearly
// every sample is newer than all that its unit has sent, so the newest few
// rows of each unit are kept in memory; older ones are looked up, all those of
// one Append in one query.

// keepRecent is how many rows of a unit are kept in memory.
const keepRecent = 8

// recent knows the rows of one unit with event times after floor.
type recent struct {
	floor  int64
	rows   []recentRow  // by event time, ascending
	newest *newest.Unit // nil: not looked up
}

type recentRow struct {
	event, sequence int64
	mask            mask
}

// row finds what is stored of a row, which must be after the floor, and makes
// room for it when nothing is.
func (r *recent) row(event, sequence int64) *mask {
	i := len(r.rows)
	if i > 0 && r.rows[i-1].event >= event {
		i = sort.Search(len(r.rows), func(i int) bool { return r.rows[i].event >= event })
		for ; i < len(r.rows) && r.rows[i].event == event; i++ {
			if r.rows[i].sequence == sequence {
				return &r.rows[i].mask
			}
		}
	}
	r.rows = slices.Insert(r.rows, i, recentRow{event: event, sequence: sequence})
	return &r.rows[i].mask
}

// trim forgets the oldest rows, which are stored by now.
func (r *recent) trim() {
	if n := len(r.rows) - keepRecent; n > 0 {
		r.floor = r.rows[n-1].event
		// All rows of the floor's time go: some of them are gone.
		for n < len(r.rows) && r.rows[n].event == r.floor {
			n++
		}
		left := copy(r.rows, r.rows[n:])
		clear(r.rows[left:])
		r.rows = r.rows[:left]
		if cap(r.rows) > 16*keepRecent {
			r.rows = slices.Clone(r.rows)
		}
	}
}

// unlearn forgets all rows, so that what is left of them is looked up.
func (r *recent) unlearn() {
	if n := len(r.rows); n > 0 {
		r.floor, r.rows = r.rows[n-1].event, nil
	}
}

// mask is a set of columns.
type mask struct {
	first uint64
	more  []uint64
}

func (m *mask) has(i int) bool {
	if i < 64 {
		return m.first&(1<<i) != 0
	}
	i -= 64
	return i/64 < len(m.more) && m.more[i/64]&(1<<(i%64)) != 0
}

func (m *mask) set(i int) {
	if i < 64 {
		m.first |= 1 << i
		return
	}
	i -= 64
	for i/64 >= len(m.more) {
		m.more = append(m.more, 0)
	}
	m.more[i/64] |= 1 << (i % 64)
}

// sampleKey is what a row is known by within a product.
type sampleKey struct{ unit, event, sequence int64 }

// seen is the set of the unit's row's columns that are stored already.
func (p *appendingProduct) seen(unit *recent, r *telemetry.Row) *mask {
	if r.Event > unit.floor {
		p.touched[unit] = struct{}{}
		return unit.row(r.Event, r.Sequence)
	}
	key := sampleKey{r.Unit, r.Event, r.Sequence}
	m := p.old[key]
	if m == nil {
		m = &mask{}
		p.old[key] = m
	}
	return m
}

func (p *appendingProduct) unit(key int64) *recent {
	u := p.units[key]
	if u == nil {
		u = &recent{floor: never}
		p.units[key] = u
	}
	return u
}

// seen loads what is needed to tell duplicates among batches.
func (a *appending) seen(ctx context.Context, c *sql.Conn, batches []telemetry.Sequenced) error {
	for _, b := range batches {
		if len(b.Batch.Rows) == 0 {
			continue
		}
		p := a.product(b.Batch.Product)
		if p.units == nil {
			units, err := newestOf(ctx, c, p.Product)
			if err != nil {
				return err
			}
			var hot int
			if err := c.QueryRowContext(ctx, "SELECT count(*) FROM "+p.Hot().Table).Scan(&hot); err != nil {
				return err
			}
			a.h.units[p.ID], p.units, a.h.hot[p.ID] = units, units, hot
			if p.newest, err = a.h.loadNewest(ctx, c, p.Product); err != nil {
				return err
			}
		}
		for i := range b.Batch.Rows {
			r := &b.Batch.Rows[i]
			if len(r.Values) > 0 && r.Event <= p.unit(r.Unit).floor {
				p.old[sampleKey{r.Unit, r.Event, r.Sequence}] = &mask{}
			}
		}
	}
	for _, p := range a.products {
		if err := p.lookUp(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// newestOf loads the newest event time of each unit; nothing before it is in
// memory.
func newestOf(ctx context.Context, c *sql.Conn, p *layout.Product) (map[int64]*recent, error) {
	units := map[int64]*recent{}
	for _, s := range p.Segments {
		err := each(ctx, c, "SELECT unit, max(event) FROM "+s.Table+" GROUP BY unit", func(rows *sql.Rows) error {
			var unit, event int64
			err := rows.Scan(&unit, &event)
			if r := units[unit]; r == nil {
				units[unit] = &recent{floor: event}
			} else {
				r.floor = max(r.floor, event)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return units, nil
}

// lookUp fills p.old with what is stored.
func (p *appendingProduct) lookUp(ctx context.Context, c *sql.Conn) error {
	if len(p.old) == 0 || len(p.Columns) == 0 {
		return nil
	}
	keys := make([]sampleKey, 0, len(p.old))
	for key := range p.old {
		keys = append(keys, key)
	}
	// In the order of parts, so that few row groups of them are read.
	slices.SortFunc(keys, func(a, b sampleKey) int {
		return cmp.Or(cmp.Compare(a.unit, b.unit), cmp.Compare(a.event, b.event))
	})
	for some := range slices.Chunk(keys, 2000) {
		first, last := some[0].event, some[0].event
		for _, k := range some {
			first, last = min(first, k.event), max(last, k.event)
		}
		for _, s := range p.Segments {
			if s.Sorted && (s.FirstEvent > last || s.LastEvent < first) {
				continue
			}
			if err := p.lookUpIn(ctx, c, s, some, first, last); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookUpIn fills p.old with what is stored in s of some keys, which are sorted
// by unit and whose events are from first to last.
func (p *appendingProduct) lookUpIn(ctx context.Context, c *sql.Conn, s *layout.Segment, some []sampleKey, first, last int64) error {
	columns := make([]string, len(p.Columns))
	for i := range columns {
		columns[i] = "false"
		if s.Holds(i) {
			columns[i] = "r." + layout.ColumnName(i) + " IS NOT NULL"
		}
	}
	var key sampleKey
	stored := make([]bool, len(columns))
	into := []any{&key.unit, &key.event, &key.sequence}
	for i := range stored {
		into = append(into, &stored[i])
	}
	var values strings.Builder
	for i, k := range some {
		if i > 0 {
			values.WriteByte(',')
		}
		fmt.Fprintf(&values, "(%s,%s,%s)", layout.Bigint(k.unit), layout.Bigint(k.event), layout.Bigint(k.sequence))
	}
	query := fmt.Sprintf("SELECT r.unit, r.event, r.sequence, %s FROM %s r JOIN (VALUES %s) k(unit, event, sequence) ON r.unit = k.unit AND r.event = k.event AND r.sequence = k.sequence WHERE r.event >= %s AND r.event <= %s AND r.unit >= %s AND r.unit <= %s",
		strings.Join(columns, ", "), s.Table, values.String(), layout.Bigint(first), layout.Bigint(last), layout.Bigint(some[0].unit), layout.Bigint(some[len(some)-1].unit))
	return each(ctx, c, query, func(rows *sql.Rows) error {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, is := range stored {
			if is {
				p.old[key].set(i)
			}
		}
		return nil
	})
}
