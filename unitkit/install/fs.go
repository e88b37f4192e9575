package install

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is the part of a file system that an update is written through. OS is the
// real one; package powercut has one whose power can be cut at every step.
//
// What was written is on the disk only after Handle.Sync, and a name that was
// created, linked, renamed or removed only after SyncDir of its directory:
// until then a power cut may lose it, or a part of it (fsync(2)). Rename
// within one directory is atomic: afterwards the new name is the old file or
// the new one (rename(2)).
type FS interface {
	// Open opens a file for reading.
	Open(name string) (Handle, error)
	// Create makes an empty file for writing, in place of one that is there.
	Create(name string, perm fs.FileMode) (Handle, error)
	// Append opens a file for writing after its first size bytes; what
	// followed is cut off. It is made when there is none and size is 0.
	Append(name string, size int64) (Handle, error)
	// Rename gives a file another name in the same directory, in place of
	// what had that name. Two names of one file stay as they are.
	Rename(from, to string) error
	// Link gives a file a second name in the same directory.
	Link(from, to string) error
	Symlink(target, name string) error
	Readlink(name string) (string, error)
	Remove(name string) error
	Mkdir(name string, perm fs.FileMode) error
	Lstat(name string) (fs.FileInfo, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	SyncDir(name string) error
}

// Handle is an open file.
type Handle interface {
	io.Reader
	io.Writer
	io.Closer
	Sync() error
}

// OS is the machine's own file system.
type OS struct{}

// Open implements FS.
func (OS) Open(name string) (Handle, error) { return os.Open(name) }

// Create implements FS.
func (OS) Create(name string, perm fs.FileMode) (Handle, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, perm)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(perm); err != nil { // whatever the umask, and whatever was there
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Append implements FS.
func (OS) Append(name string, size int64) (Handle, error) {
	flags := os.O_WRONLY
	if size == 0 {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return nil, err
	}
	err = f.Truncate(size)
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Link implements FS.
func (OS) Link(from, to string) error { return os.Link(from, to) }

// Symlink implements FS.
func (OS) Symlink(target, name string) error { return os.Symlink(target, name) }

// Readlink implements FS.
func (OS) Readlink(name string) (string, error) { return os.Readlink(name) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// Mkdir implements FS.
func (OS) Mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }

// Lstat implements FS.
func (OS) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// ReadDir implements FS.
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// SyncDir implements FS.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// missing reports whether err says that there is no such file.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// exists reports whether there is something of that name, a symbolic link
// to nothing included.
func exists(f FS, name string) (bool, error) {
	_, err := f.Lstat(name)
	if missing(err) {
		return false, nil
	}
	return err == nil, err
}

// remove removes a file, a link or an empty directory that may not be there.
func remove(f FS, name string) error {
	if err := f.Remove(name); err != nil && !missing(err) {
		return err
	}
	return nil
}

// removeAll removes a tree that may not be there. It follows no link.
func removeAll(f FS, name string) error {
	info, err := f.Lstat(name)
	switch {
	case missing(err):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		list, err := f.ReadDir(name)
		if err != nil {
			return err
		}
		for _, e := range list {
			if err := removeAll(f, filepath.Join(name, e.Name())); err != nil {
				return err
			}
		}
	}
	return remove(f, name)
}

// MkdirAll makes a directory and those above it, each on the disk.
func MkdirAll(f FS, name string, perm fs.FileMode) error {
	info, err := f.Lstat(name)
	switch {
	case err == nil && (info.IsDir() || info.Mode()&fs.ModeSymlink != 0):
		return nil
	case err == nil:
		return fmt.Errorf("%s is no directory", name)
	case !missing(err):
		return err
	}
	above := filepath.Dir(name)
	if above != name {
		if err := MkdirAll(f, above, perm); err != nil {
			return err
		}
	}
	if err := f.Mkdir(name, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.SyncDir(above)
}

// writeFile writes a file that is on the disk when it returns, under a name
// that may not be.
func writeFile(f FS, name string, perm fs.FileMode, r io.Reader) (err error) {
	w, err := f.Create(name, perm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Sync()
}

// replaceFile puts content under a name, at once or not at all.
func replaceFile(f FS, name string, perm fs.FileMode, r io.Reader) error {
	temp := name + ".tmp"
	if err := writeFile(f, temp, perm, r); err != nil {
		return err
	}
	if err := f.Rename(temp, name); err != nil {
		return err
	}
	return f.SyncDir(filepath.Dir(name))
}
