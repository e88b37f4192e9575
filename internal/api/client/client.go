// Package client calls the operations of a service as an operator's program
// does: address and token from flags, environment or what was kept at sign-in,
// lists page by page, refusals as errors that say what and where.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
)

// Client calls a service. Empty fields are found in the environment, then in
// what was kept.
type Client struct {
	Server, Token string
	Agent         string // User-Agent
	HTTP          http.Client
	// Progress, if given, is called when a file begins to be sent; what it
	// gives is told how many bytes have arrived.
	Progress func(name string, total int64) func(done int64)
}

// Target is the service's address and token: flag, environment, file. A token
// that was kept for one server is never sent to another.
func (c *Client) Target() (server, token string, err error) {
	k, err := readKept()
	if err != nil {
		return "", "", err
	}
	server, token = c.Server, c.Token
	if server == "" {
		server = os.Getenv("FETTLE_SERVER")
	}
	if token == "" {
		token = os.Getenv("FETTLE_TOKEN")
	}
	if server == "" {
		server = k.Server
	}
	if server == "" {
		server = "http://127.0.0.1:8080"
	}
	server = strings.TrimRight(server, "/")
	if u, err := url.Parse(server); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", "", fault.New(fault.Invalid, "server %q: expected an address as https://fettle.example.com", server)
	}
	if token == "" && server == strings.TrimRight(k.Server, "/") {
		token = k.Token
	}
	return server, token, nil
}

// ProblemError is a refusal of the service (RFC 9457).
type ProblemError struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

func (p *ProblemError) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if p.Status == http.StatusUnauthorized {
		text += " (fettle login, or --token)"
	}
	for _, e := range p.Errors {
		at := strings.TrimPrefix(strings.TrimPrefix(e.Location, "body."), "query.")
		text += "\n  " + at + ": " + e.Message
	}
	return text
}

// Send makes a request; the answer's body is the caller's to close.
func (c *Client) Send(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	server, token, err := c.Target()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, server+path, body)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("User-Agent", c.Agent)
	return c.Answer(req)
}

// Answer turns refusals into errors.
func (c *Client) Answer(req *http.Request) (*http.Response, error) {
	res, err := c.HTTP.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("no answer from %s://%s: %w", req.URL.Scheme, req.URL.Host, err)
	}
	if res.StatusCode < 400 {
		return res, nil
	}
	defer res.Body.Close()
	p := &ProblemError{Status: res.StatusCode, Title: http.StatusText(res.StatusCode)}
	if raw, err := io.ReadAll(io.LimitReader(res.Body, 8<<20)); err == nil && strings.Contains(res.Header.Get("Content-Type"), "json") {
		_ = json.Unmarshal(raw, p) // what cannot be read is told by its status
	}
	return nil, p
}

// Call sends in as JSON and reads the answer into out; either may be nil.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	contentType := ""
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, contentType = bytes.NewReader(raw), "application/json"
	}
	res, err := c.Send(ctx, method, path, contentType, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil || res.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: the answer is not from a Fettle service: %w", method, path, err)
	}
	return nil
}

// All reads every page of a list.
func All[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	if query == nil {
		query = url.Values{}
	}
	query.Set("limit", "1000")
	out := []T{}
	for {
		var page wire.Page[T]
		if err := c.Call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
		if page.Next == "" {
			return out, nil
		}
		query.Set("after", page.Next)
	}
}
