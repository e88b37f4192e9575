package install

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fettle.dev/fettle/unitkit"
)

// download fetches the targets one after another, from where they stopped. It
// comes to the disk in steps: after a power cut what follows the last one is
// fetched again, so that nothing torn is kept.
func (u *Updater) download(ctx context.Context, j *Journal) (time.Duration, error) {
	if err := u.discard(j.Update.Targets); err != nil {
		return 0, fmt.Errorf("make room for the download: %w", err)
	}
	i := 0
	for i < len(j.Tasks) && j.Tasks[i].Done {
		i++
	}
	if i == len(j.Tasks) {
		return 0, u.move(Downloading, func(j *Journal) {
			j.State, j.Retried, j.Got = Downloaded, 0, nil
			if shown(j.Update, u.cfg.Now()) {
				u.post(j, *j.Update, unitkit.StateDownloaded, "downloaded and verified")
			}
		})
	}
	t := j.Update.Targets[i]
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	u.mu.Lock()
	u.stop = stop
	u.mu.Unlock()
	err := u.fetch(ctx, j, t)
	u.mu.Lock()
	u.stop = nil
	u.mu.Unlock()
	switch a, forged := errors.AsType[*unitkit.AttackError](err); {
	case err == nil:
		u.retries = 0
		return 0, u.done(j.Update.Action, i)
	case ctx.Err() != nil || errors.Is(err, errLater):
		return 0, nil // something is to be looked at first; it goes on from here
	case forged && !errors.Is(err, unitkit.ErrSlowRetrieval):
		if j.Retried+1 >= maxRetries {
			return 0, u.fail(Downloading, a)
		}
		u.log.Warn("update: what was downloaded is not what was signed, it is fetched once more", "err", err)
		return 0, u.move(Downloading, func(j *Journal) { delete(j.Got, t.SHA256); j.Retried++ })
	}
	if d, ok := errors.AsType[*diskError](err); ok {
		if u.retries++; u.retries > maxRetries {
			u.retries = 0
			return 0, u.fail(Downloading, d)
		}
		return retryAfter, err
	}
	u.retries = min(u.retries+1, 7)
	return min(time.Second<<u.retries, time.Minute), err
}

// done is the end of one target's download.
func (u *Updater) done(action int64, i int) error {
	return u.move(Downloading, func(j *Journal) {
		if j.Update.Action == action {
			j.Tasks[i].Done = true
		}
	})
}

// fetch brings one target to the disk and verifies it.
func (u *Updater) fetch(ctx context.Context, j *Journal, t unitkit.Target) error {
	got := j.Got[t.SHA256]
	if info, err := u.cfg.FS.Lstat(u.path(t)); err != nil || info.Size() < got || got > t.Length {
		got = 0
	}
	w := &checkpointed{u: u, sha256: t.SHA256, path: u.path(t), got: got}
	var err error
	if w.f, err = u.cfg.FS.Append(w.path, got); err != nil {
		return &diskError{err}
	}
	if got == 0 {
		if err := u.cfg.FS.SyncDir(u.downloads()); err != nil {
			return errors.Join(&diskError{err}, w.f.Close())
		}
		if made, err := u.fromDelta(ctx, t, w); made || err != nil {
			return errors.Join(err, w.f.Close())
		}
	}
	if got < t.Length {
		_, err = u.cfg.Source.Fetch(ctx, t, w, got)
	}
	// What has come is kept, also when more was to come.
	if err := errors.Join(err, w.sync(), w.f.Close()); err != nil {
		return err
	}
	return u.verify(t)
}

// fromDelta tries to make the target of what the unit has.
func (u *Updater) fromDelta(ctx context.Context, t unitkit.Target, w *checkpointed) (bool, error) {
	if u.cfg.Delta == nil {
		return false, nil
	}
	whole := &checkpointed{f: w.f} // without checkpoints: it is made in one go
	err := u.cfg.Delta(ctx, t, whole)
	if err == nil {
		if err = whole.sync(); err == nil {
			err = u.verify(t)
		}
	}
	if err == nil {
		return true, nil
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	u.log.Info("update: no delta, the whole is fetched", "target", t.Filename, "why", err)
	if err := w.f.Close(); err != nil {
		return false, &diskError{err}
	}
	if w.f, err = u.cfg.FS.Append(w.path, 0); err != nil {
		return false, &diskError{err}
	}
	return false, nil
}

// diskError is a failure of the unit's own disk, which fetching again does not cure.
type diskError struct{ err error }

func (e *diskError) Error() string { return "write what was downloaded: " + e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

// checkpointed writes a download, and from time to time brings it to the disk
// and keeps how far it came.
type checkpointed struct {
	u      *Updater // nil: no checkpoints
	f      Handle
	sha256 string
	path   string
	got    int64 // written
	kept   int64 // since the last checkpoint
}

func (w *checkpointed) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.got += int64(n)
	w.kept += int64(n)
	if err == nil && w.u != nil && w.kept >= w.u.cfg.Checkpoint {
		err = w.sync()
	}
	if err != nil {
		if _, ok := errors.AsType[*diskError](err); !ok {
			err = &diskError{err}
		}
	}
	return n, err
}

func (w *checkpointed) sync() error {
	if w.kept == 0 {
		return nil
	}
	if err := w.f.Sync(); err != nil {
		return &diskError{err}
	}
	w.kept = 0
	if w.u == nil {
		return nil
	}
	return w.u.move(Downloading, func(j *Journal) {
		set(&j.Got, w.sha256, w.got)
	})
}
