// Package duckdb keeps history in an embedded DuckDB: wide tables with a column
// for each signal, the marks, the accounting of each unit, and the stream
// position up to which all of it is stored, in one file.
//
// A product's rows stand in a chain of segments, in stream order. The last
// takes what arrives, in the order of arrival; those before are parts: sorted
// by unit and event time, so that one unit's month is a few row groups, each
// with its rollups by minute, hour and day (docs/adr/0007).
package duckdb

import (
	"cmp"
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

	"fettle.dev/fettle/internal/duckdb/disk"
	"fettle.dev/fettle/internal/duckdb/fresh"
	"fettle.dev/fettle/internal/duckdb/newest"
	"fettle.dev/fettle/internal/duckdb/recent"
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

	// SealRows is how many rows of a product are kept in the order of arrival
	// before they are sorted into a part (default 1,000,000, fewer for products
	// of more than 16 signals).
	SealRows int
	// MergeParts is how many parts in a row become one (default 16).
	MergeParts int
	// Newest is how many newest values of units' signals are kept in memory
	// (default 4,000,000, of 16 bytes; a product that needs more has none).
	Newest int
	// Fresh is how many bytes, about, of what was stored last are kept in memory
	// (default 24 MiB): questions about the last minutes read no table.
	Fresh int64
	// Manual leaves it to Compact to make parts.
	Manual bool
}

// History is a telemetry.History. It is safe for concurrent use; appends and
// all else that writes wait for one another, reads do not.
type History struct {
	cfg    Config
	log    *slog.Logger
	logged *disk.Log

	// engine is held for reading by all who use db, and for writing while a
	// database that can no longer be used is opened anew.
	engine sync.RWMutex
	db     *sql.DB
	broken atomic.Bool           // DuckDB has invalidated the database
	rotten atomic.Pointer[error] // the first damage that was read
	closed bool                  // under engine

	// swap is held for writing while a transaction that changes which tables
	// there are commits, and for reading while a reader begins.
	swap    sync.RWMutex
	schema  atomic.Pointer[schema]
	applied atomic.Uint64

	newest sync.Map // by product's id, *newest.Values; none: not loaded
	budget *newest.Budget
	fresh  *fresh.Rows // what was stored last

	// shape is held by whoever rewrites parts, before write; impatient counts
	// those who wait for it, to whom long work gives way.
	shape     sync.Mutex
	impatient atomic.Int32
	work      chan struct{} // there may be rows to sort
	quit      chan struct{} // closed by Close
	closing   sync.Once
	stopped   sync.WaitGroup

	// Of the one writer, which holds write, before engine.
	write  sync.Mutex
	units  map[int]map[int64]*recent.Unit // by product; nil: not loaded
	hot    map[int]int                    // rows in the last segment, by product
	events map[int]*eventsOf              // by product
	deltas int                            // rows of accounts; below 0: not counted
	folded int                            // rows that accounts had when it was last folded
}

var _ telemetry.History = (*History)(nil)

// Open opens the history in cfg.Dir, or begins one.
func Open(ctx context.Context, cfg Config, logger *slog.Logger) (*History, error) {
	h, err := begin(ctx, cfg, logger)
	if err == nil {
		h.attend(ctx)
	}
	return h, err
}

// begin opens the history without making parts of it.
func begin(ctx context.Context, cfg Config, logger *slog.Logger) (*History, error) {
	if strings.ContainsAny(cfg.Dir, "?%#") {
		return nil, fault.New(fault.Invalid, "open history: the directory's name may not contain ?, %% or #: %s", cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	cfg.MemoryMB, cfg.Threads = cmp.Or(cfg.MemoryMB, 1024), cmp.Or(cfg.Threads, 2)
	cfg.SealRows, cfg.MergeParts = cmp.Or(cfg.SealRows, 1_000_000), cmp.Or(cfg.MergeParts, 16)
	cfg.Newest, cfg.Fresh = cmp.Or(cfg.Newest, 4_000_000), cmp.Or(cfg.Fresh, 24<<20)
	h := &History{cfg: cfg, log: logger, work: make(chan struct{}, 1), quit: make(chan struct{}), budget: newest.NewBudget(cfg.Newest), fresh: fresh.New(cfg.Fresh)}
	h.forget()
	var err error
	if h.logged, err = disk.OpenLog(filepath.Join(cfg.Dir, File), logger); err == nil {
		err = h.open(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open history: %w", errors.Join(err, h.logged.Close()))
	}
	return h, nil
}

// attend begins to make parts. It is never called off within a statement:
// DuckDB's interrupts come late.
func (h *History) attend(ctx context.Context) {
	if !h.cfg.Manual {
		h.stopped.Go(func() { h.tend(context.WithoutCancel(ctx)) })
	}
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
	h.closing.Do(func() { close(h.quit) })
	h.stopped.Wait()
	h.write.Lock()
	defer h.write.Unlock()
	h.engine.Lock()
	defer h.engine.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	return errors.Join(h.db.Close(), h.logged.Close())
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
		if strings.Contains(known.Msg, disk.BadBlock) {
			found := disk.Damaged(err)
			if h.rotten.CompareAndSwap(nil, &found) {
				h.log.Error("history: what is on disk is not what was written", "err", err)
			}
			return found
		}
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
	h.logged.Forget()
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
	return h.commit(ctx, f, nil)
}

// commit is a transaction; swapped, if given, runs when it is committed and
// before any reader begins.
func (h *History) commit(ctx context.Context, f func(c *sql.Conn) error, swapped func()) error {
	err := h.use(ctx, func(c *sql.Conn) error {
		_, err := c.ExecContext(context.WithoutCancel(ctx), "BEGIN TRANSACTION")
		if err == nil {
			err = f(c)
		}
		if err == nil {
			if swapped != nil {
				h.swap.Lock()
				defer h.swap.Unlock()
			}
			_, err = c.ExecContext(context.WithoutCancel(ctx), "COMMIT")
		}
		if err != nil {
			discard(c)
		} else if swapped != nil {
			swapped()
		}
		return err
	})
	if err != nil {
		h.logged.Forget()
		return err
	}
	h.logged.Committed()
	return nil
}

// read runs f in a transaction that sees one state, with the schema of that
// state.
func (h *History) read(ctx context.Context, f func(c *sql.Conn, s *schema) error) error {
	return h.use(ctx, func(c *sql.Conn) error {
		s, err := h.begin(ctx, c)
		if err == nil {
			err = f(c, s)
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

// begin begins a transaction and makes it see the state of now: DuckDB's
// begins with its first look at a table.
func (h *History) begin(ctx context.Context, c *sql.Conn) (*schema, error) {
	h.swap.RLock()
	defer h.swap.RUnlock()
	if _, err := c.ExecContext(context.WithoutCancel(ctx), "BEGIN TRANSACTION; SELECT seq FROM position"); err != nil {
		return nil, err
	}
	return h.schema.Load(), nil
}

// discard keeps a connection from being used again.
func discard(c *sql.Conn) {
	_ = c.Raw(func(any) error { return sqldriver.ErrBadConn })
}

// forget drops what the writer knows of the tables; it is loaded when needed.
func (h *History) forget() {
	h.units, h.events, h.hot, h.deltas, h.folded = map[int]map[int64]*recent.Unit{}, map[int]*eventsOf{}, map[int]int{}, -1, 0
	h.forgetNewest()
	h.fresh.Forget()
}

// Applied is the highest stream sequence stored.
func (h *History) Applied(context.Context) (uint64, error) {
	return h.applied.Load(), nil
}
