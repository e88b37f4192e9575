package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// EraseUnits removes every row, mark and account of the units, or, with
// signals, the values of those signals alone. Of a part, only the row groups of
// the units are read.
func (h *History) EraseUnits(ctx context.Context, units []int64, signals []string) error {
	if len(units) == 0 {
		return nil
	}
	defer h.reshape()()
	q := pick{units: units, first: math.MinInt64, last: math.MaxInt64}
	where := whereAll(q.ofUnits())
	events, err := h.eventTables(ctx)
	if err != nil {
		return fmt.Errorf("erase from history: %w", err)
	}
	err = h.rewrite(ctx, func(c *sql.Conn) ([]*product, error) {
		if signals == nil {
			if _, err := c.ExecContext(ctx, "DELETE FROM marks"+where+"; DELETE FROM accounts"+where); err != nil {
				return nil, err
			}
			for _, t := range events {
				if _, err := c.ExecContext(ctx, "DELETE FROM "+t+where); err != nil {
					return nil, err
				}
			}
		}
		var changed []*product
		for _, p := range h.schema.Load().products {
			p = p.clone()
			for _, s := range slices.Clone(p.segments) {
				statements := s.erase(p, where, signals)
				if len(statements) == 0 {
					continue
				}
				var rows int
				if err := c.QueryRowContext(ctx, "SELECT count(*) FROM "+s.table+where).Scan(&rows); err != nil || rows == 0 {
					if err != nil {
						return nil, err
					}
					continue
				}
				if _, err := c.ExecContext(ctx, strings.Join(statements, ";\n")); err != nil {
					return nil, err
				}
				if err := p.remeasure(ctx, c, s); err != nil {
					return nil, err
				}
			}
			changed = append(changed, p)
		}
		return changed, nil
	})
	if err != nil {
		return fmt.Errorf("erase from history: %w", err)
	}
	for _, known := range h.units {
		for _, unit := range units {
			if signals == nil {
				delete(known, unit)
			} else if r := known[unit]; r != nil {
				r.unlearn()
			}
		}
	}
	return nil
}

// erase is the statements that take units, or their values of signals, out of
// the segment's tables.
func (s *segment) erase(p *product, where string, signals []string) []string {
	var statements []string
	if signals == nil {
		for _, t := range s.tables() {
			statements = append(statements, "DELETE FROM "+t+where)
		}
		return statements
	}
	var columns []int
	for i, c := range p.columns {
		if s.holds(i) && slices.Contains(signals, c.signal) {
			columns = append(columns, i)
		}
	}
	return s.blank(p, columns, where, func(int) string { return where })
}

// blank is the statements that take values of columns out of the rows, and out
// of rollups, that the conditions pick.
func (s *segment) blank(p *product, columns []int, where string, rollup func(level int) string) []string {
	if len(columns) == 0 {
		return nil
	}
	var values, measured []string
	for _, i := range columns {
		values = append(values, columnName(i)+" = NULL")
		if p.columns[i].isText {
			continue
		}
		for _, m := range measures {
			measured = append(measured, fmt.Sprintf(m.name, i)+" = "+m.none)
		}
	}
	statements := []string{"UPDATE " + s.table + " SET " + strings.Join(values, ", ") + where}
	for l, has := range s.levels {
		if has && len(measured) > 0 {
			statements = append(statements, "UPDATE "+s.rollup(l)+" SET "+strings.Join(measured, ", ")+rollup(l))
		}
	}
	return statements
}

// remeasure brings the record of a part up to its rows, and drops one that has
// none.
func (p *product) remeasure(ctx context.Context, c *sql.Conn, s *segment) error {
	if !s.sorted {
		return nil
	}
	at := slices.IndexFunc(p.segments, func(o *segment) bool { return o.id == s.id })
	left := s.clone()
	if err := left.measure(ctx, c); err != nil {
		return err
	}
	statements := left.replace(p)
	if left.rows == 0 {
		statements = left.remove(p) + ";" + left.drop()
		p.segments = slices.Delete(p.segments, at, at+1)
	} else {
		p.segments[at] = left
	}
	_, err := c.ExecContext(ctx, statements)
	return err
}

// reshape takes the locks of whoever rewrites parts; what it returns gives them
// back.
func (h *History) reshape() (unlock func()) {
	h.impatient.Add(1)
	h.shape.Lock()
	h.impatient.Add(-1)
	h.write.Lock()
	return func() {
		h.write.Unlock()
		h.shape.Unlock()
	}
}

// ExpireMarks drops marks from before a time.
func (h *History) ExpireMarks(ctx context.Context, before time.Time) error {
	h.write.Lock()
	defer h.write.Unlock()
	if err := h.remove(ctx, []string{"DELETE FROM marks WHERE received < " + bigint(ceilMilli(before))}); err != nil {
		return fmt.Errorf("expire marks: %w", err)
	}
	return nil
}

// remove runs statements in one transaction, and then gives their room back.
// The caller holds h.write.
func (h *History) remove(ctx context.Context, statements []string) error {
	if len(statements) == 0 {
		return nil
	}
	return h.rewrite(ctx, func(c *sql.Conn) ([]*product, error) {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return nil, err
	})
}

// rewrite runs f in one transaction, and then gives the room back that it freed.
// The caller holds h.write.
func (h *History) rewrite(ctx context.Context, f func(c *sql.Conn) ([]*product, error)) error {
	if err := h.change(ctx, f); err != nil {
		return err
	}
	// Room that readers still need is given back at a later checkpoint.
	_ = h.use(ctx, func(c *sql.Conn) error {
		_, err := c.ExecContext(ctx, "CHECKPOINT")
		return err
	})
	return nil
}

// Backup writes the state of one moment to dir/history.duckdb, while appends
// go on.
func (h *History) Backup(ctx context.Context, dir string) error {
	path := filepath.Join(dir, File)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.Conflict, "back up history: %s is there already", path)
	}
	err := h.use(ctx, func(c *sql.Conn) error {
		var name string
		if err := c.QueryRowContext(ctx, "SELECT current_database()").Scan(&name); err != nil {
			return err
		}
		if _, err := c.ExecContext(ctx, "ATTACH "+quote(path)+" AS backup_copy"); err != nil {
			return err
		}
		// One statement, so one state.
		_, err := c.ExecContext(ctx, fmt.Sprintf("COPY FROM DATABASE %q TO backup_copy", name))
		_, detached := c.ExecContext(context.WithoutCancel(ctx), "DETACH backup_copy")
		return errors.Join(err, detached)
	})
	if err != nil {
		return fmt.Errorf("back up history: %w", errors.Join(err, os.RemoveAll(path)))
	}
	return nil
}

// Restore puts a backup in dir in place of the history of cfg, which must not
// be there.
func Restore(cfg Config, dir string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("restore history: %w", err)
		}
	}()
	from, err := os.Open(filepath.Join(dir, File))
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(cfg.Dir, File)
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fault.New(fault.Conflict, "%s is there already", path)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Sync(), to.Close())
}
