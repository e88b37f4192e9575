// Package powercut is a disk in memory whose power can be cut at every step,
// to try an update on: package install's, and the installer programs of
// products.
//
// It keeps less than a usual file system does, and all that POSIX allows it to
// lose. What was written since a file's last Sync is lost, kept or kept in
// part, sector by sector and in any order; what was made, renamed or removed
// in a directory since its last SyncDir is lost, kept, or kept in part.
// Journalling file systems keep more, each in its own way; a program that
// survives here leans on none of them. See Pillai et al., All File Systems Are
// Not Created Equal, OSDI 2014.
//
// Not modelled: sectors that go bad, a disk that says it has synced and has
// not, and renames that are not atomic.
package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"fettle.dev/fettle/unitkit/install"
)

// Sector is what a disk writes whole, or not at all.
const Sector = 512

// Cut is what a step panics with when it is the one at which the power is
// cut: whoever runs the machine recovers it and calls Restart.
type Cut struct { //nolint:errname // a cut is what it is; only panics carry it
	Step int
	What string
}

func (c Cut) Error() string { return fmt.Sprintf("the power was cut at step %d, %s", c.Step, c.What) }

// Disk is a file system. It serves one goroutine. Names begin with a slash.
type Disk struct {
	// CutAt is the step at which the power is cut; 0: never.
	CutAt int
	// FailAt is the step that fails once with FailWith; 0: never.
	FailAt   int
	FailWith error

	steps int
	rng   *rand.Rand
	root  *node
	epoch int // grows with each restart: what was open before is dead
}

// New makes an empty disk whose losses are drawn from rng.
func New(rng *rand.Rand) *Disk { return &Disk{rng: rng, root: newDir()} }

// Steps is how many steps were taken since the disk was made.
func (d *Disk) Steps() int { return d.steps }

// node is a file, a directory or a symbolic link.
type node struct {
	mode   fs.FileMode
	target string // of a link

	data   []byte  // of a file, as the machine sees it
	synced []byte  // as it is on the disk for certain
	writes []write // since then

	names  map[string]*node // of a directory, as the machine sees it
	stable map[string]*node // for certain
	moves  []move           // since then
}

// write is bytes at an offset; nil data is a cut at that size.
type write struct {
	offset int
	data   []byte
}

// move is an atomic change of a directory: what names become; nil: gone.
type move map[string]*node

func newDir() *node {
	return &node{mode: fs.ModeDir | 0o755, names: map[string]*node{}, stable: map[string]*node{}}
}

// Step is a moment at which the power can be cut, for what happens on a
// machine beside its disk.
func (d *Disk) Step(what string) {
	d.steps++
	if d.steps == d.CutAt {
		panic(Cut{d.steps, what})
	}
}

// step is a moment at which the power can be cut, or the disk can fail.
func (d *Disk) step(op, name string) error {
	d.Step(op + " " + name)
	if d.steps == d.FailAt {
		return &fs.PathError{Op: op, Path: name, Err: d.FailWith}
	}
	return nil
}

// Restart gives the disk the power back: what was not synced is lost, or kept
// in part.
func (d *Disk) Restart() {
	d.epoch++
	d.settle(d.root, map[*node]bool{})
}

func (d *Disk) settle(n *node, seen map[*node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	if n.names == nil {
		d.settleData(n)
		return
	}
	keep := d.fate(len(n.moves))
	for i, m := range n.moves {
		if keep(i) {
			apply(n.stable, m)
		}
	}
	n.moves, n.names = nil, maps.Clone(n.stable)
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		d.settle(n.names[name], seen)
	}
}

// fate says which of n things, in their order, reach the disk: none, all, the
// first ones, or any.
func (d *Disk) fate(n int) func(int) bool {
	switch d.rng.IntN(5) {
	case 0:
		return func(int) bool { return false }
	case 1:
		return func(int) bool { return true }
	case 2, 3:
		first := d.rng.IntN(n + 1)
		return func(i int) bool { return i < first }
	default:
		return func(int) bool { return d.rng.IntN(2) == 0 }
	}
}

func apply(names map[string]*node, m move) {
	for name, to := range m {
		if to == nil {
			delete(names, name)
		} else {
			names[name] = to
		}
	}
}

func (d *Disk) settleData(n *node) {
	keep := d.fate(len(n.writes))
	for i, w := range n.writes {
		switch {
		case !keep(i):
		case w.data == nil:
			n.synced = resize(n.synced, w.offset)
		default:
			n.synced = d.tear(n.synced, w)
		}
	}
	n.writes, n.data = nil, bytes.Clone(n.synced)
}

