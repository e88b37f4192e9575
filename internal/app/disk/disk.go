// Package disk watches the room that the data directory has.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// Shares at which an operator is warned: of the quota that is used, of the disk
// that is free.
const warnUsed, warnFree = 0.8, 0.1

const every = time.Second

// Watch watches the room that the data directory has. While there is none,
// nothing is taken from units; it is when there is room again.
type Watch struct {
	dir            string
	quota, minFree int64 // bytes; quota 0: none
	log            *slog.Logger
	seen           atomic.Pointer[state]
}

type state struct {
	used, free, size int64
	warning          string
	full             error // telemetry.ErrFull with the reason
}

// New looks at the room that dir has. The quota is what it may hold, 0 without
// bound, minFree what must stay free; both in bytes.
func New(dir string, quota, minFree int64, log *slog.Logger) (*Watch, error) {
	d := &Watch{dir: dir, quota: quota, minFree: minFree, log: log}
	d.seen.Store(&state{})
	return d, d.look(true)
}

// Room refuses while there is no room.
func (d *Watch) Room() error { return d.seen.Load().full }

// Fits refuses what an operator puts there, of so many bytes, where units would
// have to wait for it: uploads, and what a backup is made of.
func (d *Watch) Fits(size int64) error {
	if err := d.Room(); err != nil {
		return fault.Wrap(fault.Unavailable, "no room", err)
	}
	if d.quota == 0 {
		return nil // the disk says so itself
	}
	used, err := Usage(d.dir)
	if err == nil && used+size > d.quota {
		err = fault.New(fault.Unavailable, "no room for %d MiB more: %s holds %d MiB of the %d MiB it may (disk-quota)", size>>20, d.dir, used>>20, d.quota>>20)
	}
	return err
}

// Ready is Room as a check.
func (d *Watch) Ready(context.Context) error { return d.Room() }

// Warning is what an operator should know before there is no room; mostly "".
func (d *Watch) Warning() string { return d.seen.Load().warning }

// Bytes is what dir takes on the disk, and what the disk has free.
func (d *Watch) Bytes() (used, free int64) {
	s := d.seen.Load()
	return s.used, s.free
}

// Run looks until ctx ends. Without a quota, what is used is for people only.
func (d *Watch) Run(ctx context.Context) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := d.look(d.quota > 0 || n%30 == 0); err != nil {
			d.log.Warn("disk: cannot tell how much room there is", "error", err)
		}
	}
}

// look takes note of the room there is, and says so when it has changed.
func (d *Watch) look(count bool) error {
	before := d.seen.Load()
	now := state{used: before.used}
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &st); err != nil {
		return fmt.Errorf("ask for free space: %w", err)
	}
	now.free, now.size = int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize
	if count {
		var err error
		if now.used, err = Usage(d.dir); err != nil {
			return err
		}
	}
	switch {
	case now.free < d.minFree:
		now.full = fmt.Errorf("%w: the disk has %d MiB free, %d MiB must stay (disk-min-free)", telemetry.ErrFull, now.free>>20, d.minFree>>20)
	case d.quota > 0 && now.used >= d.quota:
		now.full = fmt.Errorf("%w: %s holds %d MiB of the %d MiB it may (disk-quota)", telemetry.ErrFull, d.dir, now.used>>20, d.quota>>20)
	case now.free < 2*d.minFree || float64(now.free) < warnFree*float64(now.size):
		now.warning = fmt.Sprintf("the disk has %d MiB free of %d; below %d MiB nothing is taken from units", now.free>>20, now.size>>20, d.minFree>>20)
	case d.quota > 0 && float64(now.used) >= warnUsed*float64(d.quota):
		now.warning = fmt.Sprintf("%d MiB of the quota of %d MiB are used; above it nothing is taken from units", now.used>>20, d.quota>>20)
	}
	d.seen.Store(&now)
	switch {
	case now.full != nil && before.full == nil:
		d.log.Error("disk: units wait until there is room", "error", now.full)
	case now.full == nil && before.full != nil:
		d.log.Info("disk: there is room again", "free", now.free, "used", now.used)
	case now.warning != "" && before.warning == "" && before.full == nil:
		d.log.Warn("disk: room gets short", "warning", now.warning)
	}
	return nil
}

// Usage is what the files below dir take on the disk. Files that go while it
// looks are not counted.
func Usage(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("count what is used: %w", err)
	}
	return total, nil
}
