package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/telemetry"
)

// Expire drops the values of each signal from before a time, and rows of which
// nothing is left from before all those times.
//
// A part whose rows are all older loses the signal's column, or itself, whole:
// nothing of it is read. One that the time falls into is rewritten; if it is
// large, no more than expirySteps times in its life, so that a value may stay
// for that share of the part's span longer.
func (h *History) Expire(ctx context.Context, product string, before map[string]time.Time) error {
	defer h.reshape()()
	p := h.product(product)
	if p == nil || len(before) == 0 {
		return nil
	}
	x := expiry{h: h, product: product, all: math.MaxInt64}
	for _, end := range before {
		x.all = min(x.all, ceilMilli(end))
	}
	for i := range p.columns {
		end, ok := before[p.columns[i].signal]
		x.ends = append(x.ends, int64(math.MinInt64))
		if ok {
			x.ends[i] = ceilMilli(end)
		}
	}
	for _, r := range h.units[p.id] {
		r.unlearn()
	}
	for _, s := range p.segments {
		if err := x.segment(ctx, s.id); err != nil {
			return fmt.Errorf("expire history of product %s: %w", product, err)
		}
	}
	return nil
}

// expirySteps is how often a large part is rewritten at most while it expires.
const expirySteps = 16

type expiry struct {
	h       *History
	product string
	ends    []int64 // by column: values from before go
	all     int64   // rows of which nothing is left go, from before this
}

// segment expires one segment in at most two transactions.
func (x *expiry) segment(ctx context.Context, id int) error {
	find := func() (*product, *segment) {
		p := x.h.product(x.product).clone()
		for _, s := range p.segments {
			if s.id == id {
				return p, s
			}
		}
		return p, nil
	}
	p, s := find()
	if !s.sorted {
		return x.arrived(ctx, p, s)
	}
	var whole, partly []int
	for i, end := range x.ends {
		switch {
		case !s.holds(i) || s.firstEvent >= end:
		case s.lastEvent < end:
			whole = append(whole, i)
		default:
			partly = append(partly, i)
		}
	}
	if len(whole) > 0 {
		if err := x.dropColumns(ctx, p, s, whole); err != nil {
			return err
		}
		p, s = find()
	}
	due, err := x.due(ctx, s, partly)
	if err != nil || len(due) == 0 && s.lastEvent >= x.all {
		return err
	}
	return x.h.rewrite(ctx, func(c *sql.Conn) ([]*product, error) {
		for _, i := range due {
			if _, err := c.ExecContext(ctx, strings.Join(s.cutOff(p, i, x.ends[i]), ";\n")); err != nil {
				return nil, err
			}
		}
		if _, err := c.ExecContext(ctx, x.deleteEmpty(s)); err != nil {
			return nil, err
		}
		return []*product{p}, p.remeasure(ctx, c, s)
	})
}

// arrived expires rows in the order of arrival.
func (x *expiry) arrived(ctx context.Context, p *product, s *segment) error {
	var statements []string
	for i, end := range x.ends {
		if s.holds(i) && end != math.MinInt64 {
			v := columnName(i)
			statements = append(statements, fmt.Sprintf("UPDATE %s SET %s = NULL WHERE event < %s AND %s IS NOT NULL", s.table, v, bigint(end), v))
		}
	}
	statements = append(statements, x.deleteEmpty(s))
	return x.h.rewrite(ctx, func(c *sql.Conn) ([]*product, error) {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return nil, err
	})
}

func (x *expiry) deleteEmpty(s *segment) string {
	terms := []string{"event < " + bigint(x.all)}
	for i, has := range s.has {
		if has {
			terms = append(terms, columnName(i)+" IS NULL")
		}
	}
	return "DELETE FROM " + s.table + whereAll(terms)
}

// dropColumns takes columns out of a part and its rollups.
func (x *expiry) dropColumns(ctx context.Context, p *product, s *segment, columns []int) error {
	left := s.clone()
	var statements []string
	for _, i := range columns {
		left.has[i] = false
		statements = append(statements, fmt.Sprintf("ALTER TABLE %s DROP COLUMN %s", s.table, columnName(i)))
		if p.columns[i].isText {
			continue
		}
		for l, has := range s.levels {
			for _, m := range measures {
				if has {
					statements = append(statements, "ALTER TABLE "+s.rollup(l)+" DROP COLUMN "+fmt.Sprintf(m.name, i))
				}
			}
		}
	}
	p.segments[slices.Index(p.segments, s)] = left
	return x.h.rewrite(ctx, func(c *sql.Conn) ([]*product, error) {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return []*product{p}, err
	})
}

// due are those columns of a part of which enough is too old.
func (x *expiry) due(ctx context.Context, s *segment, columns []int) ([]int, error) {
	if len(columns) == 0 {
		return nil, nil
	}
	slack := int64(0)
	if s.rows > int64(x.h.cfg.SealRows) {
		slack = (s.lastEvent - s.firstEvent) / expirySteps
	}
	list := make([]string, len(columns))
	oldest := make([]sql.NullInt64, len(columns))
	into := make([]any, len(columns))
	for i, column := range columns {
		list[i] = "min(CASE WHEN " + columnName(column) + " IS NOT NULL THEN event END)"
		into[i] = &oldest[i]
	}
	err := x.h.use(ctx, func(c *sql.Conn) error {
		return c.QueryRowContext(ctx, "SELECT "+strings.Join(list, ", ")+" FROM "+s.table).Scan(into...)
	})
	var out []int
	for i, column := range columns {
		if o := oldest[i]; o.Valid && o.Int64 < x.ends[column] && x.ends[column]-o.Int64 >= slack {
			out = append(out, column)
		}
	}
	return out, err
}

// cutOff is the statements that take a column's values from before end out of a
// part and its rollups; the span that end falls into is measured anew.
func (s *segment) cutOff(p *product, column int, end int64) []string {
	spanOf := func(l int) int64 { return floorDiv(end, levelWidth[l]) }
	statements := s.blank(p, []int{column}, " WHERE event < "+bigint(end)+" AND "+columnName(column)+" IS NOT NULL",
		func(l int) string { return fmt.Sprintf(" WHERE bucket <= %d", spanOf(l)) })
	if p.columns[column].isText {
		return statements
	}
	for l, has := range s.levels {
		if !has {
			continue
		}
		var set []string
		for _, m := range measures {
			name := fmt.Sprintf(m.name, column)
			set = append(set, name+" = x."+name)
		}
		span := spanOf(l)
		statements = append(statements, fmt.Sprintf(
			"UPDATE %[1]s r SET %[2]s FROM (SELECT unit%[3]s FROM %[4]s WHERE event >= %[5]d AND event < %[6]d GROUP BY unit) x WHERE r.unit = x.unit AND r.bucket = %[7]d",
			s.rollup(l), strings.Join(set, ", "), prefixed(s.aggregates(p, []int{column}, telemetry.MeasureAll)), s.table,
			span*levelWidth[l], (span+1)*levelWidth[l], span))
	}
	return statements
}