// tear writes some sectors of w; the others keep what they held, or hold what
// was on the disk before there was this file.
func (d *Disk) tear(data []byte, w write) []byte {
	had := len(data)
	data = resize(data, max(had, w.offset+len(w.data)))
	keep := d.fate(len(w.data)/Sector + 1)
	for from := 0; from < len(w.data); {
		to := min(len(w.data), from+Sector-(w.offset+from)%Sector)
		switch at := w.offset + from; {
		case keep(from / Sector):
			copy(data[at:], w.data[from:to])
		case at >= had && d.rng.IntN(2) == 0: // what stood there before
			for i := at; i < w.offset+to; i++ {
				data[i] = byte(d.rng.Uint32())
			}
		}
		from = to
	}
	return data
}

func resize(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n:n]
	}
	return append(bytes.Clone(b), make([]byte, n-len(b))...)
}

// find follows links in all but the last element of a name.
func (d *Disk) find(op, name string, follow bool) (dir *node, base string, n *node, err error) {
	fail := func(e error) (*node, string, *node, error) {
		return nil, "", nil, &fs.PathError{Op: op, Path: name, Err: e}
	}
	if !path.IsAbs(name) {
		return fail(fs.ErrInvalid)
	}
	at, hops := path.Clean(name), 0
again:
	if hops++; hops > 40 {
		return fail(syscall.ELOOP)
	}
	if at == "/" {
		return nil, "/", d.root, nil
	}
	parts := strings.Split(at[1:], "/")
	here := d.root
	for i, part := range parts {
		next := here.names[part]
		last := i == len(parts)-1
		if next != nil && next.mode&fs.ModeSymlink != 0 && (!last || follow) {
			to := next.target
			if !path.IsAbs(to) {
				to = path.Join("/"+path.Join(parts[:i]...), to)
			}
			at = path.Join(to, path.Join(parts[i+1:]...))
			goto again
		}
		switch {
		case last:
			return here, part, next, nil
		case next == nil:
			return fail(fs.ErrNotExist)
		case next.names == nil:
			return fail(syscall.ENOTDIR)
		}
		here = next
	}
	return fail(fs.ErrNotExist)
}

func (d *Disk) existing(op, name string, follow bool) (*node, error) {
	_, _, n, err := d.find(op, name, follow)
	if err == nil && n == nil {
		err = &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, err
}

func (n *node) change(m move) {
	apply(n.names, m)
	n.moves = append(n.moves, m)
}

// Open implements install.FS.
func (d *Disk) Open(name string) (install.Handle, error) {
	n, err := d.existing("open", name, true)
	if err != nil {
		return nil, err
	}
	return &file{d: d, n: n, name: name, epoch: d.epoch, r: bytes.NewReader(n.data)}, nil
}

// Create implements install.FS.
func (d *Disk) Create(name string, perm fs.FileMode) (install.Handle, error) {
	if err := d.step("create", name); err != nil {
		return nil, err
	}
	dir, base, n, err := d.find("create", name, true)
	switch {
	case err != nil:
		return nil, err
	case n != nil && n.names != nil:
		return nil, &fs.PathError{Op: "create", Path: name, Err: syscall.EISDIR}
	case n == nil:
		n = &node{mode: perm.Perm()}
		dir.change(move{base: n})
	default:
		n.mode = perm.Perm()
		n.cut(0)
	}
	return &file{d: d, n: n, name: name, epoch: d.epoch}, nil
}

// Append implements install.FS.
func (d *Disk) Append(name string, size int64) (install.Handle, error) {
	_, _, n, err := d.find("open", name, true)
	if err != nil {
		return nil, err
	}
	if n == nil && size == 0 {
		return d.Create(name, 0o600)
	}
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if err := d.step("truncate", name); err != nil {
		return nil, err
	}
	n.cut(int(size))
	return &file{d: d, n: n, name: name, epoch: d.epoch}, nil
}

func (n *node) cut(size int) {
	n.data = resize(n.data, size)
	n.writes = append(n.writes, write{offset: size})
}

// Rename implements install.FS. Between directories it is refused: no order
// of two SyncDirs makes that safe.
func (d *Disk) Rename(from, to string) error {
	if err := d.step("rename", to); err != nil {
		return err
	}
	dir, base, n, err := d.find("rename", from, false)
	if err != nil {
		return err
	}
	dirTo, baseTo, old, err := d.find("rename", to, false)
	switch {
	case err != nil:
		return err
	case n == nil:
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	case dir != dirTo:
		return &fs.PathError{Op: "rename", Path: to, Err: syscall.EXDEV}
	case old != nil && old.names != nil && (n.names == nil || len(old.names) > 0):
		return &fs.PathError{Op: "rename", Path: to, Err: syscall.ENOTEMPTY}
	case old != n:
		dir.change(move{base: nil, baseTo: n})
	}
	return nil
}

// Link implements install.FS.
func (d *Disk) Link(from, to string) error {
	if err := d.step("link", to); err != nil {
		return err
	}
	n, err := d.existing("link", from, false)
	if err != nil {
		return err
	}
	return d.add("link", to, n)
}

// Symlink implements install.FS.
func (d *Disk) Symlink(target, name string) error {
	if err := d.step("symlink", name); err != nil {
		return err
	}
	return d.add("symlink", name, &node{mode: fs.ModeSymlink | 0o777, target: target})
}

// Mkdir implements install.FS.
func (d *Disk) Mkdir(name string, perm fs.FileMode) error {
	if err := d.step("mkdir", name); err != nil {
		return err
	}
	n := newDir()
	n.mode = fs.ModeDir | perm.Perm()
	return d.add("mkdir", name, n)
}

func (d *Disk) add(op, name string, n *node) error {
	dir, base, old, err := d.find(op, name, false)
	if err != nil {
		return err
	}
	if old != nil {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrExist}
	}
	dir.change(move{base: n})
	return nil
}

