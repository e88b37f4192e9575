package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"fettle.dev/fettle/internal/api/wire"
)

// Uploads go in pieces (tus 1.0.0): what has arrived is not sent again, also by
// another run of the program.
const (
	uploadPiece = 64 << 20 // bytes of one request
	uploadTries = 8        // in a row that bring nothing
	uploadPause = 250 * time.Millisecond
	longestWait = 15 * time.Second
)

// Upload uploads a file unless the service has its bytes, and gives their hash.
// An upload of the same bytes that was cut goes on where it was.
func (c *Client) Upload(ctx context.Context, path string) (sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return "", err
	}
	sum = hex.EncodeToString(h.Sum(nil))
	var known wire.Artifact
	err = c.Call(ctx, http.MethodGet, "/v1/artifacts/"+sum, nil, &known)
	if err == nil || !refusedAs(err, http.StatusNotFound) {
		return sum, err
	}
	at, offset, err := c.beginUpload(ctx, filepath.Base(path), sum, size)
	if err != nil {
		return "", err
	}
	told := func(int64) {}
	if c.Progress != nil {
		told = c.Progress(filepath.Base(path), size)
	}
	told(offset)
	for failures := 0; offset < size; {
		next, err := c.sendPiece(ctx, at, f, offset, min(uploadPiece, size-offset), told)
		if err != nil {
			if p, ok := errors.AsType[*ProblemError](err); ok && p.Status != http.StatusConflict && p.Status < 500 || refusedAs(err, http.StatusInsufficientStorage) {
				return "", err
			}
			if failures++; failures > uploadTries {
				return "", fmt.Errorf("%d of %d bytes have arrived; the same command goes on there: %w", offset, size, err)
			}
			if err := pause(ctx, min(longestWait, uploadPause<<(failures-1))); err != nil {
				return "", err
			}
			if now, err := c.uploaded(ctx, at); err == nil {
				next = now
			}
		}
		if next > offset {
			failures = 0
		}
		offset = max(next, 0)
		told(offset)
	}
	if err := c.Call(ctx, http.MethodGet, "/v1/artifacts/"+sum, nil, &known); err != nil {
		return "", fmt.Errorf("the service has all bytes and yet not the artifact: %w", err)
	}
	return sum, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func refusedAs(err error, status int) bool {
	p, ok := errors.AsType[*ProblemError](err)
	return ok && p.Status == status
}

// beginUpload gives the path of an upload and how much of it has arrived: of
// one that was cut, or of a new one.
func (c *Client) beginUpload(ctx context.Context, name, sum string, size int64) (at string, offset int64, err error) {
	list, err := All[wire.Upload](ctx, c, "/v1/uploads", nil)
	if err != nil {
		return "", 0, err
	}
	for _, u := range list {
		if u.Announced == sum && u.Length == size && u.SHA256 == "" {
			at = "/v1/uploads/" + u.ID
			if offset, err = c.uploaded(ctx, at); err == nil {
				return at, offset, nil
			}
		}
	}
	meta := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	res, err := c.tus(ctx, http.MethodPost, "/v1/uploads", nil, 0, map[string]string{
		"Upload-Length": strconv.FormatInt(size, 10), "Upload-Metadata": "filename " + meta(name) + ",sha256 " + meta(sum),
	})
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = res.Body.Close() }()
	offset, err = offsetOf(res)
	return res.Header.Get("Location"), offset, err
}

func (c *Client) tus(ctx context.Context, method, path string, body io.Reader, length int64, header map[string]string) (*http.Response, error) {
	server, token, err := c.Target()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, server+path, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = length
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("User-Agent", c.Agent)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	return c.Answer(req)
}

func offsetOf(res *http.Response) (int64, error) {
	n, err := strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the answer is not from a Fettle service: no Upload-Offset")
	}
	return n, nil
}

func (c *Client) uploaded(ctx context.Context, at string) (int64, error) {
	res, err := c.tus(ctx, http.MethodHead, at, nil, 0, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	return offsetOf(res)
}

func (c *Client) sendPiece(ctx context.Context, at string, f *os.File, offset, n int64, told func(int64)) (int64, error) {
	body := &sending{r: io.NewSectionReader(f, offset, n), at: offset, told: told}
	res, err := c.tus(ctx, http.MethodPatch, at, io.NopCloser(body), n, map[string]string{
		"Content-Type": "application/offset+octet-stream", "Upload-Offset": strconv.FormatInt(offset, 10),
	})
	if err != nil {
		return offset, err
	}
	defer func() { _ = res.Body.Close() }()
	return offsetOf(res)
}

// sending tells how far it has been read.
type sending struct {
	r    io.Reader
	at   int64
	told func(int64)
}

func (s *sending) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.at += int64(n)
	s.told(s.at)
	return n, err
}

// CancelUpload cancels an upload.
func (c *Client) CancelUpload(ctx context.Context, id string) error {
	res, err := c.tus(ctx, http.MethodDelete, "/v1/uploads/"+url.PathEscape(id), nil, 0, nil)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
