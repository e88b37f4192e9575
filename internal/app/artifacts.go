package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"

	"fettle.dev/fettle/internal/device/download"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/link"
)

// linkKey is the file of the key that addresses of artifacts are signed with.
// It stands in no backup: without it they are made anew, and those given before
// end, which a client's next poll puts right.
const linkKey = "link-key"

// signer makes addresses of artifacts with the key in the data directory,
// which is made at the first start.
func (h *house) signer() (*link.Signer, error) {
	path := h.config.path(linkKey)
	line, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		key := make([]byte, link.KeySize)
		_, _ = rand.Read(key) // never fails since Go 1.24
		line = []byte(hex.EncodeToString(key))
		err = writeSecret(path, string(line))
	}
	if err != nil {
		return nil, fmt.Errorf("key of addresses: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(line)))
	if err != nil {
		return nil, fmt.Errorf("%s does not hold a key: %w", path, err)
	}
	return link.New(key, h.clock)
}

// downloads is the door at which artifacts are fetched.
func (h *house) downloads() http.Handler {
	return download.New(download.Config{
		Updates: h.updates, Blobs: h.blobs, Links: h.links, Clock: h.clock, Log: h.log, Metrics: h.metrics,
		CDN: strings.TrimRight(h.config.ArtifactCDN, "/"), Shares: h.shares,
	})
}

// shares are the rates that a download has together with others.
func (h *house) shares(context.Context, update.Assignment, string) ([]download.Share, error) {
	return nil, nil
}
