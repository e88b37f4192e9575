// Package upload receives images of any size in pieces, so that what was sent
// is not sent again after a line, a client or this process was cut. It holds
// nothing in memory but a buffer; what has arrived is hashed as it arrives, and
// the state of the hashes is kept beside the bytes, so that neither the end of
// an upload nor a restart reads them again.
package upload

import (
	"context"
	"crypto/md5"  //nolint:gosec // DDI clients ask for it; sha256 is what identifies
	"crypto/sha1" //nolint:gosec // DDI clients require it; sha256 is what identifies
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

// Bounds.
const (
	MostSize  = 64 << 30           // bytes of one image
	MostOpen  = 32                 // uploads that are not finished
	Life      = 7 * 24 * time.Hour // of an upload that nothing arrives for
	keepEvery = 32 << 20           // bytes after which what has arrived is made to outlive the machine
	buffer    = 256 << 10
)

// ErrOffset is a piece that does not begin where the last one ended.
var ErrOffset = errors.New("the piece does not begin where the upload stands")

// ErrRoom is an upload that there is no room for.
var ErrRoom = errors.New("there is no room for it")

// Upload is where one stands.
type Upload struct {
	ID        string    `json:"id"`
	Filename  string    `json:"filename"`
	Length    int64     `json:"length"`
	Announced string    `json:"announced,omitempty"` // SHA-256 that the client said it has
	Offset    int64     `json:"offset"`              // bytes that have arrived and outlive a restart
	SHA256    string    `json:"sha256,omitempty"`    // once it is whole: the artifact
	At        time.Time `json:"at"`                  // of the last piece
	Hashes    [3][]byte `json:"hashes,omitempty"`    // their states at Offset
}

// Expires is when it is forgotten if nothing arrives.
func (u *Upload) Expires() time.Time { return u.At.Add(Life) }

// Whole reports whether it is an artifact.
func (u *Upload) Whole() bool { return u.SHA256 != "" }

// Artifacts takes what is whole; *update.Service is one.
type Artifacts interface {
	Artifact(ctx context.Context, sha256 string) (update.Artifact, error)
	Adopt(ctx context.Context, a update.Artifact, f *os.File) (update.Artifact, error)
	CheckFilename(name string) error
}

// Config is what a Service works with.
type Config struct {
	Artifacts Artifacts
	Clock     clock.Clock
	IDs       clock.IDs
	Log       *slog.Logger
	Dir       string
	Room      func(size int64) error // whether so many bytes more may be kept; nil: always
}

// Service receives uploads. It is safe for concurrent use.
type Service struct {
	cfg Config

	mu   sync.Mutex
	busy map[string]*piece // uploads that a piece is arriving for
}

// piece is what is arriving for an upload.
type piece struct {
	cut  context.CancelFunc
	done chan struct{}
}

const (
	prefix     = "upload-"
	bytesFile  = ".bytes"
	recordFile = ".json"
)

// New makes a service over a directory.
func New(c Config) (*Service, error) {
	if c.Room == nil {
		c.Room = func(int64) error { return nil }
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("uploads: %w", err)
	}
	return &Service{cfg: c, busy: map[string]*piece{}}, nil
}

func notThere(id string) error {
	return fault.New(fault.NotFound, "no upload %q: it is unknown, or nothing arrived for %d days and it was removed; begin anew", clip(id), int(Life.Hours()/24))
}

func clip(id string) string { return id[:min(len(id), 64)] }

// path is that of an upload's file; an id is checked, because it comes from a client.
func (s *Service) path(id, kind string) (string, error) {
	if id == "" || len(id) > 64 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "", notThere(id)
	}
	return filepath.Join(s.cfg.Dir, prefix+id+kind), nil
}

// Create begins an upload of so many bytes. Bytes that are known by their
// SHA-256, if the client tells it, are not sent again: the upload is whole.
func (s *Service) Create(ctx context.Context, filename string, length int64, sum string) (Upload, error) {
	if err := s.cfg.Artifacts.CheckFilename(filename); err != nil {
		return Upload{}, err
	}
	if length < 1 || length > MostSize {
		return Upload{}, fault.Fields("upload", []fault.Field{{Path: "length", Expected: fmt.Sprintf("1 to %d bytes", int64(MostSize)), Got: fmt.Sprint(length)}})
	}
	u := Upload{ID: s.cfg.IDs.ID(), Filename: filename, Length: length, Announced: sum, At: s.cfg.Clock.Now()}
	if sum != "" {
		switch a, err := s.cfg.Artifacts.Artifact(ctx, sum); {
		case err == nil && a.Size == length:
			u.Offset, u.SHA256 = length, a.SHA256
		case err != nil && fault.KindOf(err) != fault.NotFound:
			return Upload{}, err
		}
	}
	if !u.Whole() {
		open, err := s.list()
		if err != nil {
			return Upload{}, err
		}
		n, waiting := 0, int64(0)
		for i := range open {
			if !open[i].Whole() {
				n++
				waiting += open[i].Length - open[i].Offset
			}
		}
		if n >= MostOpen {
			return Upload{}, fault.New(fault.Conflict, "%d uploads are not finished: finish them, or cancel one (fettle artifact uploads)", n)
		}
		if err := s.room(length + waiting); err != nil {
			return Upload{}, err
		}
	}
	path, err := s.path(u.ID, bytesFile)
	if err != nil {
		return Upload{}, err
	}
	if !u.Whole() {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return Upload{}, failed("begin upload", err)
		}
	}
	return u, s.keep(&u)
}

