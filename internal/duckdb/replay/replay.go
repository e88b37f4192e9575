// Package replay reads history's rows and marks back in stream order.
package replay

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

const (
	// pageRows is how many rows are read at once: results are whole in memory.
	pageRows = 100_000
	// fewUnits are picked by the database; more are picked here, because then
	// nothing needs to be sorted.
	fewUnits = 200
	// someUnits are picked by the database of a part, which is sorted anyhow.
	someUnits = 2000
	// windowRows is about how many rows of a part are sorted at once into the
	// order of the stream; windowSteps is how finely they are counted before.
	windowRows  = 250_000
	windowSteps = 1024
)

// Queryer is a connection, in a transaction that sees one state.
type Queryer = sqldriver.QueryerContext

// Run calls fn for the rows of a product (nil: none) and the marks that q
// picks, in stream order, or apart where q allows it.
func Run(ctx context.Context, conn Queryer, p *layout.Product, q telemetry.Query, fn func(*telemetry.Stored, *telemetry.StoredMark) error) error {
	var units map[int64]struct{}
	if q.Units != nil {
		units = make(map[int64]struct{}, len(q.Units))
		for _, u := range q.Units {
			units[u] = struct{}{}
		}
	}
	if q.Apart && q.NoMarks {
		return apart(ctx, rowCursors(conn, p, q, units), q, fn)
	}
	rows := &chain{list: rowCursors(conn, p, q, units), cursor: &cursor{done: true}}
	marks := markCursor(conn, q, units)
	if err := rows.next(ctx); err != nil {
		return err
	}
	if err := marks.next(ctx); err != nil {
		return err
	}
	for {
		switch {
		case rows.valid && (!marks.valid || before(rows.at, marks.at)):
			if err := fn(&rows.row, nil); err != nil {
				return err
			}
			if err := rows.next(ctx); err != nil {
				return err
			}
		case marks.valid:
			if err := fn(nil, &marks.mark); err != nil {
				return err
			}
			if err := marks.next(ctx); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func before(a, b telemetry.Position) bool {
	return a.Seq < b.Seq || a.Seq == b.Seq && a.Index < b.Index
}

// chain reads tables that follow one another in stream order.
type chain struct {
	list []*cursor
	*cursor
}

func (c *chain) next(ctx context.Context) error {
	for {
		if err := c.cursor.next(ctx); err != nil || c.valid || len(c.list) == 0 {
			return err
		}
		c.cursor, c.list = c.list[0], c.list[1:]
	}
}

// window is a span of stream sequences, first and last included.
type window struct{ first, last int64 }

// cursor reads a table in stream order, page by page: a table in that order by
// so many rows at once, a part by windows of the stream.
type cursor struct {
	conn    Queryer
	columns []string
	width   int // columns of the result
	table   string
	where   []string
	sorted  bool // the database must sort
	part    *layout.Segment
	windows []window // of part, still to be read; nil: not counted
	units   map[int64]struct{}
	take    func(c *cursor, values []sqldriver.Value) (keep bool)

	page   sqldriver.Rows
	values []sqldriver.Value
	inPage int
	done   bool

	valid bool
	at    telemetry.Position
	row   telemetry.Stored
	mark  telemetry.StoredMark

	signals []layout.Column // of the columns after the fixed ones
}

func rowCursors(conn Queryer, p *layout.Product, q telemetry.Query, units map[int64]struct{}) []*cursor {
	if p == nil || q.Units != nil && len(q.Units) == 0 {
		return nil
	}
	var span layout.Pick
	span.Bound(q.From, q.To)
	var list []*cursor
	for _, seg := range p.Segments {
		if !seg.Overlaps(span.First, span.Last) || seg.Sorted && (q.UpTo > 0 && seg.FirstSeq > q.UpTo || seg.LastSeq <= q.After) {
			continue
		}
		c := &cursor{conn: conn, table: seg.Table, take: takeRow, columns: []string{layout.FixedNames}, where: span.Where(seg)}
		if seg.Sorted {
			c.part = seg
		}
		for i, column := range p.Columns {
			if seg.Holds(i) && (q.Signals == nil || slices.Contains(q.Signals, column.Signal)) {
				c.columns = append(c.columns, layout.ColumnName(i))
				c.signals = append(c.signals, column)
			}
		}
		c.width = layout.FixedColumns + len(c.signals)
		c.bound(q, units, "")
		list = append(list, c)
	}
	return list
}

func markCursor(conn Queryer, q telemetry.Query, units map[int64]struct{}) *cursor {
	if q.NoMarks {
		return &cursor{done: true}
	}
	c := &cursor{conn: conn, table: "marks", take: takeMark, columns: []string{"seq", "idx", "unit", "kind", "received", "note"}, width: 6}
	c.bound(q, units, "0, ")
	return c
}

// bound limits the cursor to q's units (those named in also included) and to
// the positions between which q asks.
func (c *cursor) bound(q telemetry.Query, units map[int64]struct{}, also string) {
	if q.After > 0 && (c.part == nil || c.part.FirstSeq <= q.After) {
		c.where = append(c.where, "seq > "+strconv.FormatUint(q.After, 10))
	}
	if q.UpTo > 0 && (c.part == nil || c.part.LastSeq > q.UpTo) {
		c.where = append(c.where, "seq <= "+strconv.FormatUint(q.UpTo, 10))
	}
	switch {
	case units == nil:
	case q.Apart && c.part != nil: // it picks them as it goes
		c.units = units
	case len(units) <= fewUnits, c.part != nil && len(units) <= someUnits:
		list := make([]string, 0, len(units)+1)
		for u := range units {
			list = append(list, layout.Bigint(u))
		}
		if also != "" || len(list) == 0 {
			list = append(list, layout.Bigint(0))
		}
		c.where = append(c.where, "unit IN ("+strings.Join(list, ", ")+")")
		c.sorted = true
	default:
		c.units = units
	}
}

// next moves to the next row or mark; c.valid says whether there is one.
func (c *cursor) next(ctx context.Context) error {
	for !c.done {
		if c.page == nil {
			if err := c.turn(ctx); err != nil {
				return err
			}
			if c.done {
				break
			}
		}
		err := c.page.Next(c.values)
		if errors.Is(err, io.EOF) {
			err = c.page.Close()
			c.page = nil
			if c.part == nil {
				c.done = c.inPage < pageRows
			} else {
				c.done = len(c.windows) == 0
			}
		} else if err == nil {
			c.inPage++
			at := telemetry.Position{Seq: uint64(c.values[0].(int64)), Index: int(c.values[1].(int32))}
			if c.valid || c.at != (telemetry.Position{}) {
				if !before(c.at, at) {
					err = fault.New(fault.Internal, "%s: row %d of %d comes after row %d of %d", c.table, at.Index, at.Seq, c.at.Index, c.at.Seq)
				}
			}
			c.at = at
			if err == nil && c.take(c, c.values) {
				c.valid = true
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
	c.valid = false
	return nil
}

// turn reads the next page.
func (c *cursor) turn(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	where := slices.Clip(c.where)
	query := c.selection()
	if c.part != nil {
		if c.windows == nil {
			windows, err := c.plan(ctx, window{int64(c.part.FirstSeq), int64(c.part.LastSeq)})
			if err != nil {
				return err
			}
			if c.windows = windows; len(windows) == 0 {
				c.done = true
				return nil
			}
		}
		w := c.windows[0]
		c.windows = c.windows[1:]
		query += layout.Where(append(where, w.terms()...)) + " ORDER BY seq, idx"
	} else {
		if c.at != (telemetry.Position{}) {
			where = append(where,
				fmt.Sprintf("seq >= %d", c.at.Seq),
				fmt.Sprintf("(seq > %d OR idx > %d)", c.at.Seq, c.at.Index))
		}
		query += layout.Where(where)
		// Without ORDER BY rows come in the order of insertion, which is the
		// stream's; but a list of units may become a join, which keeps no order.
		if c.sorted {
			query += " ORDER BY seq, idx"
		}
		query += fmt.Sprintf(" LIMIT %d", pageRows)
	}
	page, err := c.conn.QueryContext(ctx, query, nil)
	if err != nil {
		return err
	}
	c.page, c.inPage = page, 0
	if c.values == nil {
		c.values = make([]sqldriver.Value, c.width)
	}
	return nil
}

func (c *cursor) selection() string {
	return "SELECT " + strings.Join(c.columns, ", ") + " FROM " + c.table
}

func (w window) terms() []string {
	return []string{fmt.Sprintf("seq >= %d", w.first), fmt.Sprintf("seq <= %d", w.last)}
}

// plan divides a window into some of at most about windowRows rows, as far as
// one batch allows, in order; those without rows are left out.
func (c *cursor) plan(ctx context.Context, w window) ([]window, error) {
	step := (w.last-w.first)/windowSteps + 1
	query := fmt.Sprintf("SELECT (seq - %d) // %d AS step, count(*) FROM %s%s GROUP BY step ORDER BY step",
		w.first, step, c.table, layout.Where(append(slices.Clip(c.where), w.terms()...)))
	rows, err := c.conn.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []window
	inLast := int64(0)
	values := make([]sqldriver.Value, 2)
	for {
		if err := rows.Next(values); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		at, n := values[0].(int64), values[1].(int64)
		one := window{w.first + at*step, min(w.first+(at+1)*step-1, w.last)}
		switch {
		case n > 2*windowRows && step > 1:
			finer, err := c.plan(ctx, one)
			if err != nil {
				return nil, err
			}
			out, inLast = append(out, finer...), windowRows
		case len(out) > 0 && inLast+n <= windowRows:
			out[len(out)-1].last, inLast = one.last, inLast+n
		default:
			out, inLast = append(out, one), n
		}
	}
}

func takeRow(c *cursor, v []sqldriver.Value) bool {
	r := &c.row
	r.Position = c.at
	r.Unit = v[2].(int64)
	if c.units != nil {
		if _, ok := c.units[r.Unit]; !ok {
			return false
		}
	}
	r.Event, r.Received, r.Sequence = v[3].(int64), v[4].(int64), v[5].(int64)
	r.NotConsented, r.Undeclared, r.Invalid = int(v[6].(int32)), int(v[7].(int32)), int(v[8].(int32))
	c.takeValues(v[layout.FixedColumns:])
	return true
}

func (c *cursor) takeValues(v []sqldriver.Value) {
	r := &c.row
	r.Values = r.Values[:0]
	for i := range c.signals {
		switch value := v[i].(type) {
		case float64:
			r.Values = append(r.Values, telemetry.Value{Signal: c.signals[i].Signal, Number: value})
		case string:
			r.Values = append(r.Values, telemetry.Value{Signal: c.signals[i].Signal, Text: value, IsText: true})
		}
	}
}

func takeMark(c *cursor, v []sqldriver.Value) bool {
	m := &c.mark
	m.Position = c.at
	m.Unit = v[2].(int64)
	if c.units != nil && m.Unit != 0 {
		if _, ok := c.units[m.Unit]; !ok {
			return false
		}
	}
	m.Kind = telemetry.MarkKind(v[3].(uint8))
	m.At = v[4].(int64)
	m.Text = v[5].(string)
	return true
}
