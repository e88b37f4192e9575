// Package duckdb keeps history in an embedded DuckDB: one wide table a product
// with a column for each signal, the marks, the accounting of each unit, and
// the stream position up to which all of it is stored, in one file.
package duckdb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	driver "github.com/duckdb/duckdb-go/v2"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// File is the name of the database in its directory, and in a backup.
const File = "history.duckdb"

// Config says where history is and what it may use.
type Config struct {
	Dir      string
	MemoryMB int // most memory DuckDB takes (default 1024)
	Threads  int // of DuckDB (default 2)
}

// History is a telemetry.History. It is safe for concurrent use; appends and
// all else that writes wait for one another, reads do not.
type History struct {
	cfg Config
	log *slog.Logger

	// engine is held for reading by all who use db, and for writing while a
	// database that can no longer be used is opened anew.
	engine sync.RWMutex
	db     *sql.DB
	broken atomic.Bool // DuckDB has invalidated the database
	closed bool        // under engine

	schema  atomic.Pointer[schema]
	applied atomic.Uint64

	// Of the one writer, which holds write, before engine.
	write  sync.Mutex
	units  map[int]map[int64]*recent // by product; nil: not loaded
	events map[int]*eventsOf         // by product
	deltas int                       // rows of accounts; below 0: not counted
	folded int                       // rows that accounts had when it was last folded
}

var _ telemetry.History = (*History)(nil)

// Open opens the history in cfg.Dir, or begins one.
func Open(ctx context.Context, cfg Config, logger *slog.Logger) (*History, error) {
	if cfg.MemoryMB == 0 {
		cfg.MemoryMB = 1024
	}
	if cfg.Threads == 0 {
		cfg.Threads = 2
	}
	if strings.ContainsAny(cfg.Dir, "?%#") {
		return nil, fault.New(fault.Invalid, "open history: the directory's name may not contain ?, %% or #: %s", cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	h := &History{cfg: cfg, log: logger}
	h.forget()
	if err := h.open(ctx); err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	return h, nil
}

// open connects and loads what is kept in memory.
func (h *History) open(ctx context.Context) error {
	options := url.Values{
		"memory_limit": {strconv.Itoa(h.cfg.MemoryMB) + "MiB"},
		"threads":      {strconv.Itoa(h.cfg.Threads)},
		// The order of insertion is the order of the stream: Replay relies on it.
		"preserve_insertion_order": {"true"},
		"checkpoint_threshold":     {"64MiB"},
		// Nothing is ever loaded from the network.
		"autoinstall_known_extensions": {"false"},
		"autoload_known_extensions":    {"false"},
	}
	connector, err := driver.NewConnector(filepath.Join(h.cfg.Dir, File)+"?"+options.Encode(), nil)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	if err := h.load(ctx, db); err != nil {
		return errors.Join(err, db.Close())
	}
	h.db = db
	h.broken.Store(false)
	return nil
}

// Close ends the use of the database. Calls under way end first.
func (h *History) Close() error {
	h.write.Lock()
	defer h.write.Unlock()
	h.engine.Lock()
	defer h.engine.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	return h.db.Close()
}

// use runs f on a connection of its own. A database that has become unusable
// is opened anew before.
func (h *History) use(ctx context.Context, f func(c *sql.Conn) error) error {
	if h.broken.Load() {
		if err := h.reopen(ctx); err != nil {
			return fault.Wrap(fault.Unavailable, "open history again", err)
		}
	}
	h.engine.RLock()
	defer h.engine.RUnlock()
	if h.closed {
		return fault.New(fault.Unavailable, "history is closed")
	}
	c, err := h.db.Conn(ctx)
	if err != nil {
		return h.classify(err)
	}
	defer func() { _ = c.Close() }()
	return h.classify(f(c))
}

// classify notes when the database has become unusable, as after a full disk.
func (h *History) classify(err error) error {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*driver.Error](err); ok {
		fatal := known.Type == driver.ErrorTypeFatal || strings.Contains(known.Msg, "has been invalidated")
		if fatal && !h.broken.Swap(true) {
			h.log.Error("history: the database must be opened again", "err", err)
		}
		// A commit that the disk refuses is an error of the transaction.
		if fatal || known.Type == driver.ErrorTypeIO || known.Type == driver.ErrorTypeOutOfMemory || known.Type == driver.ErrorTypeTransaction {
			return fault.Wrap(fault.Unavailable, "", err)
		}
	}
	return err
}

func (h *History) reopen(ctx context.Context) error {
	h.engine.Lock()
	defer h.engine.Unlock()
	if h.closed || !h.broken.Load() {
		return nil
	}
	if err := h.db.Close(); err != nil {
		h.log.Warn("history: close", "err", err)
	}
	if err := h.open(ctx); err != nil {
		// Every use fails until one succeeds in opening it.
		h.db = sql.OpenDB(nothing{err})
		return err
	}
	h.log.Info("history: the database was opened again", "position", h.applied.Load())
	return nil
}

// transaction runs f in a transaction on a connection of its own. After a
// failure the connection is thrown away, which rolls back: DuckDB's interrupt
// of a statement whose context ended can come late and reach the next one, be
// that BEGIN, COMMIT or ROLLBACK, and nobody shall inherit what it left open.
func (h *History) transaction(ctx context.Context, f func(c *sql.Conn) error) error {
	return h.use(ctx, func(c *sql.Conn) error {
		_, err := c.ExecContext(context.WithoutCancel(ctx), "BEGIN TRANSACTION")
		if err == nil {
			err = f(c)
		}
		if err == nil {
			_, err = c.ExecContext(context.WithoutCancel(ctx), "COMMIT")
		}
		if err != nil {
			discard(c)
		}
		return err
	})
}

// discard keeps a connection from being used again.
func discard(c *sql.Conn) {
	_ = c.Raw(func(any) error { return sqldriver.ErrBadConn })
}

// forget drops what the writer knows of the tables; it is loaded when needed.
func (h *History) forget() {
	h.units, h.events, h.deltas, h.folded = map[int]map[int64]*recent{}, map[int]*eventsOf{}, -1, 0
}

// Applied is the highest stream sequence stored.
func (h *History) Applied(context.Context) (uint64, error) {
	return h.applied.Load(), nil
}
