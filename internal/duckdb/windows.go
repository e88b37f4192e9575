package duckdb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// grid divides event time into windows: origin and width in ms. Width 0 is one
// window.
type grid struct {
	first, last int64 // [first, last)
	origin      int64
	width       int64
	level       int // coarsest rollups whose spans lie in one window each; -1: none
}

// newGrid puts windows of a width from first on.
func newGrid(first, last, width int64) grid {
	g := grid{first: first, last: last, origin: first, width: width, level: levels - 1}
	for ; width > 0 && g.level >= 0; g.level-- {
		if w := levelWidth[g.level]; width%w == 0 && first%w == 0 {
			break
		}
	}
	return g
}

// window is the number of the window that a time falls in.
func (g *grid) window(expression string) string {
	if g.width == 0 {
		return "0::BIGINT"
	}
	return fmt.Sprintf("(%s - %s) // %d", expression, bigint(g.origin), g.width)
}

// at is the start of a window.
func (g *grid) at(window int64) time.Time {
	if g.first == math.MinInt64 {
		return time.Time{}
	}
	return time.UnixMilli(max(g.origin+window*g.width, g.first)).UTC()
}

// measure is the query for measures of columns by unit and window, of the rows
// that q picks within the grid: columns unit, win and the measures. Empty when
// no segment may hold any.
func (p *product) measure(g grid, q pick, columns []int, which telemetry.Measures) string {
	var sources []string
	for i, s := range p.segments {
		if !s.overlaps(g.first, g.last) || !slices.ContainsFunc(columns, s.holds) {
			continue
		}
		for _, piece := range s.pieces(g.level, g.first, g.last) {
			at := q
			if piece.level < 0 {
				at.first, at.last = piece.first, piece.last
				sources = append(sources, fmt.Sprintf("SELECT unit, %s AS win, %d AS part%s FROM %s%s GROUP BY ALL",
					g.window("event"), i, prefixed(s.aggregates(p, columns, which)), s.table, whereAll(at.where(s))))
				continue
			}
			width := levelWidth[piece.level]
			terms := append(q.ofUnits(), fmt.Sprintf("bucket >= %d", piece.first/width), fmt.Sprintf("bucket < %d", piece.last/width))
			sources = append(sources, fmt.Sprintf("SELECT unit, %s AS win, %d AS part%s FROM %s%s",
				g.window(fmt.Sprintf("bucket * %d", width)), i, prefixed(s.rolled(p, columns, which)), s.rollup(piece.level), whereAll(terms)))
		}
	}
	if len(sources) == 0 {
		return ""
	}
	return fmt.Sprintf("SELECT unit, win%s FROM (%s) GROUP BY ALL", prefixed(folds(columns, which, laterOf)), strings.Join(sources, " UNION ALL "))
}

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
	span := pick{units: q.Units}
	span.bounded(q.From, q.To)
	if q.Units != nil && len(q.Units) == 0 || span.first >= span.last {
		return nil
	}
	err := h.read(ctx, func(c *sql.Conn, s *schema) error {
		p := s.products[q.Product]
		if p == nil {
			return nil
		}
		w := windows{q: q, fn: fn, grid: newGrid(span.first, span.last, q.Width.Milliseconds())}
		for place, signal := range q.Signals {
			if column, ok := p.find(signal, false); ok {
				w.columns, w.places = append(w.columns, column), append(w.places, place)
			}
		}
		query := p.measure(w.grid, span, w.columns, q.Measures)
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
	grid    grid
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
		window.At = w.grid.at(values[1].(int64))
		clear(window.Stats)
		if !w.take(&window, values[2:]) {
			continue
		}
		if err := w.fn(&window); err != nil {
			return err
		}
	}
}

// take reads the measures of a window and reports whether it has values.
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
		for _, m := range measures {
			if w.q.Measures&m.is == 0 {
				continue
			}
			switch m.name[0] {
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
				if m.is == telemetry.MeasureMin {
					s.Min = number()
				} else {
					s.Last = number()
				}
			}
		}
	}
	return some
}
