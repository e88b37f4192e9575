package replay

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/telemetry"
)

const (
	// chunkRows is how many rows of a part, of neighbouring units, are gone
	// through before those of the next units.
	chunkRows = 1 << 20
	// firstLook is how many of them are read before it is asked for the first
	// time which units have enough; then as many again as were read so far.
	firstLook = 1 << 15
)

// apart calls fn for the rows of cursors: those of each unit in stream order,
// units in any. A part is gone through by its units, as it lies, so that little
// of it is read for many units of which the first rows will do.
func apart(ctx context.Context, cursors []*cursor, q telemetry.Query, fn func(*telemetry.Stored, *telemetry.StoredMark) error) error {
	if q.Units != nil {
		q.Units = slices.Compact(slices.Sorted(slices.Values(q.Units)))
	}
	enough := q.Enough
	if enough == nil {
		enough = func(int64) bool { return false }
	}
	for _, c := range cursors {
		if q.Units != nil && !slices.ContainsFunc(q.Units, func(u int64) bool { return !enough(u) }) {
			return nil
		}
		if c.part != nil {
			if err := c.byUnit(ctx, q, enough, fn); err != nil {
				return err
			}
			continue
		}
		for {
			if err := c.next(ctx); err != nil {
				return err
			}
			if !c.valid {
				break
			}
			if enough(c.row.Unit) {
				continue
			}
			if err := fn(&c.row, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// chunk is neighbouring units of a part, above one and up to another, and how
// many rows they have.
type chunk struct {
	terms []string
	last  int64 // unit
	rows  int64
}

// chunks divides the part.
func (c *cursor) chunks(ctx context.Context) (out []chunk, err error) {
	query := fmt.Sprintf("SELECT max(unit), count(*) FROM %s%s GROUP BY rowid // %d ORDER BY max(unit)", c.table, layout.Where(c.where), chunkRows)
	rows, err := c.conn.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]sqldriver.Value, 2)
	for {
		if err := rows.Next(values); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		last, n := values[0].(int64), values[1].(int64)
		if i := len(out) - 1; i >= 0 && (out[i].last == last || out[i].rows+n <= chunkRows) {
			out[i].last, out[i].rows = last, out[i].rows+n
		} else {
			out = append(out, chunk{last: last, rows: n})
		}
		i := len(out) - 1
		out[i].terms = []string{"unit <= " + layout.Bigint(last)}
		if i > 0 {
			out[i].terms = append(out[i].terms, "unit > "+layout.Bigint(out[i-1].last))
		}
	}
}

// byUnit goes through a part.
func (c *cursor) byUnit(ctx context.Context, q telemetry.Query, enough func(unit int64) bool, fn func(*telemetry.Stored, *telemetry.StoredMark) error) error {
	chunks, err := c.chunks(ctx)
	if err != nil {
		return err
	}
	c.values = make([]sqldriver.Value, c.width)
	begin, end := int64(c.part.FirstSeq), int64(c.part.LastSeq)
	left := q.Units
	for i := range chunks {
		k := &chunks[i]
		var here []int64 // units of this chunk
		if q.Units != nil {
			n, found := slices.BinarySearch(left, k.last)
			if found {
				n++
			}
			here, left = slices.Clone(left[:n]), left[n:]
		}
		all := len(here)
		// As many sequences as hold so many rows, were they spread evenly.
		share := func(rows int64) int64 {
			return max(int64(float64(end-begin+1)*min(1, float64(rows)/float64(k.rows))), 1)
		}
		next := share(firstLook)
		if q.Enough == nil {
			next = share(windowRows)
		}
		for at := begin; at <= end; {
			here = slices.DeleteFunc(here, enough)
			if q.Units != nil && len(here) == 0 {
				break
			}
			terms := append(slices.Clone(c.where), k.terms...)
			terms = append(terms, window{at, at + next - 1}.terms()...)
			if q.Units != nil && len(here) <= someUnits && 2*len(here) <= all {
				terms = append(terms, "unit IN ("+layout.List(here)+")")
			}
			if err := c.look(ctx, terms, enough, fn); err != nil {
				return err
			}
			at += next
			next = max(min(at-begin, share(windowRows)), next)
		}
	}
	return nil
}

// look passes the rows that terms pick on, by unit.
func (c *cursor) look(ctx context.Context, terms []string, enough func(unit int64) bool, fn func(*telemetry.Stored, *telemetry.StoredMark) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	page, err := c.conn.QueryContext(ctx, c.selection()+layout.Where(terms)+" ORDER BY unit, seq, idx", nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, page.Close()) }()
	for {
		if err := page.Next(c.values); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if enough(c.values[2].(int64)) {
			continue
		}
		c.at = telemetry.Position{Seq: uint64(c.values[0].(int64)), Index: int(c.values[1].(int32))}
		if !c.take(c, c.values) {
			continue
		}
		if err := fn(&c.row, nil); err != nil {
			return err
		}
	}
}
