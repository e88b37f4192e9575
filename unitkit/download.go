package unitkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
)

// Fetch writes a target's bytes from an offset on and gives how many it wrote.
// From 0 on it verifies length and hash, and says ErrArbitrarySoftware once
// the bytes are written: use nothing of them then. From any other offset only
// the length is known: Verify the whole. What was cut can go on from where it
// broke off.
func (c *Client) Fetch(ctx context.Context, t Target, w io.Writer, offset int64) (int64, error) {
	if offset < 0 || offset > t.Length {
		return 0, fmt.Errorf("fetch %s: offset %d of %d bytes", t.Filename, offset, t.Length)
	}
	if offset == t.Length {
		return 0, nil
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	res, err := c.watched(ctx, stop, "/tuf/targets/"+t.SHA256+"/"+url.PathEscape(t.Filename), rangeFrom(offset))
	if err != nil {
		return 0, fmt.Errorf("fetch %s: %w", t.Filename, err)
	}
	defer func() { _ = res.Body.Close() }()
	if offset > 0 && res.StatusCode != http.StatusPartialContent {
		if _, err := io.CopyN(io.Discard, res.Body, offset); err != nil { // a server that knows no ranges
			return 0, fmt.Errorf("fetch %s: %w", t.Filename, because(ctx, err))
		}
	}
	if res.StatusCode == http.StatusPartialContent {
		var from int64
		if _, err := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-", &from); err != nil || from != offset {
			return 0, fmt.Errorf("fetch %s: asked for bytes from %d on, got %q", t.Filename, offset, res.Header.Get("Content-Range"))
		}
	}
	var sum hash.Hash
	if offset == 0 {
		sum = sha256.New()
		w = io.MultiWriter(w, sum)
	}
	left := t.Length - offset
	n, err := io.Copy(w, io.LimitReader(res.Body, left))
	if err != nil {
		return n, fmt.Errorf("fetch %s: %w", t.Filename, because(ctx, err))
	}
	if n < left {
		return n, fmt.Errorf("fetch %s: %w after %d of %d bytes", t.Filename, io.ErrUnexpectedEOF, offset+n, t.Length)
	}
	if extra, _ := res.Body.Read(make([]byte, 1)); extra > 0 {
		return n, attack(ErrEndlessData, t.Filename, "more than the %d bytes that were signed", t.Length)
	}
	if sum != nil && hex.EncodeToString(sum.Sum(nil)) != t.SHA256 {
		return n, attack(ErrArbitrarySoftware, t.Filename, "its SHA-256 is %x, signed was %s", sum.Sum(nil), t.SHA256)
	}
	return n, nil
}

// Verify reads a target's bytes and says whether they are what was signed.
func Verify(t Target, r io.Reader) error {
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(r, t.Length+1))
	switch {
	case err != nil:
		return fmt.Errorf("verify %s: %w", t.Filename, err)
	case n > t.Length:
		return attack(ErrEndlessData, t.Filename, "more than the %d bytes that were signed", t.Length)
	case n < t.Length || hex.EncodeToString(sum.Sum(nil)) != t.SHA256:
		return attack(ErrArbitrarySoftware, t.Filename, "%d bytes with SHA-256 %x, signed were %d with %s", n, sum.Sum(nil), t.Length, t.SHA256)
	}
	return nil
}

// FetchFile fetches a target into a file: it goes on where path.part ends,
// verifies the whole, syncs it, and renames it to path. A path.part that turns
// out wrong is removed, so that the next call begins anew.
func (c *Client) FetchFile(ctx context.Context, t Target, path string) error {
	if f, err := os.Open(path); err == nil { // there already, from before a restart
		err := Verify(t, f)
		if err = errors.Join(err, f.Close()); err == nil {
			return nil
		}
	}
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", t.Filename, err)
	}
	err = c.fillFile(ctx, t, f)
	if err = errors.Join(err, f.Close()); err != nil {
		if _, ok := errors.AsType[*AttackError](err); ok && !errors.Is(err, ErrSlowRetrieval) {
			err = errors.Join(err, os.Remove(part))
		}
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("fetch %s: %w", t.Filename, err)
	}
	return syncDir(filepath.Dir(path))
}

func (c *Client) fillFile(ctx context.Context, t Target, f *os.File) error {
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if have > t.Length { // of something else
		if err := f.Truncate(0); err != nil {
			return err
		}
		if have, err = f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	if _, err := c.Fetch(ctx, t, f, have); err != nil {
		return errors.Join(err, f.Sync())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return errors.Join(Verify(t, f), f.Sync())
}
