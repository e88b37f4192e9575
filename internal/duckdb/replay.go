package duckdb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

const (
	// pageRows is how many rows are read at once: results are whole in memory.
	pageRows = 100_000
	// fewUnits are picked by the database; more are picked here, because then
	// nothing needs to be sorted.
	fewUnits = 200
)

// Replay calls fn for the rows and marks that q picks, in stream order, as
// they stood when it began. Of the marks it leaves out those of units that q
// does not name; times do not bound marks.
func (h *History) Replay(ctx context.Context, q telemetry.Query, fn func(row *telemetry.Stored, mark *telemetry.StoredMark) error) error {
	err := h.use(ctx, func(c *sql.Conn) error {
		// One transaction sees one state, however long fn takes.
		_, err := c.ExecContext(context.WithoutCancel(ctx), "BEGIN TRANSACTION")
		if err == nil {
			err = c.Raw(func(conn any) error {
				return h.replay(ctx, conn.(sqldriver.QueryerContext), q, fn)
			})
		}
		if err == nil {
			_, err = c.ExecContext(context.WithoutCancel(ctx), "COMMIT")
		}
		if err != nil {
			discard(c)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("replay history: %w", err)
	}
	return nil
}

func (h *History) replay(ctx context.Context, conn sqldriver.QueryerContext, q telemetry.Query, fn func(*telemetry.Stored, *telemetry.StoredMark) error) error {
	var units map[int64]struct{}
	if q.Units != nil {
		units = make(map[int64]struct{}, len(q.Units))
		for _, u := range q.Units {
			units[u] = struct{}{}
		}
	}
	rows := h.rowCursor(conn, q, units)
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

// cursor reads a table in stream order, page by page.
type cursor struct {
	conn    sqldriver.QueryerContext
	columns []string
	table   string
	where   []string
	sorted  bool // the database must sort
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

	signals []column // of the columns after the fixed ones
}

func (h *History) rowCursor(conn sqldriver.QueryerContext, q telemetry.Query, units map[int64]struct{}) *cursor {
	p := h.product(q.Product)
	if p == nil || q.Units != nil && len(q.Units) == 0 {
		return &cursor{done: true}
	}
	c := &cursor{
		conn: conn, table: p.table, take: takeRow,
		columns: []string{"seq", "idx", "unit", "event", "received", "sequence", "not_consented", "undeclared", "invalid"},
	}
	for i, column := range p.columns {
		if q.Signals == nil || slices.Contains(q.Signals, column.signal) {
			c.columns = append(c.columns, columnName(i))
			c.signals = append(c.signals, column)
		}
	}
	if !q.From.IsZero() {
		c.where = append(c.where, "event >= "+bigint(ceilMilli(q.From)))
	}
	if !q.To.IsZero() {
		c.where = append(c.where, "event < "+bigint(ceilMilli(q.To)))
	}
	c.bound(q, units, "")
	return c
}

func markCursor(conn sqldriver.QueryerContext, q telemetry.Query, units map[int64]struct{}) *cursor {
	c := &cursor{conn: conn, table: "marks", take: takeMark, columns: []string{"seq", "idx", "unit", "kind", "received", "note"}}
	c.bound(q, units, "0, ")
	return c
}

// bound limits the cursor to q's units (those named in also included) and to
// the position q goes up to.
func (c *cursor) bound(q telemetry.Query, units map[int64]struct{}, also string) {
	if q.UpTo > 0 {
		c.where = append(c.where, "seq <= "+strconv.FormatUint(q.UpTo, 10))
	}
	switch {
	case units == nil:
	case len(units) <= fewUnits:
		list := make([]string, 0, len(units)+1)
		for u := range units {
			list = append(list, bigint(u))
		}
		if also != "" || len(list) == 0 {
			list = append(list, bigint(0))
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
		}
		err := c.page.Next(c.values)
		if errors.Is(err, io.EOF) {
			err = c.page.Close()
			c.page, c.done = nil, c.inPage < pageRows
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
	where := c.where
	if c.at != (telemetry.Position{}) {
		where = append(slices.Clip(where),
			fmt.Sprintf("seq >= %d", c.at.Seq),
			fmt.Sprintf("(seq > %d OR idx > %d)", c.at.Seq, c.at.Index))
	}
	query := "SELECT " + strings.Join(c.columns, ", ") + " FROM " + c.table
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	// Without ORDER BY rows come in the order of insertion, which is the
	// stream's; but a list of units may become a join, which keeps no order.
	if c.sorted {
		query += " ORDER BY seq, idx"
	}
	query += fmt.Sprintf(" LIMIT %d", pageRows)
	page, err := c.conn.QueryContext(ctx, query, nil)
	if err != nil {
		return err
	}
	c.page, c.inPage = page, 0
	if c.values == nil {
		c.values = make([]sqldriver.Value, len(c.columns))
	}
	return nil
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
	r.Values = r.Values[:0]
	for i := range c.signals {
		switch value := v[fixedColumns+i].(type) {
		case float64:
			r.Values = append(r.Values, telemetry.Value{Signal: c.signals[i].signal, Number: value})
		case string:
			r.Values = append(r.Values, telemetry.Value{Signal: c.signals[i].signal, Text: value, IsText: true})
		}
	}
	return true
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

// ceilMilli is the first millisecond not before t.
func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return ms
}