// room refuses what there is no room for, before a byte of it is sent.
func (s *Service) room(size int64) error {
	if err := s.cfg.Room(size); err != nil {
		return fault.Wrap(fault.Unavailable, "upload", fmt.Errorf("%w: %w", ErrRoom, err))
	}
	return nil
}

// failed classifies what the disk says.
func failed(op string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.Wrap(fault.Unavailable, op, fmt.Errorf("%w: the disk is full", ErrRoom))
	}
	return fault.Wrap(fault.Unavailable, op, err)
}

// keep writes the record of an upload, all of it or nothing.
func (s *Service) keep(u *Upload) error {
	raw, err := json.Marshal(u)
	if err != nil {
		return err
	}
	path, err := s.path(u.ID, recordFile)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return failed("keep upload", err)
	}
	_, err = f.Write(raw)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return failed("keep upload", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return failed("keep upload", err)
	}
	return nil
}

// Upload is where an upload stands. One that a piece is arriving for is cut
// first: who asks is its client, whose old line has not been noticed to be dead.
func (s *Service) Upload(ctx context.Context, id string) (Upload, error) {
	release, err := s.take(ctx, id, func() {})
	if err != nil {
		return Upload{}, err
	}
	defer release()
	return s.read(id)
}

func (s *Service) read(id string) (Upload, error) {
	path, err := s.path(id, recordFile)
	if err != nil {
		return Upload{}, err
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Upload{}, notThere(id)
	}
	if err != nil {
		return Upload{}, failed("read upload", err)
	}
	var u Upload
	if err := json.Unmarshal(raw, &u); err != nil {
		return Upload{}, fmt.Errorf("record of upload %s: %w", id, err)
	}
	return u, nil
}

// take makes the caller the only one who works on an upload; whoever does is
// cut.
func (s *Service) take(ctx context.Context, id string, cut context.CancelFunc) (release func(), err error) {
	mine := &piece{cut: cut, done: make(chan struct{})}
	for {
		s.mu.Lock()
		other, ok := s.busy[id]
		if !ok {
			s.busy[id] = mine
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.busy, id)
				s.mu.Unlock()
				close(mine.done)
			}, nil
		}
		s.mu.Unlock()
		other.cut()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Append adds what r gives at offset, which must be where the upload stands,
