// Package anchor keeps the head of the audit trail in a file beside the
// records, so that whoever can write to the records alone (a database server's
// administrator, a restored table) cannot cut the trail off or write it anew
// unseen. Whoever can write to both is found out by a head that was kept on
// another machine alone.
package anchor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
)

// Name is the file's, in the data directory.
const Name = "audit-head"

// width is that of the file's one line, so that it is written in one piece.
const width = 128

// File is the head that was kept last. It never moves to a head that does not
// follow from the one before: then it stays where it is, as the proof.
type File struct {
	path  string
	store audit.Store
	log   *slog.Logger

	mu   sync.Mutex
	last audit.Head
	told bool
}

// New is the file at a path, which need not be there yet.
func New(path string, store audit.Store, log *slog.Logger) *File {
	return &File{path: path, store: store, log: log}
}

// Heads is what the file holds, none where there is no file.
func (f *File) Heads() ([]audit.Head, error) {
	raw, err := os.ReadFile(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h, err := audit.ParseHead(strings.Trim(string(raw), " \n\x00"))
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s holds no head of the audit trail: verify the trail with a head that was kept elsewhere, and remove the file", f.path)
	}
	return []audit.Head{h}, nil
}

// Keep writes the trail's new head, whose entry names the hash before it. It is
// called after the entry is durable, so a kill in between leaves an older head,
// which is in the trail, too. It fails nothing: what goes wrong is logged.
func (f *File) Keep(h audit.Head, previous string) {
	ctx := context.Background() // the transaction is over
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last.Seq+1 != h.Seq || f.last.Hash != previous {
		ok, err := f.follows(ctx, h)
		switch {
		case err != nil:
			f.log.WarnContext(ctx, "the head of the audit trail is not kept", "file", f.path, "error", err)
			return
		case !ok:
			if !f.told {
				f.log.ErrorContext(ctx, "the audit trail was cut off or written anew: run fettle audit verify", "file", f.path, "kept", f.last.String(), "trail", h.String())
			}
			f.told = true
			return
		case h.Seq <= f.last.Seq: // somebody else was faster
			return
		}
	}
	if err := f.write(h); err != nil {
		f.log.WarnContext(ctx, "the head of the audit trail is not kept", "file", f.path, "error", err)
		return
	}
	f.last = h
}

// follows reads the file, and reports whether what it holds is in the trail.
func (f *File) follows(ctx context.Context, h audit.Head) (bool, error) {
	kept, err := f.Heads()
	if err != nil {
		return false, err
	}
	if len(kept) == 0 {
		return true, nil
	}
	f.last = kept[0]
	if f.last.Seq == 0 {
		return true, nil
	}
	start, err := f.store.Start(ctx)
	if err != nil || f.last.Seq < start.Seq { // went by age
		return err == nil, err
	}
	if f.last.Seq == start.Seq {
		return f.last == start, nil
	}
	at, err := f.store.Records(ctx, audit.Filter{After: f.last.Seq - 1, Limit: 1})
	if err != nil || len(at) == 0 {
		return false, err
	}
	var e audit.Entry
	if err := json.Unmarshal(at[0].Entry, &e); err != nil {
		return false, nil //nolint:nilerr // an entry that cannot be read is not the one that was kept
	}
	return e.Seq == f.last.Seq && at[0].Hash == f.last.Hash && h.Seq >= start.Seq, nil
}

func (f *File) write(h audit.Head) error {
	out, err := os.OpenFile(f.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = out.WriteAt(fmt.Appendf(nil, "%-*s\n", width-1, h), 0)
	return errors.Join(err, out.Close())
}
