package privacy

import (
	"context"
	"fmt"
	"io"
	"time"

	"fettle.dev/fettle/internal/app/archive"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/privacy"
)

// Backups seals backups and keeps their keys, which stand in the data directory
// and never in a backup.
type Backups struct {
	Path  string // of the file of keys
	Store privacy.Store
	Trail *audit.Trail
	Busy  interface { // held while a backup is made
		Lock()
		Unlock()
	}
}

// Seal encrypts a backup with a key of its own. The caller holds Busy.
func (b Backups) Seal(w io.Writer) (io.WriteCloser, error) {
	keys, err := archive.LoadKeyring(b.Path)
	if err != nil {
		return nil, err
	}
	key, err := keys.New(clock.Real{}.Now())
	if err != nil {
		return nil, err
	}
	if err := keys.Save(b.Path); err != nil {
		return nil, err
	}
	return archive.Seal(w, key)
}

// Keys is the keyring as operators keep it: with who was erased.
func (b Backups) Keys(ctx context.Context) (archive.Keyring, error) {
	if err := b.Destroy(ctx); err != nil {
		return archive.Keyring{}, err
	}
	b.Busy.Lock()
	defer b.Busy.Unlock()
	keys, err := archive.LoadKeyring(b.Path)
	if err != nil {
		return keys, err
	}
	keys.Erased, err = b.erased(ctx, nil)
	return keys, err
}

// erased are the hashes of those who were erased; each is told of every one.
func (b Backups) erased(ctx context.Context, each func(j privacy.Job)) (out []string, err error) {
	out = []string{}
	for after := ""; ; {
		jobs, err := b.Store.Jobs(ctx, after, 1000)
		if err != nil || len(jobs) == 0 {
			return out, err
		}
		for i := range jobs {
			out, after = append(out, jobs[i].Whose), jobs[i].ID
			if each != nil {
				each(jobs[i])
			}
		}
	}
}

// Destroy destroys the keys of backups that hold somebody who was erased as
// long ago as backups may live after that.
func (b Backups) Destroy(ctx context.Context) error {
	now, before := clock.Real{}.Now(), time.Time{}
	if _, err := b.erased(ctx, func(j privacy.Job) {
		if !j.EndedAt.IsZero() && !now.Before(j.BackupsAt) && j.EndedAt.After(before) {
			before = j.EndedAt
		}
	}); err != nil || before.IsZero() {
		return err
	}
	b.Busy.Lock()
	defer b.Busy.Unlock()
	keys, err := archive.LoadKeyring(b.Path)
	if err != nil {
		return err
	}
	n := keys.Destroy(before)
	if n == 0 {
		return nil
	}
	if err := keys.Save(b.Path); err != nil {
		return err
	}
	return b.Trail.Append(ctx, audit.Entry{
		Kind: audit.Change, Actor: audit.Actor{Party: audit.Server, ID: "erasure"}, Operation: "destroyBackupKeys", Object: "backups", Outcome: audit.Done,
		Changed: []string{fmt.Sprintf("%d backups from before %s", n, before.Format(time.RFC3339))},
	})
}
