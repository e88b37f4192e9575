package duckdb

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/duckdb/recent"
	"fettle.dev/fettle/internal/telemetry"
)

// A sample is known by unit, signal, event time and sequence number. Nearly
// every sample is newer than all that its unit has sent, so the newest few
// rows of each unit are kept in memory; older ones are looked up, all those of
// one Append in one query.

// sampleKey is what a row is known by within a product.
type sampleKey struct{ unit, event, sequence int64 }

// seen is the set of the unit's row's columns that are stored already.
func (p *appendingProduct) seen(unit *recent.Unit, r *telemetry.Row) *recent.Mask {
	if r.Event > unit.Floor {
		p.touched[unit] = struct{}{}
		return unit.Row(r.Event, r.Sequence)
	}
	key := sampleKey{r.Unit, r.Event, r.Sequence}
	m := p.old[key]
	if m == nil {
		m = &recent.Mask{}
		p.old[key] = m
	}
	return m
}

func (p *appendingProduct) unit(key int64) *recent.Unit {
	if p.recent != nil && p.last == key {
		return p.recent
	}
	u := p.units[key]
	if u == nil {
		u = &recent.Unit{Floor: never}
		p.units[key] = u
	}
	p.last, p.recent, p.account = key, u, nil
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
			last := int64(never)
			for _, u := range units {
				last = max(last, u.Floor)
			}
			a.h.fresh.Begin(p.Name, last)
			if p.newest, err = a.h.loadNewest(ctx, c, p.Product); err != nil {
				return err
			}
		}
		for i := range b.Batch.Rows {
			r := &b.Batch.Rows[i]
			if len(r.Values) > 0 && r.Event <= p.unit(r.Unit).Floor {
				p.old[sampleKey{r.Unit, r.Event, r.Sequence}] = &recent.Mask{}
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
func newestOf(ctx context.Context, c *sql.Conn, p *layout.Product) (map[int64]*recent.Unit, error) {
	units := map[int64]*recent.Unit{}
	for _, s := range p.Segments {
		err := each(ctx, c, "SELECT unit, max(event) FROM "+s.Table+" GROUP BY unit", func(rows *sql.Rows) error {
			var unit, event int64
			err := rows.Scan(&unit, &event)
			if r := units[unit]; r == nil {
				units[unit] = &recent.Unit{Floor: event}
			} else {
				r.Floor = max(r.Floor, event)
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
				p.old[key].Set(i)
			}
		}
		return nil
	})
}
