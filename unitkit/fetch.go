package unitkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// StatusError is an answer of the server that was not a success.
type StatusError struct {
	Code    int    // HTTP status
	Path    string // what was asked for
	Message string // what the server said, cut short
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: the server answered %d %s", e.Path, e.Code, e.Message)
}

// notFound reports whether err says that there is no such thing.
func notFound(err error) bool {
	s, ok := errors.AsType[*StatusError](err)
	return ok && s.Code == http.StatusNotFound
}

// do sends a request with the unit's credential. A path is under the server;
// an absolute URL must be on it, so that the credential goes nowhere else.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader, header http.Header) (*http.Response, error) {
	if rest, ok := strings.CutPrefix(path, c.config.Server); ok && strings.HasPrefix(rest, "/") {
		path = rest
	}
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return nil, fmt.Errorf("%s is not on the server %s", path, c.config.Server)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.config.Server+path, body)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	switch {
	case c.config.Token == "":
	case strings.HasPrefix(path, "/tuf/"): // with the id, so that the server need not look for whose token it is
		req.SetBasicAuth(c.config.UnitID, c.config.Token)
	default:
		req.Header.Set("Authorization", "TargetToken "+c.config.Token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= http.StatusMultipleChoices && res.StatusCode != http.StatusNotModified {
		message, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
		_ = res.Body.Close()
		return nil, &StatusError{res.StatusCode, path, strings.TrimSpace(string(message))}
	}
	return res, nil
}

// get reads an answer of at most limit bytes, no slower than the least rate.
func (c *Client) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	b, _, err := c.getNewer(ctx, path, "", limit)
	return b, err
}

// getNewer is get of what may be known already by its tag: nil bytes then. It
// gives the answer's tag.
func (c *Client) getNewer(ctx context.Context, path, tag string, limit int64) ([]byte, string, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var header http.Header
	if tag != "" {
		header = http.Header{"If-None-Match": {tag}}
	}
	res, err := c.watched(ctx, stop, path, header)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusNotModified && tag != "" {
		return nil, tag, nil
	}
	b, err := c.body(ctx, res, path, limit)
	return b, res.Header.Get("ETag"), err
}

func (c *Client) body(ctx context.Context, res *http.Response, path string, limit int64) ([]byte, error) {
	if res.ContentLength > limit {
		return nil, attack(ErrEndlessData, path, "%d bytes are announced, %d are the most there can be", res.ContentLength, limit)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return nil, because(ctx, err)
	case int64(len(b)) > limit:
		return nil, attack(ErrEndlessData, path, "more than the %d bytes that there can be", limit)
	}
	return b, nil
}

// watched is a GET whose body fails with ErrSlowRetrieval when it trickles;
// stop must cancel ctx.
func (c *Client) watched(ctx context.Context, stop context.CancelCauseFunc, path string, header http.Header) (*http.Response, error) {
	slow := func() { stop(attack(ErrSlowRetrieval, path, "less than %d bytes/s for %s", c.minRate(), c.patience())) }
	answer := time.AfterFunc(c.patience(), slow) // the headers count as well
	res, err := c.do(ctx, http.MethodGet, path, nil, header)
	answer.Stop()
	if err != nil {
		return nil, because(ctx, err)
	}
	res.Body = newPaced(res.Body, c.patience(), c.minRate(), slow)
	return res, nil
}

// because gives the reason for which ctx was ended instead of what came of it.
func because(ctx context.Context, err error) error {
	if a, ok := errors.AsType[*AttackError](context.Cause(ctx)); ok {
		return a
	}
	return err
}

func attack(a Attack, role, format string, args ...any) *AttackError {
	return &AttackError{Attack: a, Role: role, Err: fmt.Errorf(format, args...)}
}

// paced measures how fast a body comes while somebody waits for it: a reader
// who takes his time is not the sender's fault.
type paced struct {
	io.ReadCloser
	slow   func()
	window time.Duration
	least  int64 // bytes a window

	mu      sync.Mutex
	timer   *time.Timer
	waiting bool
	spent   time.Duration // of the window, waiting
	got     int64
}

func newPaced(body io.ReadCloser, window time.Duration, rate int, slow func()) *paced {
	p := &paced{ReadCloser: body, slow: slow, window: window, least: int64(float64(rate) * window.Seconds())}
	p.timer = time.AfterFunc(window, p.check)
	p.timer.Stop()
	return p
}

func (p *paced) Read(b []byte) (int, error) {
	p.mu.Lock()
	p.waiting = true
	p.timer.Reset(p.window - p.spent)
	p.mu.Unlock()
	begun := time.Now() //nolint:forbidigo // a stopwatch: monotonic, never shown nor kept
	n, err := p.ReadCloser.Read(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = false
	p.timer.Stop()
	p.spent += time.Since(begun)
	p.got += int64(n)
	if p.spent >= p.window {
		if p.got < p.least && err == nil {
			p.slow()
		}
		p.spent, p.got = 0, 0
	}
	return n, err
}

// check is called when a read lasts until the window's end.
func (p *paced) check() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.waiting:
	case p.got < p.least:
		p.slow()
	default:
		p.got = 0
		p.timer.Reset(p.window)
	}
}

func rangeFrom(offset int64) http.Header {
	if offset == 0 {
		return nil
	}
	return http.Header{"Range": {"bytes=" + strconv.FormatInt(offset, 10) + "-"}}
}
