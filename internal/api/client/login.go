package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

// Kept is what is kept at sign-in.
type Kept struct {
	Server string `yaml:"server"`
	Token  string `yaml:"token"`
}

func configPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "fettle", "config.yaml"), nil
}

func readKept() (Kept, error) {
	path, err := configPath()
	if err != nil {
		return Kept{}, nil //nolint:nilerr // without a home there is no file
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Kept{}, nil
	}
	if err != nil {
		return Kept{}, err
	}
	var k Kept
	if err := yaml.Unmarshal(raw, &k); err != nil {
		return Kept{}, fmt.Errorf("%s: %s", path, yaml.FormatError(err, false, false))
	}
	return k, nil
}

// Visit is somebody signed in for as long as a command runs: what no API token
// may do.
type Visit struct {
	c       *Client
	server  string
	session *http.Cookie
}

// Visit begins one; nobody is signed in yet.
func (c *Client) Visit(server string) *Visit { return &Visit{c: c, server: server} }

// Post makes a call with the session, and keeps the one it is given.
func (v *Visit) Post(ctx context.Context, path string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.server+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", v.server)
	req.Header.Set("User-Agent", v.c.Agent)
	if v.session != nil {
		req.AddCookie(v.session)
	}
	res, err := v.c.Answer(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for _, k := range res.Cookies() {
		if k.Name == wire.OperatorCookie && k.Value != "" {
			v.session = &http.Cookie{Name: k.Name, Value: k.Value} //nolint:gosec // sent back, never set
		}
	}
	if out == nil || res.StatusCode == http.StatusNoContent {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}

// SignIn signs in by password and the code of an authenticator, which is asked
// for by code once the password was right.
func (v *Visit) SignIn(ctx context.Context, email, password string, code func() (string, error)) error {
	var owed struct{ Ticket, Next string }
	if err := v.Post(ctx, "/v1/sign-in/password", map[string]string{"email": email, "password": password}, &owed); err != nil {
		return err
	}
	if owed.Next != string(access.NextCode) {
		return fmt.Errorf("this account has no authenticator: sign in at %s/console/", v.server)
	}
	text, err := code()
	if err != nil {
		return err
	}
	return v.Post(ctx, "/v1/sign-in/code", map[string]string{"ticket": owed.Ticket, "code": text}, nil)
}

// End signs out.
func (v *Visit) End(ctx context.Context) error { return v.Post(ctx, "/v1/sign-out", struct{}{}, nil) }

// Token makes an API token of the session, which is ended at once.
func (v *Visit) Token(ctx context.Context, life fleet.Duration) (string, error) {
	if v.session == nil {
		return "", fmt.Errorf("%s gave no session: is it a Fettle service?", v.server)
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "a terminal"
	}
	var issued wire.IssuedToken
	err = v.Post(ctx, "/v1/tokens", wire.NewToken{Name: "fettle login on " + host, Scope: access.ScopeAdmin, Expires: life}, &issued)
	return issued.Token, errors.Join(err, v.End(ctx))
}

// Exchange uses a one-time link up and makes an API token with the session it
// gives, which is ended at once.
func (c *Client) Exchange(ctx context.Context, server, link string, life fleet.Duration) (string, error) {
	v := c.Visit(server)
	if err := v.Post(ctx, "/v1/sign-in", wire.OneTime{Token: link}, nil); err != nil {
		return "", err
	}
	return v.Token(ctx, life)
}

// Keep writes the configuration file, readable by its user alone from the first byte.
func Keep(k Kept) (string, error) {
	path, err := configPath()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	raw, err := yaml.Marshal(k)
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "config-*") // 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(raw)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return path, os.Rename(f.Name(), path)
}