// else ErrOffset. What arrived before r failed stays. The last byte makes it an
// artifact.
func (s *Service) Append(ctx context.Context, id string, offset int64, r io.Reader) (Upload, error) {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	if c, ok := r.(interface{ Cut() }); ok { // a reader that blocks is woken
		defer context.AfterFunc(ctx, c.Cut)()
	}
	release, err := s.take(ctx, id, cut)
	if err != nil {
		return Upload{}, err
	}
	defer release()
	u, err := s.read(id)
	if err != nil {
		return u, err
	}
	if offset != u.Offset {
		return u, fault.Wrap(fault.Conflict, "upload", fmt.Errorf("%w: at %d, and the piece begins at %d", ErrOffset, u.Offset, offset))
	}
	if u.Whole() {
		return u, nil
	}
	path, err := s.path(id, bytesFile)
	if err != nil {
		return u, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return u, failed("upload", err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(u.Offset); err != nil { // what came after the last record was kept is not known
		return u, failed("upload", err)
	}
	if _, err := f.Seek(u.Offset, io.SeekStart); err != nil {
		return u, failed("upload", err)
	}
	h, err := resume(u.Hashes)
	if err != nil {
		return u, fmt.Errorf("upload %s: %w", id, err)
	}
	err = s.receive(ctx, &u, f, h, r)
	if err == nil && u.Offset == u.Length {
		err = s.finish(ctx, &u, f, h)
	}
	return u, err
}

// hashes are sha256, sha1 and md5 of what has arrived; those of the standard
// library can be kept and taken up again.
type hashes [3]hash.Hash

func resume(states [3][]byte) (hashes, error) {
	h := hashes{sha256.New(), sha1.New(), md5.New()} //nolint:gosec // see imports
	for i := range h {
		if states[i] == nil {
			continue
		}
		if err := h[i].(encoding.BinaryUnmarshaler).UnmarshalBinary(states[i]); err != nil {
			return h, err
		}
	}
	return h, nil
}

// receive takes bytes until r ends, and sees that they outlive the machine.
func (s *Service) receive(ctx context.Context, u *Upload, f *os.File, h hashes, r io.Reader) error {
	offset := u.Offset
	persist := func() error {
		if offset == u.Offset {
			return nil
		}
		if err := f.Sync(); err != nil {
			return failed("upload", err)
		}
		next := *u
		next.Offset, next.At = offset, s.cfg.Clock.Now()
		for i := range h {
			state, err := h[i].(encoding.BinaryMarshaler).MarshalBinary()
			if err != nil {
				return err
			}
			next.Hashes[i] = state
		}
		if err := s.keep(&next); err != nil {
			return err
		}
		*u = next
		return nil
	}
	buf := make([]byte, buffer)
	for {
		if err := ctx.Err(); err != nil {
			return errors.Join(persist(), err)
		}
		if offset-u.Offset >= keepEvery {
			if err := persist(); err != nil {
				return err
			}
			if err := s.room(min(keepEvery, u.Length-offset)); err != nil {
				return err
			}
		}
		n, err := r.Read(buf[:min(int64(len(buf)), u.Length-offset+1)])
		if offset+int64(n) > u.Length {
			return errors.Join(persist(), fault.Fields("upload", []fault.Field{{Path: "body", Expected: fmt.Sprintf("no more than the %d bytes that were announced", u.Length), Got: "more"}}))
		}
		if n > 0 {
			if _, err := f.Write(buf[:n]); err != nil {
				return errors.Join(persist(), failed("upload", err))
			}
			for i := range h {
				_, _ = h[i].Write(buf[:n]) // never fails
			}
			offset += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return persist()
		}
		if err != nil {
			return errors.Join(persist(), fault.Wrap(fault.Unavailable, "receive upload", err))
		}
	}
}

// finish makes an artifact of what is whole. If that fails, asking for the
// last, empty piece tries again.
func (s *Service) finish(ctx context.Context, u *Upload, f *os.File, h hashes) error {
	if sum := hex.EncodeToString(h[0].Sum(nil)); u.Announced != "" && u.Announced != sum {
		_ = s.remove(u.ID) // a leftover expires
		return fault.Fields("upload", []fault.Field{{Path: "body", Expected: "the bytes whose SHA-256 was announced, " + u.Announced, Got: sum + "; they were removed, send them anew"}})
	}
	a, err := s.cfg.Artifacts.Adopt(ctx, update.Artifact{
		SHA256: hex.EncodeToString(h[0].Sum(nil)), SHA1: hex.EncodeToString(h[1].Sum(nil)), MD5: hex.EncodeToString(h[2].Sum(nil)),
		Size: u.Length, Filename: u.Filename, At: s.cfg.Clock.Now(),
	}, f)
	if err != nil {
		return fmt.Errorf("upload %s: %w", u.ID, err)
	}
	u.SHA256, u.Hashes = a.SHA256, [3][]byte{}
	if err := s.keep(u); err != nil {
		return err
	}
	if path, err := s.path(u.ID, bytesFile); err == nil {
		_ = os.Remove(path) // the store has them; a leftover expires
	}
	return nil
}

// Cancel forgets an upload and what has arrived of it.
func (s *Service) Cancel(ctx context.Context, id string) error {
	release, err := s.take(ctx, id, func() {})
	if err != nil {
		return err
	}
	defer release()
	if _, err := s.read(id); err != nil {
		return err
	}
	return s.remove(id)
}

func (s *Service) remove(id string) error {
	for _, kind := range []string{bytesFile, recordFile} {
		path, err := s.path(id, kind)
		if err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return failed("remove upload", err)
		}
	}
	return nil
}

// List is every upload, the newest first.
func (s *Service) List(context.Context) ([]Upload, error) {
	out, err := s.list()
	slices.SortFunc(out, func(a, b Upload) int { return b.At.Compare(a.At) })
	return out, err
}

func (s *Service) list() ([]Upload, error) {
	names, err := filepath.Glob(filepath.Join(s.cfg.Dir, prefix+"*"+recordFile))
	if err != nil {
		return nil, err
	}
	out := make([]Upload, 0, len(names))
	for _, name := range names {
		id := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), prefix), recordFile)
		u, err := s.read(id)
		if fault.KindOf(err) == fault.NotFound {
			continue // went meanwhile
		}
		if err != nil {
			s.cfg.Log.Warn("an upload cannot be read", "id", id, "error", err)
			continue
		}
		out = append(out, u)
	}
	return out, nil
}

// Expire removes uploads that nothing arrived for, and bytes that no record is of.
func (s *Service) Expire(ctx context.Context) error {
	list, err := s.list()
	if err != nil {
		return err
	}
	for i := range list {
		if u := &list[i]; s.cfg.Clock.Now().After(u.Expires()) {
			if err := s.Cancel(ctx, u.ID); err != nil && fault.KindOf(err) != fault.NotFound {
				return err
			}
			s.cfg.Log.InfoContext(ctx, "an upload that nothing arrived for was removed", "id", u.ID, "filename", u.Filename, "arrived", u.Offset, "of", u.Length)
		}
	}
	return nil
}
