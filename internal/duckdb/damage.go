package duckdb

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"fettle.dev/fettle/internal/duckdb/layout"
)

// ErrDamaged says that history on disk is not as it was written; kind Internal,
// since nothing but a restore helps.
var ErrDamaged = errors.New("history is damaged")

// DuckDB's log (history.duckdb.wal) is a row of entries, each with its length
// and a checksum before it, 8 bytes each. It is synced at each commit. When
// DuckDB opens a log that ends in the middle of an entry it takes the
// transactions before; a log that goes on with anything else it refuses, also
// when that was never synced. So what follows the last whole entry is cut off
// here, and then the position tells whether that was more than had been
// promised to nobody.

// badEntry is how DuckDB says where its log is not right: behind the entry's
// length and checksum.
var badEntry = regexp.MustCompile(`Failure while replaying WAL file(?:.*entry at byte position (\d+) )?`)

const entryHead = 16

// badBlock is what DuckDB says of a block that does not have its checksum.
const badBlock = "Corrupt database file"

// OpenWhole opens the history in cfg.Dir and looks whether all of it is there:
// up to stream position reached (0: not known), and every block as it was
// written. ErrDamaged names what is not.
func OpenWhole(ctx context.Context, cfg Config, logger *slog.Logger, reached uint64) (*History, error) {
	log := filepath.Join(cfg.Dir, File+".wal")
	kept := log + ".damaged"
	cut := false
	h, err := Open(ctx, cfg, logger)
	if err != nil {
		if at, torn := tornAt(err); torn {
			logger.Warn("history: the log's end is not right and is cut off", "file", log, "at", at, "kept", kept)
			if e := cutOff(log, kept, at); e != nil {
				return nil, errors.Join(err, e)
			}
			cut = true
			h, err = Open(ctx, cfg, logger)
		}
	}
	if err != nil {
		return nil, damaged(err)
	}
	if err := h.check(ctx, reached); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if cut {
		if err := os.Remove(kept); err != nil {
			logger.Warn("history: the cut log's copy stays", "error", err)
		}
	}
	return h, nil
}

// damaged tells an error that a damaged file gives when it is opened or read.
func damaged(err error) error {
	for _, sign := range []string{
		badBlock, "is not a valid DuckDB database file", "Could not read enough bytes",
		"Failure while replaying WAL", "Serialization Error", "Failed to load metadata",
	} {
		if err != nil && strings.Contains(err.Error(), sign) {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return err
}

// tornAt reads from DuckDB's refusal where the first entry begins that is not right.
func tornAt(err error) (at int64, ok bool) {
	m := badEntry.FindStringSubmatch(err.Error())
	if m == nil {
		return 0, false
	}
	if n, err := strconv.ParseInt(m[1], 10, 64); err == nil && n >= entryHead {
		return n - entryHead, true
	}
	return 0, true // not even its beginning is
}

// cutOff ends a log at a byte and keeps what it was in another file.
func cutOff(log, kept string, at int64) error {
	data, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	if at >= int64(len(data)) {
		return fmt.Errorf("%s has no byte %d", log, at)
	}
	if err := os.Rename(log, kept); err != nil {
		return err
	}
	f, err := os.OpenFile(log, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data[:at])
	return errors.Join(err, f.Sync(), f.Close())
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
		return fmt.Errorf("check history: %w", damaged(err))
	}
	return checkBlocks(filepath.Join(h.cfg.Dir, File), size, blocks)
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

// blocksBegin is where the blocks of a DuckDB file begin: after three headers.
const blocksBegin = 3 * 4096

// checkBlocks reads blocks, each of which begins with a checksum of the rest
// (duckdb v1.5, src/common/checksum.cpp).
func checkBlocks(file string, size int64, blocks []int64) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("check history: %w", err)
	}
	defer func() { _ = f.Close() }()
	block := make([]byte, size)
	for _, id := range blocks {
		at := blocksBegin + id*size
		if _, err := f.ReadAt(block, at); err != nil {
			return fmt.Errorf("%w: %s: block %d, at byte %d: %w", ErrDamaged, file, id, at, err)
		}
		if checksum(block[8:]) != binary.LittleEndian.Uint64(block) {
			return fmt.Errorf("%w: %s: block %d, at byte %d, does not have its checksum", ErrDamaged, file, id, at)
		}
	}
	return nil
}

// checksum is DuckDB's, of whole words of 8 bytes.
func checksum(b []byte) uint64 {
	const factor = 0xbf58476d1ce4e5b9
	le := binary.LittleEndian
	sum := uint64(5381)
	for ; len(b) >= 32; b = b[32:] {
		w := b[:32]
		sum ^= le.Uint64(w)*factor ^ le.Uint64(w[8:])*factor ^ le.Uint64(w[16:])*factor ^ le.Uint64(w[24:])*factor
	}
	for ; len(b) >= 8; b = b[8:] {
		sum ^= le.Uint64(b) * factor
	}
	return sum
}
