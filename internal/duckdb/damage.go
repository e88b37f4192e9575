package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"fettle.dev/fettle/internal/duckdb/disk"
	"fettle.dev/fettle/internal/duckdb/layout"
)

// ErrDamaged says that history on disk is not as it was written; kind Internal,
// since nothing but a restore helps.
var ErrDamaged = disk.ErrDamaged

// OpenWhole opens the history in cfg.Dir and looks whether all of it is there:
// up to stream position reached (0: not known), and every block as it was
// written. ErrDamaged names what is not.
func OpenWhole(ctx context.Context, cfg Config, logger *slog.Logger, reached uint64) (*History, error) {
	log := filepath.Join(cfg.Dir, File+".wal")
	kept := log + ".damaged"
	cut := false
	if err := disk.CheckLog(filepath.Join(cfg.Dir, File)); err != nil {
		return nil, err
	}
	h, err := begin(ctx, cfg, logger)
	if err != nil {
		if at, torn := disk.TornAt(err); torn {
			logger.Warn("history: the log's end is not right and is cut off", "file", log, "at", at, "kept", kept)
			if e := disk.CutOff(log, kept, at); e != nil {
				return nil, errors.Join(err, e)
			}
			cut = true
			h, err = begin(ctx, cfg, logger)
		}
	}
	if err != nil {
		return nil, disk.Damaged(err)
	}
	if err := h.check(ctx, reached); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	h.attend(ctx) // it drops tables that were being checked
	if cut {
		if err := os.Remove(kept); err != nil {
			logger.Warn("history: the cut log's copy stays", "error", err)
		}
	}
	return h, nil
}

// Ready reports why history cannot be relied on now, or nil.
func (h *History) Ready(ctx context.Context) error {
	if found := h.rotten.Load(); found != nil {
		return *found
	}
	return h.use(ctx, func(*sql.Conn) error { return nil })
}

// check looks whether history is whole.
func (h *History) check(ctx context.Context, reached uint64) error {
	applied, err := h.Applied(ctx)
	if err != nil {
		return err
	}
	if applied < reached {
		return fmt.Errorf("%w: it had the stream up to entry %d, it ends with entry %d", ErrDamaged, reached, applied)
	}
	size, blocks, err := h.blocks(ctx)
	if err != nil {
		return fmt.Errorf("check history: %w", disk.Damaged(err))
	}
	return disk.CheckBlocks(filepath.Join(h.cfg.Dir, File), size, blocks)
}

// blocks lists the blocks of the file that hold rows.
func (h *History) blocks(ctx context.Context) (size int64, blocks []int64, err error) {
	err = h.use(ctx, func(c *sql.Conn) error {
		if err := c.QueryRowContext(ctx, `SELECT block_size FROM pragma_database_size()`).Scan(&size); err != nil {
			return err
		}
		var tables []string
		if err := each(ctx, c, `SELECT table_name FROM duckdb_tables() WHERE NOT temporary AND NOT internal`, func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			tables = append(tables, name)
			return err
		}); err != nil {
			return err
		}
		for _, table := range tables {
			query := fmt.Sprintf(`SELECT DISTINCT unnest(list_prepend(block_id, additional_block_ids)) FROM pragma_storage_info(%s) WHERE persistent`, layout.Quote(table))
			if err := each(ctx, c, query, func(rows *sql.Rows) error {
				var block sql.NullInt64
				err := rows.Scan(&block)
				if block.Valid && block.Int64 >= 0 {
					blocks = append(blocks, block.Int64)
				}
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
	slices.Sort(blocks)
	return size, slices.Compact(blocks), err
}