// Readlink implements install.FS.
func (d *Disk) Readlink(name string) (string, error) {
	n, err := d.existing("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.target, nil
}

// Remove implements install.FS.
func (d *Disk) Remove(name string) error {
	if err := d.step("remove", name); err != nil {
		return err
	}
	dir, base, n, err := d.find("remove", name, false)
	switch {
	case err != nil:
		return err
	case n == nil:
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	case len(n.names) > 0:
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
	}
	dir.change(move{base: nil})
	return nil
}

// Lstat implements install.FS.
func (d *Disk) Lstat(name string) (fs.FileInfo, error) {
	_, base, n, err := d.find("lstat", name, false)
	if err == nil && n == nil {
		err = &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, err
	}
	return info{base, n}, nil
}

// ReadDir implements install.FS.
func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := d.existing("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if n.names == nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: syscall.ENOTDIR}
	}
	var list []fs.DirEntry
	for _, base := range slices.Sorted(maps.Keys(n.names)) {
		list = append(list, fs.FileInfoToDirEntry(info{base, n.names[base]}))
	}
	return list, nil
}

// SyncDir implements install.FS.
func (d *Disk) SyncDir(name string) error {
	if err := d.step("sync directory", name); err != nil {
		return err
	}
	n, err := d.existing("sync directory", name, true)
	if err != nil {
		return err
	}
	n.stable, n.moves = maps.Clone(n.names), nil
	return nil
}

// ReadFile gives what the machine sees in a file.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	n, err := d.existing("read", name, true)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(n.data), nil
}

// WriteFile puts a file on the disk, synced, in directories that are made:
// what a machine has when it leaves its factory. It is no step.
func (d *Disk) WriteFile(name string, perm fs.FileMode, data []byte) error {
	here := d.root
	parts := strings.Split(path.Clean(name)[1:], "/")
	for _, part := range parts[:len(parts)-1] {
		next := here.names[part]
		if next == nil {
			next = newDir()
			here.names[part], here.stable[part] = next, next
		}
		if next.names == nil {
			return &fs.PathError{Op: "write", Path: name, Err: syscall.ENOTDIR}
		}
		here = next
	}
	n := &node{mode: perm.Perm(), data: bytes.Clone(data), synced: bytes.Clone(data)}
	base := parts[len(parts)-1]
	here.names[base], here.stable[base] = n, n
	return nil
}

// file is an open file. Reads see it as it was when it was opened.
type file struct {
	d     *Disk
	n     *node
	name  string
	epoch int
	r     *bytes.Reader
}

func (f *file) dead() error {
	if f.epoch != f.d.epoch {
		return &fs.PathError{Op: "use", Path: f.name, Err: errors.New("opened before the power was cut")}
	}
	return nil
}

func (f *file) Read(p []byte) (int, error) {
	if err := f.dead(); err != nil {
		return 0, err
	}
	if f.r == nil {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: syscall.EBADF}
	}
	return f.r.Read(p)
}

// Write appends. A write at which the power is cut has begun.
func (f *file) Write(p []byte) (int, error) {
	if err := f.dead(); err != nil {
		return 0, err
	}
	if f.r != nil {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.EBADF}
	}
	f.n.writes = append(f.n.writes, write{offset: len(f.n.data), data: bytes.Clone(p)})
	f.n.data = append(slices.Clip(f.n.data), p...)
	if err := f.d.step("write", f.name); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Sync begins before the power may be cut in it, and is done after.
func (f *file) Sync() error {
	if err := f.dead(); err != nil {
		return err
	}
	if err := f.d.step("sync", f.name); err != nil {
		return err
	}
	f.n.synced, f.n.writes = bytes.Clone(f.n.data), nil
	return nil
}

func (f *file) Close() error { return nil }

type info struct {
	name string
	n    *node
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return int64(len(i.n.data)) }
func (i info) Mode() fs.FileMode  { return i.n.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.n.names != nil }
func (i info) Sys() any           { return nil }

var (
	_ install.FS  = (*Disk)(nil)
	_ io.Reader   = (*file)(nil)
	_ fs.FileInfo = info{}
)
