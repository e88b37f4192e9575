// Package archive packs the copies of all stores into one file, and unpacks
// them: a compressed tar with its manifest first.
package archive

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"fettle.dev/fettle/internal/fault"
)

// Format is the version of the layout below; a program restores those
// it knows.
const Format = 1

// Manifest is the first file of an archive.
type Manifest struct {
	Format  int       `json:"format"`
	Program string    `json:"program"`
	At      time.Time `json:"at"`
	History uint64    `json:"history"` // stream position that history has
	Stream  uint64    `json:"stream"`  // newest stream entry
}

// Pack writes dir as a compressed tar, manifest.json first.
func Pack(w io.Writer, dir string, m Manifest) (err error) {
	z, err := zstd.NewWriter(w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	t := tar.NewWriter(z)
	defer func() { err = errors.Join(err, t.Close()) }()

	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: "manifest.json", Mode: 0o600, Size: int64(len(raw)), ModTime: m.At, Format: tar.FormatPAX}); err != nil {
		return err
	}
	if _, err := t.Write(raw); err != nil {
		return err
	}
	return t.AddFS(os.DirFS(dir))
}

// Unpack writes an archive's files into dir and gives its manifest. Names that
// would leave dir are refused.
func Unpack(ctx context.Context, r io.Reader, dir string) (Manifest, error) {
	var m Manifest
	z, err := zstd.NewReader(r)
	if err != nil {
		return m, fault.Wrap(fault.Invalid, "not a backup of fettle", err)
	}
	defer z.Close()
	damaged := func(err error) error {
		return fault.Wrap(fault.Invalid, "the backup is damaged or not complete", err)
	}
	t := tar.NewReader(z)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return m, err
	}
	defer root.Close()
	for first := true; ; first = false {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			if first {
				return m, fault.New(fault.Invalid, "not a backup of fettle: it is empty")
			}
			if _, err := io.Copy(io.Discard, z); err != nil { // to the checksum, which stands behind the last file
				return m, damaged(err)
			}
			return m, nil
		}
		if err != nil {
			return m, damaged(err)
		}
		if first {
			if h.Name != "manifest.json" || json.NewDecoder(io.LimitReader(t, 1<<16)).Decode(&m) != nil {
				return m, fault.New(fault.Invalid, "not a backup of fettle: it has no manifest")
			}
			if m.Format != Format {
				return m, fault.New(fault.Invalid, "the backup has format %d, this program knows %d: use the program that made it (%s)", m.Format, Format, m.Program)
			}
			continue
		}
		name := strings.TrimSuffix(h.Name, "/")
		switch h.Typeflag {
		case tar.TypeDir:
			if err := root.MkdirAll(name, 0o700); err != nil {
				return m, fmt.Errorf("restore %s: %w", name, err)
			}
		case tar.TypeReg:
			from := &source{r: t}
			if err := extract(root, name, from); err != nil {
				err = fmt.Errorf("restore %s: %w", name, err)
				if from.err != nil {
					return m, damaged(err)
				}
				return m, err
			}
		default:
			return m, fault.New(fault.Invalid, "the backup holds %s, which is neither a file nor a directory", h.Name)
		}
	}
}

// source remembers that reading failed, to tell a damaged archive from a full disk.
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

func extract(root *os.Root, name string, r io.Reader) (err error) {
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	return f.Sync()
}
