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

// Exchange uses a one-time link up and makes an API token with the session it
// gives, which is ended at once.
func (c *Client) Exchange(ctx context.Context, server, link string, life fleet.Duration) (string, error) {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "a terminal"
	}
	var session *http.Cookie
	post := func(path string, in, out any) error {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server+path, bytes.NewReader(raw))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Origin", server)
		req.Header.Set("User-Agent", c.Agent)
		if session != nil {
			req.AddCookie(session)
		}
		res, err := c.Answer(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		for _, k := range res.Cookies() {
			if k.Name == wire.OperatorCookie && k.Value != "" {
				session = &http.Cookie{Name: k.Name, Value: k.Value} //nolint:gosec // sent back, never set
			}
		}
		if out == nil {
			return nil
		}
		return json.NewDecoder(res.Body).Decode(out)
	}
	if err := post("/v1/sign-in", wire.OneTime{Token: link}, nil); err != nil {
		return "", err
	}
	if session == nil {
		return "", fmt.Errorf("%s gave no session: is it a Fettle service?", server)
	}
	var issued wire.IssuedToken
	err = post("/v1/tokens", wire.NewToken{Name: "fettle login on " + host, Scope: access.ScopeAdmin, Expires: life}, &issued)
	return issued.Token, errors.Join(err, post("/v1/sign-out", struct{}{}, nil))
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
