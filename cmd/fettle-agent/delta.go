package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"fettle.dev/fettle/unitkit"
	"fettle.dev/fettle/unitkit/delta"
)

var errNoDelta = errors.New("the server has none")

// deltaTries is how often a delta is begun; then the whole is fetched, which
// can be resumed.
const deltaTries = 2

// takes is in which coding the unit takes deltas; "": in none. It takes those
// of components that are a file.
func (c *config) takes() string {
	for _, part := range c.Components {
		if part.File != nil && c.Delta.or(mostDelta) > 0 {
			return delta.Coding
		}
	}
	return ""
}

// mostDelta is the most memory for a delta, where the configuration names none.
const mostDelta = 64 << 20

// delta writes a target's bytes made of the file that runs now, when the
// server has a delta from it (RFC 9842). What comes is as little trusted as
// any download: the caller verifies it.
func (a *agent) delta(ctx context.Context, t unitkit.Target, w io.Writer) error {
	part := a.c.Components[t.Component].File
	most := a.c.Delta.or(mostDelta)
	if part == nil || most == 0 || a.deltas[t.SHA256] >= deltaTries {
		return errNoDelta
	}
	if a.deltas == nil {
		a.deltas = map[string]int{}
	}
	a.deltas[t.SHA256]++
	info, err := os.Stat(part.Path)
	if err != nil || info.Size() > most || !info.Mode().IsRegular() {
		return errNoDelta
	}
	old, err := os.ReadFile(part.Path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(old)
	// The head first: were the answer the whole, what is on its way already
	// would be wasted.
	res, err := a.askForDelta(ctx, http.MethodHead, t, sum, most)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if coding := res.Header.Get("Content-Encoding"); coding != delta.Coding && coding != "zstd" {
		return errNoDelta
	}
	if res, err = a.askForDelta(ctx, http.MethodGet, t, sum, most); err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	want := delta.Want{Length: t.Length, SHA256: t.SHA256, Window: uint64(most)}
	body := &counted{r: res.Body}
	switch res.Header.Get("Content-Encoding") {
	case delta.Coding:
		err = delta.Apply(w, body, old, want)
	case "zstd":
		err = delta.Expand(w, body, nil, want)
	default:
		return errNoDelta
	}
	if err == nil {
		a.log.Info("update: fetched as a delta", "target", t.Filename, "bytes", body.n, "of", t.Length)
	}
	return err
}

// askForDelta asks for a target as it is made of the file with a hash, in at
// most so much memory. The answer is 200.
func (a *agent) askForDelta(ctx context.Context, method string, t unitkit.Target, sum [sha256.Size]byte, most int64) (*http.Response, error) {
	at := strings.TrimRight(a.c.Server, "/") + "/tuf/targets/" + t.SHA256 + "/" + url.PathEscape(t.Filename)
	req, err := http.NewRequestWithContext(ctx, method, at, nil)
	if err != nil {
		return nil, err
	}
	if a.id.Token != "" { // else there is a client certificate
		req.Header.Set("Authorization", "TargetToken "+a.id.Token)
	}
	req.Header.Set("Accept-Encoding", delta.Coding+", zstd")
	req.Header.Set("Available-Dictionary", ":"+base64.StdEncoding.EncodeToString(sum[:])+":")
	req.Header.Set("Delta-Window", strconv.FormatInt(most, 10))
	res, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, fmt.Errorf("the server answered %s", res.Status)
	}
	return res, nil
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
