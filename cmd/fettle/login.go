package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"fettle.dev/fettle/internal/api"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet"
)

func newLoginCmd(c *cli) *cobra.Command {
	var expires, link string
	cmd := &cobra.Command{
		Use:   "login [SERVER]",
		Short: "Sign in, and keep an API token for this user",
		Long: `Sign in to a service and keep its address and an API token in
~/.config/fettle/config.yaml, readable by this user alone.

Paste the one-time link (of a mail, or of the file first-operator-link in the
data directory; it is used up), or an API token made in the console.`,
		Example: `  fettle login http://127.0.0.1:8080
  fettle login --link "$(cat data/first-operator-link)"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := bufio.NewReader(cmd.InOrStdin())
			server := c.server
			if len(args) == 1 {
				server = args[0]
			}
			if server == "" && link != "" {
				if u, err := url.Parse(strings.TrimSpace(link)); err == nil && u.Host != "" {
					server = u.Scheme + "://" + u.Host
				}
			}
			if server == "" {
				_, found, err := c.serverOrAsk(cmd, in)
				if err != nil {
					return err
				}
				server = found
			}
			c.server = server
			server, _, err := c.target()
			if err != nil {
				return err
			}
			secret := strings.TrimSpace(link)
			if secret == "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "Open %s/console/ for a link by mail, then paste the one-time link or an API token: ", server)
				if secret, err = readSecret(cmd, in); err != nil {
					return err
				}
			}
			if _, after, ok := strings.Cut(secret, "#"); ok {
				secret = after
			}
			if secret == "" {
				return errors.New("nothing was pasted")
			}
			token := secret
			if !strings.HasPrefix(secret, fleet.APITokenPrefix) {
				if token, err = c.exchange(cmd, server, secret, expires); err != nil {
					return err
				}
			}
			c.token = token
			var s wire.Session
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/session", nil, &s); err != nil {
				return err
			}
			path, err := keep(kept{Server: server, Token: token})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "signed in to %s as %s (scope %s); kept in %s\n", server, s.Email, s.Scope, path)
			return nil
		},
	}
	cmd.Flags().StringVar(&link, "link", "", "the one-time link or API token, instead of asking")
	cmd.Flags().StringVar(&expires, "expires", "90d", "how long the token made from a link is valid")
	return cmd
}

func (c *cli) serverOrAsk(cmd *cobra.Command, in *bufio.Reader) (asked bool, server string, err error) {
	server, _, err = c.target()
	if err != nil {
		return false, "", err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Server [%s]: ", server)
	line, err := in.ReadString('\n')
	if line = strings.TrimSpace(line); line != "" {
		return true, line, nil
	}
	if err != nil {
		return false, "", errors.New("no server was named: fettle login SERVER")
	}
	return false, server, nil
}

// readSecret reads a line, without showing it where that can be done.
func readSecret(cmd *cobra.Command, in *bufio.Reader) (string, error) {
	if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		raw, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return strings.TrimSpace(string(raw)), err
	}
	line, err := in.ReadString('\n')
	if strings.TrimSpace(line) == "" && err != nil {
		return "", errors.New("nothing was pasted")
	}
	return strings.TrimSpace(line), nil
}

// exchange uses a one-time link up and makes an API token with the session it
// gives, which is ended at once.
func (c *cli) exchange(cmd *cobra.Command, server, link, expires string) (string, error) {
	life, err := fleet.ParseDuration(expires)
	if err != nil {
		return "", &exitError{exitUsage, err}
	}
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
		req, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, server+path, bytes.NewReader(raw))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Origin", server)
		req.Header.Set("User-Agent", "fettle/"+version)
		if session != nil {
			req.AddCookie(session)
		}
		res, err := c.answer(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		for _, k := range res.Cookies() {
			if k.Name == api.OperatorCookie && k.Value != "" {
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
	err = post("/v1/tokens", wire.NewToken{Name: "fettle login on " + host, Scope: fleet.ScopeAdmin, Expires: life}, &issued)
	return issued.Token, errors.Join(err, post("/v1/sign-out", struct{}{}, nil))
}

// keep writes the configuration file, readable by its user alone from the first byte.
func keep(k kept) (string, error) {
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
