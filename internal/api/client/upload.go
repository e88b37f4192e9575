package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"fettle.dev/fettle/internal/api/wire"
)

// Upload uploads a file unless the service has its bytes, and gives their hash.
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
	if p, ok := errors.AsType[*ProblemError](err); err == nil || !ok || p.Status != http.StatusNotFound {
		return sum, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	body := io.NopCloser(io.LimitReader(f, size)) // the client would close the file
	res, err := c.Send(ctx, http.MethodPost, "/v1/artifacts?filename="+url.QueryEscape(filepath.Base(path)), "application/octet-stream", body)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var a wire.Artifact
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		return "", err
	}
	if a.SHA256 != sum {
		return "", fmt.Errorf("the service received other bytes than were sent (%s, not %s)", a.SHA256, sum)
	}
	return sum, nil
}
