package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/duckdb/disk"
	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/duckdb/scan"
	"fettle.dev/fettle/internal/fault"
)

// deleteRows deletes rows of a table that is no part, and writes it anew if there
// were any, so that they do not stay in its blocks.
func deleteRows(ctx context.Context, c *sql.Conn, table, where string) error {
	done, err := c.ExecContext(ctx, "DELETE FROM "+table+where) //nolint:gosec // a table of our own, numbers
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = c.ExecContext(ctx, layout.Rewrite(table))
	return err
}

// EraseUnits removes every row, mark and account of the units, or, with
// signals, the values of those signals alone. Of a part, only the row groups of
// the units are read.
func (h *History) EraseUnits(ctx context.Context, units []int64, signals []string) error {
	if len(units) == 0 {
		return nil
	}
	defer h.reshape()()
	q := layout.Pick{Units: units, First: math.MinInt64, Last: math.MaxInt64}
	where := layout.Where(q.OfUnits())
	events, err := h.eventTables(ctx)
	if err != nil {
		return fmt.Errorf("erase from history: %w", err)
	}
	err = h.rewrite(ctx, func(c *sql.Conn) ([]*layout.Product, error) {
		if signals == nil {
			for _, t := range append([]string{"marks", "accounts"}, events...) {
				if err := deleteRows(ctx, c, t, where); err != nil {
					return nil, err
				}
			}
		}
		var changed []*layout.Product
		for _, p := range h.schema.Load().products {
			p = p.Clone()
			for _, s := range slices.Clone(p.Segments) {
				statements := s.Erase(p, where, signals)
				if len(statements) == 0 {
					continue
				}
				for _, t := range s.Tables() {
					statements = append(statements, layout.Rewrite(t))
				}
				if err := purge(ctx, c, p, s, where, statements); err != nil {
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
	h.eraseNewest(units, signals)
	for _, known := range h.units {
		for _, unit := range units {
			if signals == nil {
				delete(known, unit)
			} else if r := known[unit]; r != nil {
				r.Unlearn()
			}
		}
	}
	return nil
}

// purge runs statements on a segment that has rows which where picks.
func purge(ctx context.Context, c *sql.Conn, p *layout.Product, s *layout.Segment, where string, statements []string) error {
	var rows int
	if err := c.QueryRowContext(ctx, "SELECT count(*) FROM "+s.Table+where).Scan(&rows); err != nil || rows == 0 {
		return err
	}
	if _, err := c.ExecContext(ctx, strings.Join(statements, ";\n")); err != nil {
		return err
	}
	return remeasure(ctx, c, p, s)
}

// Scrub overwrites what erased rows have left in the file.
func (h *History) Scrub(ctx context.Context) error {
	defer h.reshape()()
	return h.use(ctx, func(c *sql.Conn) error { return disk.Scrub(ctx, c) })
}

// remeasure brings the record of a part up to its rows, and drops one that has
// none.
func remeasure(ctx context.Context, c *sql.Conn, p *layout.Product, s *layout.Segment) error {
	if !s.Sorted {
		return nil
	}
	at := slices.IndexFunc(p.Segments, func(o *layout.Segment) bool { return o.ID == s.ID })
	left := s.Clone()
	if err := scan.Measure(ctx, c, left); err != nil {
		return err
	}
	statements := left.Replace(p)
	if left.Rows == 0 {
		statements = left.Remove(p) + ";" + left.Drop()
		p.Segments = slices.Delete(p.Segments, at, at+1)
	} else {
		p.Segments[at] = left
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
	h.fresh.Drop()
	return func() {
		h.write.Unlock()
		h.shape.Unlock()
	}
}

// ExpireMarks drops marks from before a time.
func (h *History) ExpireMarks(ctx context.Context, before time.Time) error {
	defer h.lockWrite()()
	if err := h.remove(ctx, []string{"DELETE FROM marks WHERE received < " + layout.Bigint(layout.CeilMilli(before))}); err != nil {
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
	return h.rewrite(ctx, func(c *sql.Conn) ([]*layout.Product, error) {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return nil, err
	})
}

// rewrite runs f in one transaction, and then gives the room back that it freed.
// The caller holds h.write.
func (h *History) rewrite(ctx context.Context, f func(c *sql.Conn) ([]*layout.Product, error)) error {
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
		if _, err := c.ExecContext(ctx, "ATTACH "+layout.Quote(path)+" AS backup_copy"); err != nil {
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
func Restore(cfg Config, dir string) error {
	if err := disk.Restore(filepath.Join(dir, File), cfg.Dir, File); err != nil {
		return fmt.Errorf("restore history: %w", err)
	}
	return nil
}
