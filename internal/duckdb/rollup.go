package duckdb

import (
	"context"
	"database/sql"
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

// levels are the widths of rollups: minute, hour, day.
const levels = 3

var (
	levelWidth = [levels]int64{60_000, 3_600_000, 86_400_000} // ms
	levelName  = [levels]string{"minute", "hour", "day"}
)

func (s *segment) rollup(level int) string { return s.table + "_" + levelName[level] }

// chooseLevels keeps those rollups that have at most half the rows of the next
// finer: of a unit that reports once an hour the rows themselves serve as
// rollups by the minute.
func (h *History) chooseLevels(ctx context.Context, part *segment) error {
	return h.use(ctx, func(c *sql.Conn) error {
		var finer int64
		if err := c.QueryRowContext(ctx, "SELECT count(*) FROM "+part.table).Scan(&finer); err != nil {
			return err
		}
		for l, width := range levelWidth {
			var groups int64
			query := fmt.Sprintf("SELECT count(*) FROM (SELECT DISTINCT unit, %s FROM %s)", floorOf("event", width), part.table)
			if err := c.QueryRowContext(ctx, query).Scan(&groups); err != nil {
				return err
			}
			if part.levels[l] = 2*groups <= finer; part.levels[l] {
				finer = groups
			}
		}
		return nil
	})
}

// rollUp is the statements that make the rollups of a part, or add those of
// some units to them, which terms pick. Where the part is made of whole parts
// that have a level, theirs are folded.
func (s *segment) rollUp(p *product, from []*segment, whole, begin bool, terms []string) []string {
	var statements []string
	numbers := s.numbers(p)
	finest := -1
	for l, width := range levelWidth {
		if !s.levels[l] {
			continue
		}
		var query string
		where := whereAll(unitTerms(terms))
		switch {
		case finest >= 0:
			query = fmt.Sprintf("SELECT unit, %s AS bucket%s FROM %s%s GROUP BY ALL ORDER BY unit, bucket",
				floorOf("bucket", width/levelWidth[finest]), prefixed(folds(numbers, telemetry.MeasureAll, "at%d")), s.rollup(finest), where)
		case whole && foldable(from, l):
			sources := make([]string, len(from))
			for i, f := range from {
				sources[i] = fmt.Sprintf("SELECT unit, bucket, %d AS part%s FROM %s%s", i, prefixed(f.rolled(p, numbers, telemetry.MeasureAll)), f.rollup(l), where)
			}
			query = fmt.Sprintf("SELECT unit, bucket%s FROM (%s) GROUP BY ALL ORDER BY unit, bucket",
				prefixed(folds(numbers, telemetry.MeasureAll, laterOf)), strings.Join(sources, " UNION ALL "))
		default:
			query = fmt.Sprintf("SELECT unit, %s AS bucket%s FROM %s%s GROUP BY ALL ORDER BY unit, bucket",
				floorOf("event", width), prefixed(s.aggregates(p, numbers, telemetry.MeasureAll)), s.table, where)
		}
		if begin {
			statements = append(statements, "CREATE TABLE "+s.rollup(l)+" AS "+query)
		} else {
			statements = append(statements, "INSERT INTO "+s.rollup(l)+" "+query)
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

func foldable(from []*segment, level int) bool {
	for _, s := range from {
		if !s.sorted || !s.levels[level] {
			return false
		}
	}
	return true
}

// numbers are the columns of numbers that the segment has.
func (s *segment) numbers(p *product) []int {
	var list []int
	for i, c := range p.columns {
		if !c.isText && s.holds(i) {
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

// measures are the columns of a rollup for a column of numbers, with what makes
// them of rows and what folds them.
var measures = []struct {
	is        telemetry.Measures
	name      string // of the column
	none      string // where the segment lacks the column
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

// aggregates measures columns of the segment's rows.
func (s *segment) aggregates(p *product, columns []int, which telemetry.Measures) []string {
	// A part's rows stand in the order of event time and stream.
	order := "rowid"
	if !s.sorted {
		order = "event::HUGEINT * 18446744073709551616 + rowid"
	}
	var list []string
	for _, i := range columns {
		for _, m := range measures {
			if which&m.is == 0 {
				continue
			}
			value := m.none
			if s.holds(i) && !p.columns[i].isText {
				value = fmt.Sprintf(m.row, i, order)
			}
			list = append(list, value+" AS "+fmt.Sprintf(m.name, i))
		}
	}
	return list
}

// rolled names the measures of columns in the segment's rollups.
func (s *segment) rolled(p *product, columns []int, which telemetry.Measures) []string {
	var list []string
	for _, i := range columns {
		for _, m := range measures {
			if which&m.is == 0 {
				continue
			}
			name := fmt.Sprintf(m.name, i)
			if !s.holds(i) || p.columns[i].isText {
				name = m.none + " AS " + name
			}
			list = append(list, name)
		}
	}
	return list
}

// folds makes one of several measures of columns; later is what orders last
// values, with a place for the column's number.
func folds(columns []int, which telemetry.Measures, later string) []string {
	var list []string
	for _, i := range columns {
		for _, m := range measures {
			if which&m.is != 0 {
				list = append(list, fmt.Sprintf(m.fold+" AS "+m.name, i, fmt.Sprintf(later, i)))
			}
		}
	}
	return list
}

// floorOf is the number of the span of a width that an expression falls in.
// (DuckDB's // truncates.)
func floorOf(expression string, width int64) string {
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
func (s *segment) pieces(level int, first, last int64) []piece {
	if first >= last {
		return nil
	}
	const far = math.MaxInt64 / 4
	if s.sorted && s.firstEvent > -far && s.lastEvent < far {
		// There is nothing beyond: the edges need not be read from rows.
		if first <= s.firstEvent {
			first = floorDiv(s.firstEvent, levelWidth[levels-1]) * levelWidth[levels-1]
		}
		if last > s.lastEvent {
			last = (floorDiv(s.lastEvent, levelWidth[levels-1]) + 1) * levelWidth[levels-1]
		}
	} else {
		level = -1
	}
	for level >= 0 && !s.levels[level] {
		level--
	}
	if level < 0 {
		return []piece{{-1, first, last}}
	}
	width := levelWidth[level]
	from, to := -floorDiv(-first, width)*width, floorDiv(last, width)*width
	if from >= to {
		return s.inside(level-1, first, last)
	}
	return append(append(s.inside(level-1, first, from), piece{level, from, to}), s.inside(level-1, to, last)...)
}

// inside is pieces for a span that needs not be widened.
func (s *segment) inside(level int, first, last int64) []piece {
	if first >= last || !s.overlaps(first, last) {
		return nil
	}
	return s.pieces(level, first, last)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
