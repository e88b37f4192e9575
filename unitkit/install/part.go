package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"fettle.dev/fettle/unitkit"
)

// Part is a component of the unit that can be given another version: a [File],
// a [Directory], a pair of [Slots], or what a product needs.
//
// Power may be cut at any moment. Every method is then called again, from the
// beginning, and must come to the same end. Prepare, and what it did, must not
// be seen by what runs. When a method returns nil its work is on the disk.
type Part interface {
	// Prepare makes the new version ready beside the one that runs, which
	// it is when Prepare begins. The note is kept and handed to the others.
	Prepare(ctx context.Context, t Task) (note string, err error)
	// Activate makes the new version the one that runs after a restart. It
	// is one atomic change: before it the old version starts, after it the
	// new one.
	Activate(ctx context.Context, t Task) error
	// Active is nil when the new version is the one that started, else says
	// why it is not.
	Active(ctx context.Context, t Task) error
	// Commit keeps the new version. It can still be returned after that, until Clean.
	Commit(ctx context.Context, t Task) error
	// Return makes the old version the one that runs after a restart,
	// whatever came before. It says whether that restart is needed.
	Return(ctx context.Context, t Task) (restart bool, err error)
	// Clean removes what is no longer needed, after the end.
	Clean(ctx context.Context, t Task) error
}

// Task is one target of an update for its part.
type Task struct {
	Action  int64  // the assignment's id
	Release string // name
	Target  unitkit.Target
	File    string            // the verified bytes
	Note    string            // what Prepare returned; empty for Prepare
	Say     func(line string) // words for the report to the server, bounded
}

// File is a component that is one file. The new file takes the old one's name
// by a rename; the old one is kept under another name until the end. All is in
// the directory of Path, which needs room for both.
type File struct {
	FS   FS
	Path string      // absolute
	Mode fs.FileMode // of the new file (default 0644)
}

const (
	noted   = "old"  // there was a file before
	nothing = "none" // there was none
)

func (p *File) fresh() string { return p.Path + ".fettle-new" }
func (p *File) old() string   { return p.Path + ".fettle-old" }

func (p *File) sync() error { return p.FS.SyncDir(filepath.Dir(p.Path)) }

// Prepare copies the new file beside the old one, and gives the old one a
// second name.
func (p *File) Prepare(_ context.Context, t Task) (string, error) {
	info, err := p.FS.Lstat(p.Path)
	if err != nil && !missing(err) {
		return "", err
	}
	there := err == nil
	if there && !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file: name the file itself in the configuration", p.Path)
	}
	if err := remove(p.FS, p.old()); err != nil {
		return "", err
	}
	mode := p.Mode
	if mode == 0 {
		mode = 0o644
	}
	if err := copyFile(p.FS, t.File, p.fresh(), mode); err != nil {
		return "", err
	}
	note := nothing
	if there {
		note = noted
		if err := p.keep(info.Mode().Perm()); err != nil {
			return "", err
		}
	}
	return note, p.sync()
}

// keep gives the old file a second name; where the file system has no links,
// a copy.
func (p *File) keep(mode fs.FileMode) error {
	if p.FS.Link(p.Path, p.old()) == nil {
		return nil
	}
	return copyFile(p.FS, p.Path, p.old(), mode)
}

func copyFile(f FS, from, to string, mode fs.FileMode) error {
	r, err := f.Open(from)
	if err != nil {
		return err
	}
	return errors.Join(writeFile(f, to, mode, r), r.Close())
}

// Activate renames the new file to the old one's name.
func (p *File) Activate(context.Context, Task) error {
	there, err := exists(p.FS, p.fresh())
	if err != nil {
		return err
	}
	if there {
		if err := p.FS.Rename(p.fresh(), p.Path); err != nil {
			return err
		}
	}
	return p.sync()
}

// Active compares the file with what it should be.
func (p *File) Active(_ context.Context, t Task) error {
	r, err := p.FS.Open(p.Path)
	if err != nil {
		return err
	}
	return errors.Join(sameHash(t.Target, r), r.Close())
}

// Commit does nothing: the new file has its name.
func (*File) Commit(context.Context, Task) error { return nil }

// Return gives the old file its name again.
func (p *File) Return(_ context.Context, t Task) (bool, error) {
	switch t.Note {
	case nothing:
		if err := remove(p.FS, p.Path); err != nil {
			return false, err
		}
	case noted:
		there, err := exists(p.FS, p.old())
		if err != nil {
			return false, err
		}
		if !there { // returned before
			break
		}
		if err := p.FS.Rename(p.old(), p.Path); err != nil {
			return false, err
		}
		// Two names of one file stay two: it had not been activated.
		if err := remove(p.FS, p.old()); err != nil {
			return false, err
		}
	}
	return true, p.sync()
}

// Clean removes the file that is not used.
func (p *File) Clean(context.Context, Task) error {
	if err := errors.Join(remove(p.FS, p.fresh()), remove(p.FS, p.old())); err != nil {
		return err
	}
	if err := p.sync(); !missing(err) { // without its directory nothing was made
		return err
	}
	return nil
}

// sameHash verifies length and SHA-256.
func sameHash(t unitkit.Target, r io.Reader) error {
	length, sum, err := hashOf(r)
	switch {
	case err != nil:
		return err
	case length != t.Length:
		return fmt.Errorf("%s: %d bytes, signed are %d", t.Filename, length, t.Length)
	case sum != t.SHA256:
		return fmt.Errorf("%s: its SHA-256 is %s, signed is %s", t.Filename, sum, t.SHA256)
	}
	return nil
}
