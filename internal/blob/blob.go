// Package blob keeps the bytes of artifacts by their SHA-256, in a directory
// or in an S3 bucket. What is there is whole and is what its name says.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/s3blob" // s3:// addresses
	"gocloud.dev/gcerrors"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

// Blobs is an update.Blobs. It is safe for concurrent use.
type Blobs struct {
	bucket *blob.Bucket
	dir    string // empty for a bucket
}

var _ update.Blobs = (*Blobs)(nil)

// temporary is how files under way are named in a directory.
const temporary = "fileblob"

// Open opens the store at target: a directory, which is made when it is not
// there, or a bucket as "s3://bucket?region=eu-central-1". Further parameters
// name another server than Amazon's:
// "s3://bucket?endpoint=https://host:9000&use_path_style=true&region=us-east-1",
// and "prefix=artifacts/" keeps to a part of the bucket. Credentials come from
// the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), the shared
// configuration or the machine's role.
func Open(ctx context.Context, target string) (*Blobs, error) {
	if strings.HasPrefix(target, "s3://") {
		bucket, err := blob.OpenBucket(ctx, target)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, "open artifacts", err)
		}
		return &Blobs{bucket: bucket}, nil
	}
	if target == "" || strings.Contains(target, "://") {
		return nil, fault.New(fault.Invalid, "open artifacts: %q is neither a directory nor an s3:// address", target)
	}
	// What a killed process left unfinished is of no use.
	left, err := filepath.Glob(filepath.Join(target, temporary+"*"))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "open artifacts", err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("open artifacts: %w", err)
		}
	}
	bucket, err := fileblob.OpenBucket(target, &fileblob.Options{
		CreateDir:   true,
		DirFileMode: 0o700,
		NoTempDir:   true, // renamed within one file system
		Metadata:    fileblob.MetadataDontWrite,
	})
	if err != nil {
		return nil, fmt.Errorf("open artifacts: %w", err)
	}
	return &Blobs{bucket: bucket, dir: target}, nil
}

// Close ends the use of the store.
func (b *Blobs) Close() error { return b.bucket.Close() }

// Ready reports why the store cannot be reached, or nil.
func (b *Blobs) Ready(ctx context.Context) error {
	ok, err := b.bucket.IsAccessible(ctx)
	if err == nil && !ok {
		err = errors.New("it is not there")
	}
	return fault.Wrap(fault.Unavailable, "artifacts", err)
}

// Put stores what r gives under its name, all of it or nothing. Bytes that do
// not have the name as their SHA-256 are fault.Invalid and are not stored.
// Bytes that are there already are only compared.
func (b *Blobs) Put(ctx context.Context, name string, r io.Reader) error {
	known, err := b.Exists(ctx, name)
	if err != nil {
		return err
	}
	sum := sha256.New()
	in := &source{r: io.TeeReader(r, sum)}
	check := func() error {
		if in.err != nil {
			return fmt.Errorf("put artifact: read: %w", in.err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != name {
			return fault.New(fault.Invalid, "put artifact: the bytes have SHA-256 %s, not %s", got, name)
		}
		return nil
	}
	if known {
		_, _ = io.Copy(io.Discard, in) // check gives the error
		return check()
	}

	// Canceled before Close, the writer leaves nothing behind.
	writing, abandon := context.WithCancel(ctx)
	defer abandon()
	w, err := b.bucket.NewWriter(writing, name, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return fault.Wrap(fault.Unavailable, "put artifact", err)
	}
	_, err = io.Copy(w, in)
	if wrong := check(); wrong != nil || err != nil {
		abandon()
		_ = w.Close() // fails because it is abandoned
		if in.err == nil && err != nil {
			return fault.Wrap(fault.Unavailable, "put artifact", err)
		}
		return wrong
	}
	if err := w.Close(); err != nil {
		return fault.Wrap(fault.Unavailable, "put artifact", err)
	}
	if b.dir != "" {
		for _, path := range []string{filepath.Join(b.dir, name), b.dir} {
			if err := sync(path); err != nil {
				return fault.Wrap(fault.Unavailable, "put artifact", err)
			}
		}
	}
	return nil
}

// Adopt takes the file at path, whose SHA-256 is name, without writing it
// again. That takes a directory on the same file system: where it is not one,
// nothing is taken.
func (b *Blobs) Adopt(_ context.Context, name, path string) (taken bool, err error) {
	if err := valid(name); err != nil {
		return false, err
	}
	if b.dir == "" {
		return false, nil
	}
	to := filepath.Join(b.dir, name)
	switch err := os.Link(path, to); {
	case errors.Is(err, os.ErrExist):
	case errors.Is(err, syscall.EXDEV), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.EMLINK):
		return false, nil
	case err != nil:
		return false, fault.Wrap(fault.Unavailable, "put artifact", err)
	}
	for _, path := range []string{to, b.dir} {
		if err := sync(path); err != nil {
			return false, fault.Wrap(fault.Unavailable, "put artifact", err)
		}
	}
	return true, nil
}

// source remembers the error of what is read, to tell it from that of what is
// written.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// sync makes a file or the names in a directory outlive the machine.
func sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Open gives a reader of the bytes, which reads from wherever it is sought to;
// it lives as long as ctx. An unknown name is fault.NotFound. From a directory
// it is an *os.File, so that a server can send it without reading it.
func (b *Blobs) Open(ctx context.Context, name string) (io.ReadSeekCloser, error) {
	if err := valid(name); err != nil {
		return nil, err
	}
	if b.dir != "" {
		f, err := os.Open(filepath.Join(b.dir, name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil, fault.Wrap(fault.NotFound, "open artifact "+name, err)
		case err != nil:
			return nil, fault.Wrap(fault.Unavailable, "open artifact "+name, err)
		}
		return f, nil
	}
	r, err := b.bucket.NewReader(ctx, name, nil)
	if err != nil {
		return nil, fail("open artifact "+name, err)
	}
	return r, nil
}

// Exists reports whether the bytes are there.
func (b *Blobs) Exists(ctx context.Context, name string) (bool, error) {
	if err := valid(name); err != nil {
		return false, err
	}
	ok, err := b.bucket.Exists(ctx, name)
	if err != nil {
		return false, fail("look for artifact", err)
	}
	return ok, nil
}

// Delete removes the bytes. That they are not there is no error.
func (b *Blobs) Delete(ctx context.Context, name string) error {
	if err := valid(name); err != nil {
		return err
	}
	if err := b.bucket.Delete(ctx, name); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fail("delete artifact", err)
	}
	return nil
}

// List calls fn for everything there is, by name.
func (b *Blobs) List(ctx context.Context, fn func(sha256 string, size int64) error) error {
	list := b.bucket.List(nil)
	for {
		o, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fail("list artifacts", err)
		}
		if valid(o.Key) != nil {
			continue // not ours, or under way
		}
		if err := fn(o.Key, o.Size); err != nil {
			return err
		}
	}
}

func fail(op string, err error) error {
	if gcerrors.Code(err) == gcerrors.NotFound {
		return fault.Wrap(fault.NotFound, op, err)
	}
	return fault.Wrap(fault.Unavailable, op, err)
}

func valid(name string) error {
	if b, err := hex.DecodeString(name); err != nil || len(b) != sha256.Size || strings.ToLower(name) != name {
		return fault.New(fault.Invalid, "%q is not a SHA-256 in lower-case hexadecimal digits", name)
	}
	return nil
}
