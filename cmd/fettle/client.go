package main

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
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/wire"
)

// cli is what the commands that talk to a service share.
type cli struct {
	server, token, output string
	client                http.Client
}

// kept is what fettle login keeps.
type kept struct {
	Server string `yaml:"server"`
	Token  string `yaml:"token"`
}

func (c *cli) check() error {
	switch c.output {
	case "table", "json", "yaml":
		return nil
	default:
		return &exitError{exitUsage, fmt.Errorf("--output %s: expected table, json or yaml", c.output)}
	}
}

func configPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "fettle", "config.yaml"), nil
}

func readKept() (kept, error) {
	path, err := configPath()
	if err != nil {
		return kept{}, nil //nolint:nilerr // without a home there is no file
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return kept{}, nil
	}
	if err != nil {
		return kept{}, err
	}
	var k kept
	if err := yaml.Unmarshal(raw, &k); err != nil {
		return kept{}, fmt.Errorf("%s: %s", path, yaml.FormatError(err, false, false))
	}
	return k, nil
}

// target is the service's address and token: flag, environment, file. A token
// that was kept for one server is never sent to another.
func (c *cli) target() (server, token string, err error) {
	k, err := readKept()
	if err != nil {
		return "", "", err
	}
	server, token = c.server, c.token
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
		return "", "", &exitError{exitUsage, fmt.Errorf("server %q: expected an address as https://fettle.example.com", server)}
	}
	if token == "" && server == strings.TrimRight(k.Server, "/") {
		token = k.Token
	}
	return server, token, nil
}

// problem is a refusal of the service (RFC 9457).
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

func (p *problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	switch p.Status {
	case http.StatusUnauthorized:
		text += " (fettle login, or --token)"
	case http.StatusForbidden:
		text += " (the token's scope does not allow it)"
	}
	for _, e := range p.Errors {
		at := strings.TrimPrefix(strings.TrimPrefix(e.Location, "body."), "query.")
		text += "\n  " + at + ": " + e.Message
	}
	return text
}

// send makes a request; the answer's body is the caller's to close.
func (c *cli) send(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	server, token, err := c.target()
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
	req.Header.Set("User-Agent", "fettle/"+version)
	return c.answer(req)
}

// answer turns refusals into errors.
func (c *cli) answer(req *http.Request) (*http.Response, error) {
	res, err := c.client.Do(req)
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
	p := &problem{Status: res.StatusCode, Title: http.StatusText(res.StatusCode)}
	if raw, err := io.ReadAll(io.LimitReader(res.Body, 8<<20)); err == nil && strings.Contains(res.Header.Get("Content-Type"), "json") {
		_ = json.Unmarshal(raw, p) // what cannot be read is told by its status
	}
	return nil, p
}

// call sends in as JSON and reads the answer into out; either may be nil.
func (c *cli) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	contentType := ""
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, contentType = bytes.NewReader(raw), "application/json"
	}
	res, err := c.send(ctx, method, path, contentType, body)
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

// all reads every page of a list.
func all[T any](ctx context.Context, c *cli, path string, query url.Values) ([]T, error) {
	if query == nil {
		query = url.Values{}
	}
	query.Set("limit", "1000")
	out := []T{}
	for {
		var page wire.Page[T]
		if err := c.call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
		if page.Next == "" {
			return out, nil
		}
		query.Set("after", page.Next)
	}
}

// print writes v as JSON or YAML if that was asked for, else by table.
func (c *cli) print(cmd *cobra.Command, v any, table func(w io.Writer)) error {
	switch c.output {
	case "json":
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	case "yaml":
		return writeYAML(cmd.OutOrStdout(), v)
	default:
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
		table(w)
		return w.Flush()
	}
}

// writeYAML writes what JSON would say, so that fields have the names of files.
func writeYAML(w io.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	text, err := yaml.JSONToYAML(raw)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

func row(w io.Writer, cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		text := fmt.Sprint(cell)
		if t, ok := cell.(time.Time); ok {
			text = when(t)
		}
		if text == "" {
			text = "-"
		}
		fmt.Fprint(w, text)
	}
	fmt.Fprintln(w)
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func segment(name string) string { return "/" + url.PathEscape(name) }

// confirm asks before something that cannot be undone.
func confirm(cmd *cobra.Command, yes bool, question string) error {
	if yes {
		return nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(cmd.InOrStdin(), &answer) // no answer is no
	if a := strings.ToLower(answer); a == "y" || a == "yes" {
		return nil
	}
	return errors.New("nothing was changed (--yes says yes)")
}
