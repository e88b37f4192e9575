package replay

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/telemetry"
)

const (
	// chunkRows is how many rows of a part, of neighbouring units, are gone
	// through before those of the next units.
	chunkRows = 1 << 20
	// firstLook is how many of them are read before it is asked for the first
	// time which units have enough; then as many again as were read so far.
	// Where most units needed more, the next ones' first look goes as far, up to
	// longLook: going through a chunk twice costs more than rows too many.
	firstLook = 1 << 15
	longLook  = 1 << 17
	// fewPlaces are joined with a table by going to each (DuckDB's
	// dynamic_or_filter_threshold is 50); for more, all rows are gone through.
	fewPlaces = 40
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
		if q.Units != nil {
			if q.Units = slices.DeleteFunc(q.Units, enough); len(q.Units) == 0 {
				return nil
			}
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
			c.row.Row = telemetry.Row{Unit: c.row.Unit, Event: c.row.Event, Received: c.row.Received, Values: c.row.Values}
			c.row.Position = telemetry.Position{}
			if err := fn(&c.row, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// chunk is neighbouring units of a part, and about how many rows they have.
type chunk struct {
	units []int64 // nil: all between
	terms []string
	rows  int64
}

// chunks divides the units of the part, few units by themselves.
func (c *cursor) chunks(ctx context.Context, units []int64) ([]chunk, error) {
	if units != nil && len(units) <= fewUnits {
		terms := []string{"unit IN (" + layout.List(units) + ")"}
		rows, err := c.whole(ctx, "SELECT count(*) FROM "+c.table+layout.Where(append(terms, c.where...)))
		if err != nil || rows[0] == 0 {
			return nil, err
		}
		return []chunk{{units, terms, rows[0]}}, nil
	}
	// Where one ends: rows are numbered as they lie.
	var at []string
	for n := int64(chunkRows); n < c.part.Rows; n += chunkRows {
		at = append(at, fmt.Sprint(n))
	}
	var ends []int64
	for few := range slices.Chunk(at, fewPlaces) {
		some, err := c.whole(ctx, "SELECT DISTINCT unit FROM "+c.table+" WHERE rowid IN (SELECT unnest(["+strings.Join(few, ", ")+"])) ORDER BY unit")
		if err != nil {
			return nil, err
		}
		ends = append(ends, some...)
	}
	ends = slices.Compact(ends)
	ends = append(ends, math.MaxInt64)
	out := make([]chunk, 0, len(ends))
	first := int64(math.MinInt64)
	for _, last := range ends {
		k := chunk{rows: min(chunkRows, c.part.Rows)}
		low, high := first, last
		if units != nil {
			from, _ := slices.BinarySearch(units, first)
			to, found := slices.BinarySearch(units, last)
			if found {
				to++
			}
			if k.units = slices.Clone(units[from:to]); len(k.units) > 0 {
				low, high = k.units[0], k.units[len(k.units)-1]
			}
		}
		if units == nil || len(k.units) > 0 {
			k.terms = []string{"unit >= " + layout.Bigint(low), "unit <= " + layout.Bigint(high)}
			out = append(out, k)
		}
		first = last + 1
	}
	return out, nil
}

// whole is the one column of a query.
func (c *cursor) whole(ctx context.Context, query string) (out []int64, err error) {
	rows, err := c.conn.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]sqldriver.Value, 1)
	for {
		if err := rows.Next(values); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		out = append(out, values[0].(int64))
	}
}

// byUnit goes through a part.
func (c *cursor) byUnit(ctx context.Context, q telemetry.Query, enough func(unit int64) bool, fn func(*telemetry.Stored, *telemetry.StoredMark) error) error {
	chunks, err := c.chunks(ctx, q.Units)
	if err != nil {
		return err
	}
	c.columns[0] = "unit, event, received"
	c.values = make([]sqldriver.Value, 3+len(c.signals))
	begin, end := int64(c.part.FirstSeq), int64(c.part.LastSeq)
	if q.UpTo > 0 {
		end = min(end, int64(q.UpTo))
	}
	needed := int64(0) // by most units so far, in sequences
	for i := range chunks {
		k := &chunks[i]
		all, rows := len(k.units), k.rows
		// As many sequences as hold so many rows, were they spread evenly.
		share := func(n int64) int64 {
			return max(int64(float64(end-begin+1)*min(1, float64(n)/float64(rows))), 1)
		}
		next := max(share(firstLook), needed)
		if q.Enough == nil {
			next = share(windowRows)
		}
		for at := begin; at <= end; {
			terms := append(slices.Clone(c.where), k.terms...)
			if k.units != nil {
				if k.units = slices.DeleteFunc(k.units, enough); len(k.units) == 0 {
					break
				}
				if few := len(k.units) <= fewUnits && 2*len(k.units) <= all; few {
					terms = append(terms, "unit IN ("+layout.List(k.units)+")")
					rows = max(k.rows*int64(len(k.units))/int64(all), 1)
					next = min(max(at-begin, share(firstLook)), share(windowRows))
				}
				if 2*len(k.units) > all {
					needed = max(needed, min(at-begin+next, share(longLook)))
				}
			}
			if at > begin {
				terms = append(terms, fmt.Sprintf("seq >= %d", at))
			}
			if at+next <= end {
				terms = append(terms, fmt.Sprintf("seq < %d", at+next))
			}
			if err := c.look(ctx, terms, enough, fn); err != nil {
				return err
			}
			at += next
			next = min(max(at-begin, next), share(windowRows))
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
		r := &c.row
		r.Unit = c.values[0].(int64)
		if enough(r.Unit) {
			continue
		}
		if c.units != nil {
			if _, ok := c.units[r.Unit]; !ok {
				continue
			}
		}
		r.Event, r.Received = c.values[1].(int64), c.values[2].(int64)
		c.takeValues(c.values[3:])
		if err := fn(&c.row, nil); err != nil {
			return err
		}
	}
}
