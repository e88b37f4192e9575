package layout

import (
	"fmt"
	"math"
	"strings"

	"fettle.dev/fettle/internal/telemetry"
)

// Rollups are tables of a part: for each unit and span of event time, and each
// column of numbers, how many values there are (n), how many of them are not
// zero (z), their sum (s), least (lo) and greatest (hi), the last one (la) and
// its event time (at). A rollup is a function of its part's rows, and is made
// with it; who asks folds those of all parts with the rows that stand in none,
// so that answers are those of the rows, however late they came.

// Levels are the widths of rollups: minute, hour, day.
const Levels = 3

var (
	// LevelWidth is how long the spans of a level are, in ms.
	LevelWidth = [Levels]int64{60_000, 3_600_000, 86_400_000} // ms
	levelName  = [Levels]string{"minute", "hour", "day"}
)

// Rollup is the table of a level.
func (s *Segment) Rollup(level int) string { return s.Table + "_" + levelName[level] }

// RollUp is the statements that make the rollups of a part, or add those of
// some units to them, which terms pick. Where the part is made of whole parts
// that have a level, theirs are folded.
func (s *Segment) RollUp(p *Product, from []*Segment, whole, begin bool, terms []string) []string {
	var statements []string
	numbers := s.numbers(p)
	finest := -1
	for l, width := range LevelWidth {
		if !s.Levels[l] {
			continue
		}
		var query string
		where := Where(unitTerms(terms))
		switch {
		case finest >= 0:
			query = fmt.Sprintf("SELECT unit, %s AS bucket%s FROM %s%s GROUP BY ALL ORDER BY unit, bucket",
				FloorOf("bucket", width/LevelWidth[finest]), prefixed(folds(numbers, telemetry.MeasureAll, "at%d")), s.Rollup(finest), where)
		case whole && foldable(from, l):
			sources := make([]string, len(from))
			for i, f := range from {
				sources[i] = fmt.Sprintf("SELECT unit, bucket, %d AS part%s FROM %s%s", i, prefixed(f.rolled(p, numbers, telemetry.MeasureAll)), f.Rollup(l), where)
			}
			query = fmt.Sprintf("SELECT unit, bucket%s FROM (%s) GROUP BY ALL ORDER BY unit, bucket",
				prefixed(folds(numbers, telemetry.MeasureAll, laterOf)), strings.Join(sources, " UNION ALL "))
		default:
			query = fmt.Sprintf("SELECT unit, %s AS bucket%s FROM %s%s GROUP BY ALL ORDER BY unit, bucket",
				FloorOf("event", width), prefixed(s.aggregates(p, numbers, telemetry.MeasureAll)), s.Table, where)
		}
		if begin {
			statements = append(statements, "CREATE TABLE "+s.Rollup(l)+" AS "+query)
		} else {
			statements = append(statements, "INSERT INTO "+s.Rollup(l)+" "+query)
		}
		finest = l
	}
	return statements
}

// unitTerms are those that pick units.
func unitTerms(terms []string) []string {
	var out []string
	for _, t := range terms {
		if strings.HasPrefix(t, "unit ") {
			out = append(out, t)
		}
	}
	return out
}

func foldable(from []*Segment, level int) bool {
	for _, s := range from {
		if !s.Sorted || !s.Levels[level] {
			return false
		}
	}
	return true
}

// numbers are the columns of numbers that the segment has.
func (s *Segment) numbers(p *Product) []int {
	var list []int
	for i, c := range p.Columns {
		if !c.IsText && s.Holds(i) {
			list = append(list, i)
		}
	}
	return list
}

func prefixed(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return ", " + strings.Join(list, ", ")
}

// Measured are the columns of a rollup for a column of numbers, with what makes
// them of rows and what folds them.
var Measured = []struct {
	Is        telemetry.Measures
	Name      string // of the column
	None      string // where the segment lacks the column
	row, fold string
}{
	{telemetry.MeasureCount, "n%[1]d", "0", "count(v%[1]d)", "sum(n%[1]d)::BIGINT"},
	{telemetry.MeasureNonzero, "z%[1]d", "0", "count(nullif(v%[1]d, 0))", "sum(z%[1]d)::BIGINT"},
	{telemetry.MeasureSum, "s%[1]d", "NULL::DOUBLE", "sum(v%[1]d)", "sum(s%[1]d)"},
	{telemetry.MeasureMin, "lo%[1]d", "NULL::DOUBLE", "min(v%[1]d)", "min(lo%[1]d)"},
	{telemetry.MeasureMax, "hi%[1]d", "NULL::DOUBLE", "max(v%[1]d)", "max(hi%[1]d)"},
	{telemetry.MeasureLast, "la%[1]d", "NULL::DOUBLE", "arg_max(v%[1]d, %[2]s)", "arg_max(la%[1]d, %[2]s)"},
	{telemetry.MeasureLast, "at%[1]d", "NULL::BIGINT", "max(CASE WHEN v%[1]d IS NOT NULL THEN event END)", "max(at%[1]d)"},
}

