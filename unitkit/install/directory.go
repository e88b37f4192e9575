package install

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Directory is a component that is a directory of files, delivered as a tar
// archive, plain or compressed with gzip or zstd. Path is a symbolic link to
// the version that runs, in Path.versions; one rename gives it another target.
type Directory struct {
	FS  FS
	Max int64 // bytes of an unpacked version (default 4 GiB)
	// Path is absolute: a symbolic link, or nothing yet.
	Path string
}

const (
	maxUnpacked = 4 << 30
	maxEntries  = 100_000
)

func (p *Directory) versions() string { return p.Path + ".versions" }

// target is where the link shall point, beside it.
func (p *Directory) target(t Task) string {
	return path.Join(filepath.Base(p.versions()), t.Target.SHA256[:16])
}

// Prepare unpacks the archive.
func (p *Directory) Prepare(_ context.Context, t Task) (string, error) {
	note := nothing
	info, err := p.FS.Lstat(p.Path)
	switch {
	case missing(err):
	case err != nil:
		return "", err
	case info.Mode()&fs.ModeSymlink == 0:
		return "", fmt.Errorf("%s is no symbolic link: once, move it to %s and make %s a symbolic link to that", p.Path, filepath.Join(p.versions(), "factory"), p.Path)
	default:
		to, err := p.FS.Readlink(p.Path)
		if err != nil {
			return "", err
		}
		if to == p.target(t) {
			return "", fmt.Errorf("%s has the bytes of %s already", p.Path, t.Target.Version)
		}
		note = noted + " " + to
	}
	if err := MkdirAll(p.FS, p.versions(), 0o755); err != nil {
		return "", err
	}
	to := filepath.Join(filepath.Dir(p.Path), p.target(t))
	if err := removeAll(p.FS, to); err != nil {
		return "", err
	}
	if err := p.FS.Mkdir(to, 0o755); err != nil {
		return "", err
	}
	if err := p.unpack(t.File, to); err != nil {
		return "", fmt.Errorf("unpack %s: %w", t.Target.Filename, err)
	}
	return note, p.FS.SyncDir(p.versions())
}

// Activate gives the link its new target.
func (p *Directory) Activate(_ context.Context, t Task) error { return p.point(p.target(t)) }

func (p *Directory) point(to string) error {
	if now, err := p.FS.Readlink(p.Path); err == nil && now == to {
		return p.FS.SyncDir(filepath.Dir(p.Path))
	}
	temp := p.Path + ".fettle-new"
	if err := remove(p.FS, temp); err != nil {
		return err
	}
	if err := p.FS.Symlink(to, temp); err != nil {
		return err
	}
	if err := p.FS.Rename(temp, p.Path); err != nil {
		return err
	}
	return p.FS.SyncDir(filepath.Dir(p.Path))
}

// Active looks where the link points.
func (p *Directory) Active(_ context.Context, t Task) error {
	to, err := p.FS.Readlink(p.Path)
	if err == nil && to != p.target(t) {
		err = fmt.Errorf("%s points to %s", p.Path, to)
	}
	return err
}

// Commit does nothing: the link points where it should.
func (*Directory) Commit(context.Context, Task) error { return nil }

// Return gives the link its old target.
func (p *Directory) Return(_ context.Context, t Task) (bool, error) {
	if to, ok := strings.CutPrefix(t.Note, noted+" "); ok {
		return true, p.point(to)
	}
	if err := remove(p.FS, p.Path); err != nil {
		return false, err
	}
	return true, p.FS.SyncDir(filepath.Dir(p.Path))
}

// Clean removes every version that the link does not point to.
func (p *Directory) Clean(context.Context, Task) error {
	now, err := p.FS.Readlink(p.Path)
	if err != nil && !missing(err) {
		return err
	}
	list, err := p.FS.ReadDir(p.versions())
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range list {
		if path.Join(filepath.Base(p.versions()), e.Name()) == path.Clean(now) || filepath.Join(p.versions(), e.Name()) == now {
			continue
		}
		if err := removeAll(p.FS, filepath.Join(p.versions(), e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(remove(p.FS, p.Path+".fettle-new"), p.FS.SyncDir(p.versions()))
}

// unpack writes an archive below a directory that is empty. All is on the
// disk when it returns. Nothing is written outside: names are clean and
// relative, and no name leads through a link.
func (p *Directory) unpack(archive, to string) (err error) {
	f, err := p.FS.Open(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r, done, err := decompress(f)
	if err != nil {
		return err
	}
	defer done()
	left := p.Max
	if left == 0 {
		left = maxUnpacked
	}
	dirs := map[string]bool{".": true} // made, and no links
	in := tar.NewReader(r)
	for range maxEntries {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return p.syncAll(to, dirs)
		}
		if err != nil {
			return err
		}
		name := path.Clean(strings.TrimPrefix(h.Name, "./"))
		if name == "." && h.Typeflag == tar.TypeDir {
			continue
		}
		if !fs.ValidPath(name) || name == "." {
			return fmt.Errorf("the archive has the name %q: names must be relative and clean", h.Name)
		}
		if err := p.parents(to, path.Dir(name), dirs); err != nil {
			return err
		}
		if left -= h.Size; left < 0 || h.Size < 0 {
			return fmt.Errorf("the archive unpacks to more than the %d bytes allowed", max(p.Max, maxUnpacked))
		}
		if err := p.entry(in, h, to, name, dirs); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return fmt.Errorf("the archive has more than %d entries", maxEntries)
}

func (p *Directory) entry(in io.Reader, h *tar.Header, to, name string, dirs map[string]bool) error {
	at := filepath.Join(to, filepath.FromSlash(name))
	mode := fs.FileMode(h.Mode).Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		if dirs[name] {
			return nil
		}
		dirs[name] = true
		return p.FS.Mkdir(at, mode|0o700)
	case tar.TypeReg:
		if there, err := exists(p.FS, at); err != nil || there {
			return errors.Join(err, errors.New("the archive has this name twice"))
		}
		return writeFile(p.FS, at, mode, in)
	case tar.TypeSymlink:
		if path.IsAbs(h.Linkname) || !fs.ValidPath(path.Join(path.Dir(name), h.Linkname)) { //nolint:gosec // G305 is what is looked for here
			return fmt.Errorf("the link to %q leads out of the archive", h.Linkname)
		}
		return p.FS.Symlink(h.Linkname, at)
	default:
		return fmt.Errorf("entries of type %q are not taken: files, directories and symbolic links are", h.Typeflag)
	}
}

// parents makes the directories that an archive did not name.
func (p *Directory) parents(to, name string, dirs map[string]bool) error {
	if dirs[name] {
		return nil
	}
	if err := p.parents(to, path.Dir(name), dirs); err != nil {
		return err
	}
	dirs[name] = true
	return p.FS.Mkdir(filepath.Join(to, filepath.FromSlash(name)), 0o755) // a link of that name is in the way, and said to be
}

func (p *Directory) syncAll(to string, dirs map[string]bool) error {
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		if err := p.FS.SyncDir(filepath.Join(to, filepath.FromSlash(name))); err != nil {
			return err
		}
	}
	return nil
}

// decompress tells by the first bytes how an archive is compressed.
func decompress(r io.Reader) (io.Reader, func(), error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		return z, func() {}, err
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	default:
		return b, func() {}, nil
	}
}

// maxWindow bounds what decompressing an archive takes of memory.
const maxWindow = 8 << 20

func hashOf(r io.Reader) (int64, string, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return n, hex.EncodeToString(h.Sum(nil)), err
}
