package duckdb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// Windows calls fn for each window of each unit that has values, by unit and
// time.
func (h *History) Windows(ctx context.Context, q telemetry.WindowQuery, fn func(w *telemetry.Window) error) error {
	switch {
	case q.Width < 0 || q.Width%time.Millisecond != 0:
		return fault.New(fault.Invalid, "windows: a width of whole milliseconds is needed, not %s", q.Width)
	case q.Width > 0 && (q.From.IsZero() || q.To.IsZero()):
		return fault.New(fault.Invalid, "windows of a width need a span that begins and ends")
	case q.Measures == 0:
		q.Measures = telemetry.MeasureAll
	}
	q.Measures |= telemetry.MeasureCount // it tells which windows have values
	span := layout.Pick{Units: q.Units}
	span.Bound(q.From, q.To)
	if q.Units != nil && len(q.Units) == 0 || span.First >= span.Last {
		return nil
	}
	err := h.read(ctx, func(c *sql.Conn, s *schema) error {
		p := s.products[q.Product]
		if p == nil {
			return nil
		}
		w := windows{q: q, fn: fn, grid: layout.NewGrid(span.First, span.Last, q.Width.Milliseconds())}
		for place, signal := range q.Signals {
			if column, ok := p.Find(signal, false); ok {
				w.columns, w.places = append(w.columns, column), append(w.places, place)
			}
		}
		query := p.Measure(w.grid, span, w.columns, q.Measures)
		if query == "" {
			return nil
		}
		return c.Raw(func(conn any) error { return w.run(ctx, conn.(sqldriver.QueryerContext), query+" ORDER BY unit, win") })
	})
	if err != nil {
		return fmt.Errorf("windows: %w", err)
	}
	return nil
}

type windows struct {
	q       telemetry.WindowQuery
	fn      func(w *telemetry.Window) error
	grid    layout.Grid
	columns []int
	places  []int // of columns in q.Signals
}

func (w *windows) run(ctx context.Context, conn sqldriver.QueryerContext, query string) (err error) {
	rows, err := conn.QueryContext(ctx, query, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]sqldriver.Value, len(rows.Columns()))
	window := telemetry.Window{Stats: make([]telemetry.Stat, len(w.q.Signals))}
	for {
		if err := rows.Next(values); err != nil {
			if errors.Is(err, io.EOF) {
				return ctx.Err()
			}
			return err
		}
		window.Unit = values[0].(int64)
		window.At = w.grid.At(values[1].(int64))
		clear(window.Stats)
		if !w.take(&window, values[2:]) {
			continue
		}
		if err := w.fn(&window); err != nil {
			return err
		}
	}
}

// take reads the layout.Measured of a window and reports whether it has values.
func (w *windows) take(window *telemetry.Window, values []sqldriver.Value) (some bool) {
	next := func() sqldriver.Value {
		v := values[0]
		values = values[1:]
		return v
	}
	number := func() float64 { n, _ := next().(float64); return n }
	whole := func() int64 { n, _ := next().(int64); return n }
	for _, place := range w.places {
		s := &window.Stats[place]
		for _, m := range layout.Measured {
			if w.q.Measures&m.Is == 0 {
				continue
			}
			switch m.Name[0] {
			case 'n':
				s.Count = whole()
				some = some || s.Count > 0
			case 'z':
				s.Nonzero = whole()
			case 's':
				s.Sum = number()
			case 'h':
				s.Max = number()
			case 'a':
				s.LastAt = whole()
			default: // lo, la
				if m.Is == telemetry.MeasureMin {
					s.Min = number()
				} else {
					s.Last = number()
				}
			}
		}
	}
	return some
}
