package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device/download"
	deltastore "fettle.dev/fettle/internal/sqldb/delta"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/delta"
	"fettle.dev/fettle/internal/update/link"
	"fettle.dev/fettle/internal/update/upload"
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

// images builds what concerns the bytes of releases: their addresses, uploads
// of them in pieces, and what is made of them for units that have older ones.
func (h *house) images() (err error) {
	if h.links, err = h.signer(); err != nil {
		return err
	}
	dir := h.config.path("uploads")
	h.uploads, err = upload.New(upload.Config{Artifacts: h.updates, Clock: h.clock, IDs: h.ids, Log: h.log, Dir: dir, Room: h.disk.Fits})
	h.deltas = delta.NewManager(delta.Config{
		Store: deltastore.New(h.records), Releases: h.records.Update(), Blobs: h.blobs, Clock: h.clock, Wall: clock.Real{}, Log: h.log,
		Dir: dir, Room: h.disk.Fits,
	})
	return err
}

// downloads is the door at which artifacts are fetched.
func (h *house) downloads() http.Handler {
	return download.New(download.Config{
		Updates: h.updates, Blobs: h.blobs, Links: h.links, Deltas: h.deltas, Clock: h.clock, Log: h.log, Metrics: h.metrics,
		CDN: strings.TrimRight(h.config.ArtifactCDN, "/"), Shares: h.shares,
	})
}

// shares are the rates that a download has together with others.
func (h *house) shares(context.Context, update.Assignment, string) ([]download.Share, error) {
	return nil, nil
}
