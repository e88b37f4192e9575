package replay

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"io"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/telemetry"
)

// Windows reads the answer to a query for windows.
type Windows struct {
	q       telemetry.WindowQuery
	grid    layout.Grid
	columns []int
	places  []int // of columns in q.Signals
	counts  bool  // they are asked for
}

// NewWindows reads windows of a product in a span.
func NewWindows(p *layout.Product, q telemetry.WindowQuery, span layout.Pick) *Windows {
	w := &Windows{q: q, grid: layout.NewGrid(span.First, span.Last, q.Width.Milliseconds()), counts: q.Measures&telemetry.MeasureCount != 0}
	w.q.Measures |= telemetry.MeasureCount // it tells which windows have values
	for place, signal := range q.Signals {
		if column, ok := p.Find(signal, false); ok {
			w.columns, w.places = append(w.columns, column), append(w.places, place)
		}
	}
	return w
}

// Query is the query for them, "" when there can be none.
func (w *Windows) Query(p *layout.Product, span layout.Pick) string {
	query := p.Measure(w.grid, span, w.columns, w.q.Measures)
	if query == "" {
		return ""
	}
	return query + " ORDER BY unit, win"
}

// Run calls fn for each window that has values.
func (w *Windows) Run(ctx context.Context, conn Queryer, query string, fn func(w *telemetry.Window) error) (err error) {
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
		if err := fn(&window); err != nil {
			return err
		}
	}
}

// take reads the layout.Measured of a window and reports whether it has values.
func (w *Windows) take(window *telemetry.Window, values []sqldriver.Value) (some bool) {
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
				if !w.counts {
					s.Count = 0
				}
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
