package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"fettle.dev/fettle/internal/app/archive"
	"fettle.dev/fettle/internal/app/disk"
	"fettle.dev/fettle/internal/app/hold"
	"fettle.dev/fettle/internal/app/person"
	"fettle.dev/fettle/internal/blob"
	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/sqldb"
)

// backup writes one archive of every store to w, while they are in use. Records
// first, history next, the stream last: then the stream's copy holds all that
// comes after the positions the other two have, and a restored process goes on
// from them. Artifacts never change, and are there before a record names them.
func (h *house) backup(ctx context.Context, w io.Writer) (err error) {
	if !h.backing.TryLock() {
		return fault.New(fault.Conflict, "a backup is being made already")
	}
	defer h.backing.Unlock()
	defer func() {
		if errors.Is(err, syscall.ENOSPC) && fault.KindOf(err) == fault.Internal {
			err = fault.Wrap(fault.Unavailable, "the data directory has no room for the copy that a backup is made of", err)
		}
	}()
	size, err := disk.Usage(h.config.Data) // the copy is no larger
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := h.disk.Fits(size); err != nil {
		return fmt.Errorf("backup: the copy that it is made of: %w", err)
	}
	dir, err := os.MkdirTemp(h.config.Data, "backup-")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	parts := map[string]string{}
	for _, name := range []string{"records", "history", "stream"} {
		parts[name] = filepath.Join(dir, name)
		if err := os.Mkdir(parts[name], 0o700); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	if err := h.records.Backup(ctx, parts["records"]); err != nil {
		return err
	}
	if err := h.history.Backup(ctx, parts["history"]); err != nil {
		return err
	}
	m := archive.Manifest{Format: archive.Format, Program: h.version, At: h.clock.Now()}
	if m.History, err = h.history.Applied(ctx); err != nil {
		return err
	}
	if m.Stream, err = h.stream.Last(ctx); err != nil {
		return err
	}
	if err := h.stream.Backup(ctx, parts["stream"]); err != nil {
		return err
	}
	if err := copyBlobs(ctx, h.blobs, filepath.Join(dir, "artifacts")); err != nil {
		return err
	}
	out, err := h.backups().Seal(w)
	if err != nil {
		return err
	}
	return errors.Join(archive.Pack(out, dir, m), out.Close())
}

func copyBlobs(ctx context.Context, from *blob.Blobs, to string) error {
	target, err := blob.Open(ctx, to)
	if err != nil {
		return fmt.Errorf("back up artifacts: %w", err)
	}
	err = from.List(ctx, func(sha256 string, _ int64) error {
		r, err := from.Open(ctx, sha256)
		if err != nil {
			return err
		}
		return errors.Join(target.Put(ctx, sha256, r), r.Close())
	})
	if err := errors.Join(err, target.Close()); err != nil {
		return fmt.Errorf("back up artifacts: %w", err)
	}
	return nil
}

// Restore makes the stores that c names from an archive. They must be empty.
func Restore(ctx context.Context, c Config, in io.Reader, keys archive.Keyring, log *slog.Logger) (err error) {
	if in, err = keys.Open(in); err != nil {
		return err
	}
	entries, err := os.ReadDir(c.Data)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("restore: %w", err)
	}
	if len(entries) > 0 {
		return fault.New(fault.Conflict, "restore: %s is not empty; name a new data directory with --data", c.Data)
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	release, err := hold.Lock(c.path("lock"))
	if err != nil {
		return err
	}
	defer release()
	defer func() {
		if err != nil { // a half-restored directory must not be taken for a whole one
			err = errors.Join(err, empty(c.Data))
		}
	}()
	dir := c.path("restore")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	m, err := archive.Unpack(ctx, in, dir)
	if err != nil {
		return err
	}
	if err := sqldb.Restore(ctx, c.recordsDSN(), filepath.Join(dir, "records")); err != nil {
		return err
	}
	if err := duckdb.Restore(c.historyConfig(), filepath.Join(dir, "history")); err != nil {
		return err
	}
	if err := bus.Restore(ctx, c.streamConfig(), filepath.Join(dir, "stream"), log); err != nil {
		return err
	}
	from, err := blob.Open(ctx, filepath.Join(dir, "artifacts"))
	if err != nil {
		return err
	}
	to, err := blob.Open(ctx, c.artifactsURL())
	if err != nil {
		return errors.Join(err, from.Close())
	}
	err = from.List(ctx, func(sha256 string, _ int64) error {
		r, err := from.Open(ctx, sha256)
		if err != nil {
			return err
		}
		return errors.Join(to.Put(ctx, sha256, r), r.Close())
	})
	if err := errors.Join(err, from.Close(), to.Close(), os.RemoveAll(dir)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := restored(ctx, c, keys, log); err != nil {
		return err
	}
	log.Info("restored", "made", m.At, "by", m.Program, "stream", m.Stream)
	return nil
}

// empty removes what stands in a directory, not the directory: it may be a
// mounted volume.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}

// Reset ends every operator's sessions and writes a new first-operator link.
func Reset(ctx context.Context, c Config, log *slog.Logger) (path string, err error) {
	if info, err := os.Stat(c.Data); err != nil || !info.IsDir() {
		return "", fault.New(fault.NotFound, "there is no data directory %s: name the service's with --data", c.Data)
	}
	db, err := sqldb.Open(ctx, c.recordsDSN())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	key, err := c.key(person.KeyFile)
	if err != nil {
		return "", err
	}
	people := person.Access(db, clock.Random{}, log, key, "", access.Config{})
	var secret string
	err = commanded(ctx, c, db, log, "admin reset", func(ctx context.Context) (err error) {
		secret, err = people.Reset(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	path = c.path(firstLink)
	return path, hold.Secret(path, c.publicURL()+"/console/sign-in#"+secret)
}
