package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"fettle.dev/fettle/internal/app/disk"
	"fettle.dev/fettle/internal/app/reached"
	"fettle.dev/fettle/internal/blob"
	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/sqldb"
)

// engines are the stores, each opened once.
type engines struct {
	disk    *disk.Watch
	records *sqldb.DB
	stream  *bus.Bus
	history *duckdb.History
	blobs   *blob.Blobs
	reached *reached.File
}

func (c *Config) recordsDSN() string {
	if c.Records != "" {
		return c.Records
	}
	return "sqlite:" + c.path("records.db")
}

// recordsFile is the file of SQLite.
func (c *Config) recordsFile() string { return strings.TrimPrefix(c.recordsDSN(), "sqlite:") }

func (c *Config) streamConfig() bus.Config {
	return bus.Config{Dir: c.path("stream"), URL: c.Bus, MaxAge: c.StreamAge, MaxBytes: int64(c.StreamBytes)}
}

func (c *Config) historyConfig() duckdb.Config {
	return duckdb.Config{Dir: c.path("history"), MemoryMB: int(c.HistoryMemory >> 20), Threads: c.HistoryThread}
}

func (c *Config) artifactsURL() string {
	if c.Artifacts != "" {
		return c.Artifacts
	}
	return c.path("artifacts")
}

// openEngines opens every store in the data directory or at its address.
func openEngines(ctx context.Context, c *Config, log *slog.Logger) (_ *engines, err error) {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	e := &engines{}
	defer func() {
		if err != nil {
			err = errors.Join(c.damage(err), e.Close())
		}
	}()
	if e.reached, err = reached.Open(c.path("reached"), log); err != nil {
		return nil, err
	}
	at := e.reached.At()
	if e.records, err = sqldb.Open(ctx, c.recordsDSN()); err != nil {
		return nil, err
	}
	if err := e.records.Check(ctx, uint32(at.Records)); err != nil {
		return nil, err
	}
	e.records.Committed(e.reached.Records)
	if e.history, err = duckdb.OpenWhole(ctx, c.historyConfig(), log, at.History); err != nil {
		return nil, err
	}
	if e.blobs, err = blob.Open(ctx, c.artifactsURL()); err != nil {
		return nil, err
	}
	stream := c.streamConfig()
	stream.Reached, stream.Acknowledged = at.Stream, e.reached.Stream
	if e.disk, err = disk.New(c.Data, int64(c.DiskQuota), int64(c.DiskMinFree), log); err != nil {
		return nil, err
	}
	stream.Room, stream.MinFree = e.disk.Room, int64(c.DiskMinFree)
	if e.stream, err = bus.Open(ctx, stream, log); err != nil {
		return nil, err
	}
	if err := e.consumed(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// Close closes what was opened, the stream first.
func (e *engines) Close() error {
	var errs []error
	if e.stream != nil {
		errs = append(errs, e.stream.Close())
	}
	if e.history != nil {
		errs = append(errs, e.history.Close())
	}
	if e.blobs != nil {
		errs = append(errs, e.blobs.Close())
	}
	if e.records != nil {
		errs = append(errs, e.records.Close())
	}
	if e.reached != nil {
		errs = append(errs, e.reached.Close())
	}
	return errors.Join(errs...)
}
