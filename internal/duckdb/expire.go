package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/duckdb/layout"
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
		x.all = min(x.all, layout.CeilMilli(end))
	}
	for i := range p.Columns {
		end, ok := before[p.Columns[i].Signal]
		x.ends = append(x.ends, int64(math.MinInt64))
		if ok {
			x.ends[i] = layout.CeilMilli(end)
		}
	}
	for _, r := range h.units[p.ID] {
		r.Unlearn()
	}
	if values := h.newestValues(p); values != nil {
		values.Expire(x.ends)
	}
	for _, s := range p.Segments {
		if err := x.segment(ctx, s.ID); err != nil {
			return fmt.Errorf("expire history of product %s: %w", product, err)
		}
	}
	return nil
}

// expirySteps is how often a part of more than largePart rows is rewritten at
// most while it expires.
const (
	expirySteps = 16
	largePart   = 2_000_000
)

type expiry struct {
	h       *History
	product string
	ends    []int64 // by column: values from before go
	all     int64   // rows of which nothing is left go, from before this
}

// segment expires one segment in at most two transactions.
func (x *expiry) segment(ctx context.Context, id int) error {
	find := func() (*layout.Product, *layout.Segment) {
		p := x.h.product(x.product).Clone()
		for _, s := range p.Segments {
			if s.ID == id {
				return p, s
			}
		}
		return p, nil
	}
	p, s := find()
	if !s.Sorted {
		return x.arrived(ctx, s)
	}
	var whole, partly []int
	for i, end := range x.ends {
		switch {
		case !s.Holds(i) || s.FirstEvent >= end:
		case s.LastEvent < end:
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
	if err != nil || len(due) == 0 && s.LastEvent >= x.all {
		return err
	}
	return x.h.rewrite(ctx, func(c *sql.Conn) ([]*layout.Product, error) {
		for _, i := range due {
			if _, err := c.ExecContext(ctx, strings.Join(s.CutOff(p, i, x.ends[i]), ";\n")); err != nil {
				return nil, err
			}
		}
		if _, err := c.ExecContext(ctx, x.deleteEmpty(s)); err != nil {
			return nil, err
		}
		return []*layout.Product{p}, remeasure(ctx, c, p, s)
	})
}

// arrived expires rows in the order of arrival.
func (x *expiry) arrived(ctx context.Context, s *layout.Segment) error {
	var statements []string
	for i, end := range x.ends {
		if s.Holds(i) && end != math.MinInt64 {
			v := layout.ColumnName(i)
			statements = append(statements, fmt.Sprintf("UPDATE %s SET %s = NULL WHERE event < %s AND %s IS NOT NULL", s.Table, v, layout.Bigint(end), v))
		}
	}
	statements = append(statements, x.deleteEmpty(s))
	return x.h.rewrite(ctx, func(c *sql.Conn) ([]*layout.Product, error) {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return nil, err
	})
}

func (x *expiry) deleteEmpty(s *layout.Segment) string {
	terms := []string{"event < " + layout.Bigint(x.all)}
	for i, has := range s.Has {
		if has {
			terms = append(terms, layout.ColumnName(i)+" IS NULL")
		}
	}
	return "DELETE FROM " + s.Table + layout.Where(terms)
}

// dropColumns takes columns out of a part and its rollups.
func (x *expiry) dropColumns(ctx context.Context, p *layout.Product, s *layout.Segment, columns []int) error {
	left := s.Clone()
	var statements []string
	for _, i := range columns {
		left.Has[i] = false
		statements = append(statements, fmt.Sprintf("ALTER TABLE %s DROP COLUMN %s", s.Table, layout.ColumnName(i)))
		if p.Columns[i].IsText {
			continue
		}
		for l, has := range s.Levels {
			for _, m := range layout.Measured {
				if has {
					statements = append(statements, "ALTER TABLE "+s.Rollup(l)+" DROP COLUMN "+fmt.Sprintf(m.Name, i))
				}
			}
		}
	}
	p.Segments[slices.Index(p.Segments, s)] = left
	return x.h.rewrite(ctx, func(c *sql.Conn) ([]*layout.Product, error) {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return []*layout.Product{p}, err
	})
}

// due are those columns of a part of which enough is too old.
func (x *expiry) due(ctx context.Context, s *layout.Segment, columns []int) ([]int, error) {
	if len(columns) == 0 {
		return nil, nil
	}
	slack := int64(0)
	if s.Rows > largePart {
		slack = (s.LastEvent - s.FirstEvent) / expirySteps
	}
	list := make([]string, len(columns))
	oldest := make([]sql.NullInt64, len(columns))
	into := make([]any, len(columns))
	for i, column := range columns {
		list[i] = "min(CASE WHEN " + layout.ColumnName(column) + " IS NOT NULL THEN event END)"
		into[i] = &oldest[i]
	}
	err := x.h.use(ctx, func(c *sql.Conn) error {
		return c.QueryRowContext(ctx, "SELECT "+strings.Join(list, ", ")+" FROM "+s.Table).Scan(into...)
	})
	var out []int
	for i, column := range columns {
		if o := oldest[i]; o.Valid && o.Int64 < x.ends[column] && x.ends[column]-o.Int64 >= slack {
			out = append(out, column)
		}
	}
	return out, err
}
