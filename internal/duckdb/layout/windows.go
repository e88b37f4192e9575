package layout

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/telemetry"
)

// Grid divides event time into windows: origin and width in ms. Width 0 is one
// window.
type Grid struct {
	first, last int64 // [first, last)
	origin      int64
	width       int64
	level       int // coarsest rollups whose spans lie in one window each; -1: none
}

// NewGrid puts windows of a width from first on.
func NewGrid(first, last, width int64) Grid {
	g := Grid{first: first, last: last, origin: first, width: width, level: Levels - 1}
	for ; width > 0 && g.level >= 0; g.level-- {
		if w := LevelWidth[g.level]; width%w == 0 && first%w == 0 {
			break
		}
	}
	return g
}

// Window is the number of the window that a time falls in.
func (g *Grid) Window(expression string) string {
	if g.width == 0 {
		return "0::BIGINT"
	}
	return fmt.Sprintf("(%s - %s) // %d", expression, Bigint(g.origin), g.width)
}

// At is the start of a window.
func (g *Grid) At(window int64) time.Time {
	if g.first == math.MinInt64 {
		return time.Time{}
	}
	return time.UnixMilli(max(g.origin+window*g.width, g.first)).UTC()
}

// Measure is the query for Measured of columns by unit and window, of the rows
// that q picks within the grid: columns unit, win and the Measured. Empty when
// no segment may hold any.
func (p *Product) Measure(g Grid, q Pick, columns []int, which telemetry.Measures) string {
	var sources []string
	for i, s := range p.Segments {
		if !s.Overlaps(g.first, g.last) || !slices.ContainsFunc(columns, s.Holds) {
			continue
		}
		for _, piece := range s.pieces(g.level, g.first, g.last) {
			at := q
			if piece.level < 0 {
				at.First, at.Last = piece.first, piece.last
				sources = append(sources, fmt.Sprintf("SELECT unit, %s AS win, %d AS part%s FROM %s%s GROUP BY ALL",
					g.Window("event"), i, prefixed(s.aggregates(p, columns, which)), s.Table, Where(at.Where(s))))
				continue
			}
			width := LevelWidth[piece.level]
			terms := append(q.OfUnits(), fmt.Sprintf("bucket >= %d", piece.first/width), fmt.Sprintf("bucket < %d", piece.last/width))
			sources = append(sources, fmt.Sprintf("SELECT unit, %s AS win, %d AS part%s FROM %s%s",
				g.Window(fmt.Sprintf("bucket * %d", width)), i, prefixed(s.rolled(p, columns, which)), s.Rollup(piece.level), Where(terms)))
		}
	}
	if len(sources) == 0 {
		return ""
	}
	return fmt.Sprintf("SELECT unit, win%s FROM (%s) GROUP BY ALL", prefixed(folds(columns, which, laterOf)), strings.Join(sources, " UNION ALL "))
}

// SeriesGrid divides [first, last) into at most so many windows.
func SeriesGrid(first, last int64, buckets int) Grid {
	// Division by floats keeps spans of any length from overflowing.
	span := float64(last) - float64(first)
	width := max(int64(math.Min(span/float64(buckets), math.MaxInt64/2)), 1)
	for float64(width)*float64(buckets) < span {
		width++
	}
	g := Grid{first: first, last: last, origin: first, width: width, level: -1}
	const far = math.MaxInt64 / 4
	for l := Levels - 1; l >= 0; l-- {
		w := LevelWidth[l]
		if width < w || first < -far || last > far {
			continue
		}
		g.level, g.origin = l, FloorDiv(first, w)*w
		g.width = -FloorDiv(-width, w) * w
		if float64(g.width)*float64(buckets) < float64(last)-float64(g.origin) {
			g.width += w
		}
		break
	}
	return g
}
