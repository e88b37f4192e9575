// Package client speaks the public HTTP interfaces of a Fettle server the way
// outsiders do: operators (/v1), owners (/owner/v1) and units (hawkBit DDI,
// as SWUpdate polls it).
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// StatusError is an answer that was not a success.
type StatusError struct {
	Code   int
	Method string
	Path   string
	Body   string
}

func (s *StatusError) Error() string {
	return fmt.Sprintf("%s %s: %d %s", s.Method, s.Path, s.Code, s.Body)
}

// Code is the HTTP status in err's chain, or 0.
func Code(err error) int {
	if s, ok := errors.AsType[*StatusError](err); ok {
		return s.Code
	}
	return 0
}

// HTTP makes a client for many simulated parties at one server.
func HTTP(connections int) *http.Client {
	d := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Client{
		Timeout: 60 * time.Second,
		Transport: &http.Transport{
			DialContext:         d.DialContext,
			MaxIdleConns:        connections,
			MaxIdleConnsPerHost: connections,
			MaxConnsPerHost:     connections,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Caller sends JSON and reads JSON as one party.
type Caller struct {
	HTTP   *http.Client
	Base   string // scheme://host:port
	Bearer string
	Cookie string // "name=value"
}

// Do sends in (nil: nothing) and reads the answer into out (nil: drops it). It
// gives the cookie that the server set, as "name=value".
func (c *Caller) Do(ctx context.Context, method, path string, in, out any) (cookie string, err error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return "", fmt.Errorf("body of %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return "", err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.send(req, out)
}

func (c *Caller) send(req *http.Request, out any) (cookie string, err error) {
	if c.Bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.Bearer)
	}
	if c.Cookie != "" {
		req.Header.Set("Cookie", c.Cookie)
	}
	req.Header.Set("Origin", c.Base)
	res, err := c.HTTP.Do(req) //nolint:gosec // the address is the user's own choice
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 != 2 {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		return "", &StatusError{res.StatusCode, req.Method, req.URL.Path, strings.TrimSpace(string(b))}
	}
	for _, k := range res.Cookies() {
		if k.Value != "" {
			cookie = k.Name + "=" + k.Value
		}
	}
	if out == nil {
		_, err = io.Copy(io.Discard, res.Body)
		return cookie, err
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return "", fmt.Errorf("answer of %s %s: %w", req.Method, req.URL.Path, err)
	}
	return cookie, nil
}

// Upload sends raw bytes.
func (c *Caller) Upload(ctx context.Context, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	_, err = c.send(req, out)
	return err
}

// Page is one page of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// All reads every page of a list.
func All[T any](ctx context.Context, c *Caller, path string, fn func(T) error) error {
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	after := ""
	for {
		var page Page[T]
		if _, err := c.Do(ctx, http.MethodGet, path+sep+"limit=1000"+after, nil, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := fn(item); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		after = "&after=" + escape(page.Next)
	}
}

// Patiently repeats fn while the server cannot be reached or says that it
// cannot serve now, as clients of a server that restarts must; after two
// minutes it gives up.
func Patiently(ctx context.Context, fn func() error) error {
	wait := 50 * time.Millisecond
	patience := time.Now().Add(2 * time.Minute)
	for {
		err := fn()
		if err == nil || !Temporary(err) || ctx.Err() != nil || time.Now().After(patience) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
		wait = min(wait*2, time.Second)
	}
}

// Temporary says that trying again may help.
func Temporary(err error) bool {
	code := Code(err)
	if code == 0 {
		_, mine := errors.AsType[*json.MarshalerError](err)
		return !mine && !errors.Is(err, context.Canceled)
	}
	return code >= 500 || code == http.StatusTooManyRequests
}
