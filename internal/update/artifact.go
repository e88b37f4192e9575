package update

import (
	"context"
	"crypto/md5"  //nolint:gosec // DDI clients ask for it; sha256 is what identifies
	"crypto/sha1" //nolint:gosec // DDI clients require it; sha256 is what identifies
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update/spec"
)

// PutArtifact takes the bytes of an image and keeps them under their hash. The
// bytes are spooled to disk, never held in memory; the same bytes are kept
// once. The record is written after the bytes, so that no record names bytes
// that are not there.
func (s *Service) PutArtifact(ctx context.Context, r io.Reader, filename string) (a Artifact, err error) {
	if err := validFilename(filename); err != nil {
		return Artifact{}, err
	}
	spool, err := os.CreateTemp(s.dir, "artifact-*")
	if err != nil {
		return Artifact{}, fault.Wrap(fault.Unavailable, "spool artifact", err)
	}
	defer func() { err = errors.Join(err, spool.Close(), os.Remove(spool.Name())) }()
	h256, h1, h5 := sha256.New(), sha1.New(), md5.New() //nolint:gosec // see imports
	size, err := io.Copy(io.MultiWriter(spool, h256, h1, h5), &uploadReader{ctx: ctx, r: r, room: s.room})
	if fault.KindOf(err) == fault.Unavailable {
		return Artifact{}, fmt.Errorf("receive artifact %s: %w", filename, err)
	}
	if err != nil {
		return Artifact{}, fault.Wrap(fault.Unavailable, "receive artifact "+filename, err)
	}
	if size == 0 {
		return Artifact{}, fault.Fields("artifact", []fault.Field{{Path: "body", Expected: "the bytes of an image", Got: "nothing"}})
	}
	a = Artifact{
		SHA256: hex.EncodeToString(h256.Sum(nil)), SHA1: hex.EncodeToString(h1.Sum(nil)), MD5: hex.EncodeToString(h5.Sum(nil)),
		Size: size, Filename: filename, At: s.clock.Now(),
	}
	if err := s.check(ctx, filename, spool.Name()); err != nil {
		return Artifact{}, err
	}
	known, err := s.blobs.Exists(ctx, a.SHA256)
	if err != nil {
		return Artifact{}, fmt.Errorf("keep artifact %s: %w", filename, err)
	}
	if !known {
		if _, err := spool.Seek(0, io.SeekStart); err != nil {
			return Artifact{}, fmt.Errorf("keep artifact %s: %w", filename, err)
		}
		if err := s.room(size); err != nil { // beside the spool
			return Artifact{}, fmt.Errorf("keep artifact %s: %w", filename, err)
		}
		if err := s.blobs.Put(ctx, a.SHA256, spool); err != nil {
			return Artifact{}, fmt.Errorf("keep artifact %s: %w", filename, err)
		}
	}
	if err := s.store.PutArtifact(ctx, a); err != nil {
		return Artifact{}, fmt.Errorf("keep artifact %s: %w", filename, err)
	}
	return a, nil
}

func validFilename(name string) error {
	if !spec.ValidFilename(name) {
		return fault.Fields("artifact", []fault.Field{{Path: "filename", Expected: spec.Filename, Got: name}})
	}
	return nil
}

// askEvery is how many bytes of an upload are taken before it is asked again
// whether there is room.
const askEvery = 8 << 20

// uploadReader reads while its request lasts and there is room.
type uploadReader struct {
	ctx  context.Context
	r    io.Reader
	room func(size int64) error
	left int // bytes until it is asked again
}

func (u *uploadReader) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	if u.left <= 0 {
		if err := u.room(askEvery); err != nil {
			return 0, err
		}
		u.left = askEvery
	}
	n, err := u.r.Read(p)
	u.left -= n
	return n, err
}

// adopter is a store of bytes that can take a file of this machine as it is.
type adopter interface {
	Adopt(ctx context.Context, sha256, path string) (taken bool, err error)
}

// Adopt makes an artifact of a file whose hashes are known. Where the store is
// a directory on the same disk, the bytes are not written again.
func (s *Service) Adopt(ctx context.Context, a Artifact, f *os.File) (Artifact, error) {
	keep := func() error {
		known, err := s.blobs.Exists(ctx, a.SHA256)
		if err != nil || known {
			return err
		}
		if b, ok := s.blobs.(adopter); ok {
			if taken, err := b.Adopt(ctx, a.SHA256, f.Name()); err != nil || taken {
				return err
			}
		}
		if err := s.room(a.Size); err != nil { // beside f
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return fault.Wrap(fault.Unavailable, "read", err)
		}
		return s.blobs.Put(ctx, a.SHA256, f)
	}
	if err := s.check(ctx, a.Filename, f.Name()); err != nil {
		return Artifact{}, err
	}
	if err := keep(); err != nil {
		return Artifact{}, fmt.Errorf("keep artifact %s: %w", a.Filename, err)
	}
	if err := s.store.PutArtifact(ctx, a); err != nil {
		return Artifact{}, fmt.Errorf("keep artifact %s: %w", a.Filename, err)
	}
	return a, nil
}

// CheckFilename refuses a name that an artifact cannot have.
func (s *Service) CheckFilename(name string) error { return validFilename(name) }

// Artifact describes the bytes of a hash.
func (s *Service) Artifact(ctx context.Context, sha256 string) (Artifact, error) {
	return s.store.Artifact(ctx, sha256)
}

// OpenArtifact opens the bytes of a hash.
func (s *Service) OpenArtifact(ctx context.Context, sha256 string) (Artifact, io.ReadSeekCloser, error) {
	a, err := s.store.Artifact(ctx, sha256)
	if err != nil {
		return Artifact{}, nil, err
	}
	r, err := s.blobs.Open(ctx, sha256)
	if err != nil {
		return Artifact{}, nil, fmt.Errorf("open artifact %s: %w", sha256, err)
	}
	return a, r, nil
}
