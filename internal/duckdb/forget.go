package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// EraseUnits removes every row, mark and account of the units, or, with
// signals, the values of those signals alone.
func (h *History) EraseUnits(ctx context.Context, units []int64, signals []string) error {
	if len(units) == 0 {
		return nil
	}
	h.write.Lock()
	defer h.write.Unlock()
	where := " WHERE unit IN (" + list(units) + ")"
	var statements []string
	if signals == nil {
		statements = append(statements, "DELETE FROM marks"+where, "DELETE FROM accounts"+where)
		tables, err := h.eventTables(ctx)
		if err != nil {
			return fmt.Errorf("erase from history: %w", err)
		}
		for _, t := range tables {
			statements = append(statements, "DELETE FROM "+t+where)
		}
	}
	for _, p := range h.schema.Load().products {
		if signals == nil {
			statements = append(statements, "DELETE FROM "+p.table+where)
			continue
		}
		var set []string
		for i, c := range p.columns {
			if slices.Contains(signals, c.signal) {
				set = append(set, columnName(i)+" = NULL")
			}
		}
		if len(set) > 0 {
			statements = append(statements, "UPDATE "+p.table+" SET "+strings.Join(set, ", ")+where)
		}
	}
	if err := h.remove(ctx, statements); err != nil {
		return fmt.Errorf("erase from history: %w", err)
	}
	return nil
}

// Expire drops the values of each signal from before a time, and rows of which
// nothing is left from before all those times.
func (h *History) Expire(ctx context.Context, product string, before map[string]time.Time) error {
	h.write.Lock()
	defer h.write.Unlock()
	p := h.product(product)
	if p == nil || len(before) == 0 {
		return nil
	}
	var statements []string
	all := int64(math.MaxInt64)
	for _, signal := range slices.Sorted(maps.Keys(before)) {
		end := ceilMilli(before[signal])
		all = min(all, end)
		for i, c := range p.columns {
			if c.signal == signal {
				v := columnName(i)
				statements = append(statements, fmt.Sprintf("UPDATE %s SET %s = NULL WHERE event < %s AND %s IS NOT NULL", p.table, v, bigint(end), v))
			}
		}
	}
	empty := make([]string, 0, len(p.columns)+1)
	empty = append(empty, "event < "+bigint(all))
	for i := range p.columns {
		empty = append(empty, columnName(i)+" IS NULL")
	}
	statements = append(statements, "DELETE FROM "+p.table+" WHERE "+strings.Join(empty, " AND "))
	if err := h.remove(ctx, statements); err != nil {
		return fmt.Errorf("expire history of product %s: %w", product, err)
	}
	return nil
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
	h.forget()
	err := h.transaction(ctx, func(c *sql.Conn) error {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return err
	})
	if err != nil {
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