// laterOf orders last values of several parts: by event time, then as the
// stream had them.
const laterOf = "at%d::HUGEINT * 65536 + part"

// aggregates Measured columns of the segment's rows.
func (s *Segment) aggregates(p *Product, columns []int, which telemetry.Measures) []string {
	// A part's rows stand in the order of event time and stream.
	order := "rowid"
	if !s.Sorted {
		order = "event::HUGEINT * 18446744073709551616 + rowid"
	}
	var list []string
	for _, i := range columns {
		for _, m := range Measured {
			if which&m.Is == 0 {
				continue
			}
			value := m.None
			if s.Holds(i) && !p.Columns[i].IsText {
				value = fmt.Sprintf(m.row, i, order)
			}
			list = append(list, value+" AS "+fmt.Sprintf(m.Name, i))
		}
	}
	return list
}

// rolled names the Measured of columns in the segment's rollups.
func (s *Segment) rolled(p *Product, columns []int, which telemetry.Measures) []string {
	var list []string
	for _, i := range columns {
		for _, m := range Measured {
			if which&m.Is == 0 {
				continue
			}
			name := fmt.Sprintf(m.Name, i)
			if !s.Holds(i) || p.Columns[i].IsText {
				name = m.None + " AS " + name
			}
			list = append(list, name)
		}
	}
	return list
}

// folds makes one of several Measured of columns; later is what orders last
// values, with a place for the column's number.
func folds(columns []int, which telemetry.Measures, later string) []string {
	var list []string
	for _, i := range columns {
		for _, m := range Measured {
			if which&m.Is != 0 {
				list = append(list, fmt.Sprintf(m.fold+" AS "+m.Name, i, fmt.Sprintf(later, i)))
			}
		}
	}
	return list
}

// FloorOf is the number of the span of a width that an expression falls in.
// (DuckDB's // truncates.)
func FloorOf(expression string, width int64) string {
	return fmt.Sprintf("(%[1]s // %[2]d - CASE WHEN %[1]s %% %[2]d < 0 THEN 1 ELSE 0 END)", expression, width)
}

// piece is a span of event time, [first, last), to be read from rollups of a
// level, or of rows: level -1.
type piece struct {
	level       int
	first, last int64
}

// pieces covers [first, last) with the coarsest rollups of the segment that
// fit: whole spans of level and finer ones inside, rows at the edges.
func (s *Segment) pieces(level int, first, last int64) []piece {
	if first >= last {
		return nil
	}
	const far = math.MaxInt64 / 4
	if s.Sorted && s.FirstEvent > -far && s.LastEvent < far {
		// There is nothing beyond: the edges need not be read from rows.
		if first <= s.FirstEvent {
			first = FloorDiv(s.FirstEvent, LevelWidth[Levels-1]) * LevelWidth[Levels-1]
		}
		if last > s.LastEvent {
			last = (FloorDiv(s.LastEvent, LevelWidth[Levels-1]) + 1) * LevelWidth[Levels-1]
		}
	} else {
		level = -1
	}
	for level >= 0 && !s.Levels[level] {
		level--
	}
	if level < 0 {
		return []piece{{-1, first, last}}
	}
	width := LevelWidth[level]
	from, to := -FloorDiv(-first, width)*width, FloorDiv(last, width)*width
	if from >= to {
		return s.inside(level-1, first, last)
	}
	return append(append(s.inside(level-1, first, from), piece{level, from, to}), s.inside(level-1, to, last)...)
}

// inside is pieces for a span that needs not be widened.
func (s *Segment) inside(level int, first, last int64) []piece {
	if first >= last || !s.Overlaps(first, last) {
		return nil
	}
	return s.pieces(level, first, last)
}

// FloorDiv is a by b, rounded down.
func FloorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
