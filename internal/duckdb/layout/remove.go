package layout

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/telemetry"
)

// Erase is the statements that take units, or their values of signals, out of
// the segment's tables.
func (s *Segment) Erase(p *Product, where string, signals []string) []string {
	var statements []string
	if signals == nil {
		for _, t := range s.Tables() {
			statements = append(statements, "DELETE FROM "+t+where)
		}
		return statements
	}
	var columns []int
	for i, c := range p.Columns {
		if s.Holds(i) && slices.Contains(signals, c.Signal) {
			columns = append(columns, i)
		}
	}
	return s.blank(p, columns, where, func(int) string { return where })
}

// EraseSpan is the statements that take rows of a unit with event times in
// [first, last) out of the segment, where picks them; what its rollups say of
// the spans that are left in part is measured anew.
func (s *Segment) EraseSpan(p *Product, unit, first, last int64, where string) []string {
	statements := []string{"DELETE FROM " + s.Table + where}
	numbers := s.numbers(p)
	for l, has := range s.Levels {
		if !has {
			continue
		}
		width := LevelWidth[l]
		terms := []string{"unit = " + Bigint(unit)}
		var edges []string
		if first != math.MinInt64 {
			at := FloorDiv(first, width)
			terms, edges = append(terms, "bucket >= "+Bigint(at)), append(edges, Bigint(at))
		}
		if last != math.MaxInt64 {
			at := FloorDiv(last-1, width)
			terms, edges = append(terms, "bucket <= "+Bigint(at)), append(edges, Bigint(at))
		}
		statements = append(statements, "DELETE FROM "+s.Rollup(l)+Where(terms))
		if len(edges) == 0 {
			continue
		}
		slices.Sort(edges)
		statements = append(statements, fmt.Sprintf("INSERT INTO %s SELECT unit, %s AS bucket%s FROM %s WHERE unit = %s AND %s IN (%s) GROUP BY ALL",
			s.Rollup(l), FloorOf("event", width), prefixed(s.aggregates(p, numbers, telemetry.MeasureAll)), s.Table,
			Bigint(unit), FloorOf("event", width), strings.Join(slices.Compact(edges), ", ")))
	}
	return statements
}

// Rewrite is the statement that writes a table anew: DuckDB keeps deleted rows
// and changed values where they were, marked.
func Rewrite(table string) string {
	return "CREATE OR REPLACE TABLE " + table + " AS SELECT * FROM " + table
}

// blank is the statements that take values of columns out of the rows, and out
// of rollups, that the conditions pick.
func (s *Segment) blank(p *Product, columns []int, where string, rollup func(level int) string) []string {
	if len(columns) == 0 {
		return nil
	}
	var values, measured []string
	for _, i := range columns {
		values = append(values, ColumnName(i)+" = NULL")
		if p.Columns[i].IsText {
			continue
		}
		for _, m := range Measured {
			measured = append(measured, fmt.Sprintf(m.Name, i)+" = "+m.None)
		}
	}
	statements := []string{"UPDATE " + s.Table + " SET " + strings.Join(values, ", ") + where}
	for l, has := range s.Levels {
		if has && len(measured) > 0 {
			statements = append(statements, "UPDATE "+s.Rollup(l)+" SET "+strings.Join(measured, ", ")+rollup(l))
		}
	}
	return statements
}

// CutOff is the statements that take a column's values from before end out of a
// part and its rollups; the span that end falls into is measured anew.
func (s *Segment) CutOff(p *Product, column int, end int64) []string {
	spanOf := func(l int) int64 { return FloorDiv(end, LevelWidth[l]) }
	statements := s.blank(p, []int{column}, " WHERE event < "+Bigint(end)+" AND "+ColumnName(column)+" IS NOT NULL",
		func(l int) string { return fmt.Sprintf(" WHERE bucket <= %d", spanOf(l)) })
	if p.Columns[column].IsText {
		return statements
	}
	for l, has := range s.Levels {
		if !has {
			continue
		}
		var set []string
		for _, m := range Measured {
			name := fmt.Sprintf(m.Name, column)
			set = append(set, name+" = x."+name)
		}
		span := spanOf(l)
		statements = append(statements, fmt.Sprintf(
			"UPDATE %[1]s r SET %[2]s FROM (SELECT unit%[3]s FROM %[4]s WHERE event >= %[5]d AND event < %[6]d GROUP BY unit) x WHERE r.unit = x.unit AND r.bucket = %[7]d",
			s.Rollup(l), strings.Join(set, ", "), prefixed(s.aggregates(p, []int{column}, telemetry.MeasureAll)), s.Table,
			span*LevelWidth[l], (span+1)*LevelWidth[l], span))
	}
	return statements
}
