package remote

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet/access"
)

func newLoginCmd(c *cli) *cobra.Command {
	var expires, link string
	cmd := &cobra.Command{
		Use:   "login [SERVER | LINK]",
		Short: "Sign in, and keep an API token for this user",
		Long: `Sign in to a service and keep its address and an API token in
~/.config/fettle/config.yaml, readable by this user alone.

Paste the one-time link (of a mail, or of the file first-operator-link in the
data directory; it is used up), or an API token made in the console.`,
		Example: `  fettle login http://127.0.0.1:8080
  fettle login "$(cat data/first-operator-link)"
  fettle login https://fettle.example.com --link "$(cat link)"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			life, err := lifeOf(expires)
			if err != nil {
				return err
			}
			in := bufio.NewReader(cmd.InOrStdin())
			server, secret := pasted(link)
			server = cmp.Or(c.Server, server)
			if len(args) == 1 {
				if !secretIn(args[0]) {
					server = args[0]
				} else if secret == "" {
					var at string
					at, secret = pasted(args[0])
					server = cmp.Or(server, at)
				}
			}
			if server == "" {
				if server, err = c.serverOrAsk(cmd, in); err != nil {
					return err
				}
			}
			if secret == "" && secretIn(server) { // all of the link, pasted at the first question
				server, secret = pasted(server)
			}
			c.Server = server
			server, _, err = c.Target()
			if err != nil {
				return err
			}
			if secret == "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "Open %s/console/ for a link by mail, then paste the one-time link or an API token: ", server)
				line, err := readSecret(cmd, in)
				if err != nil {
					return err
				}
				_, secret = pasted(line)
			}
			if secret == "" {
				return errors.New("nothing was pasted")
			}
			token := secret
			if !strings.HasPrefix(secret, access.APITokenPrefix) {
				if token, err = c.Exchange(cmd.Context(), server, secret, life); err != nil {
					return err
				}
			}
			c.Token = token
			var s wire.Session
			if err := c.Call(cmd.Context(), http.MethodGet, "/v1/session", nil, &s); err != nil {
				return err
			}
			path, err := client.Keep(client.Kept{Server: server, Token: token})
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

// secretIn tells a one-time link, or an API token, from the address of a server.
func secretIn(text string) bool {
	return strings.Contains(text, "#") || strings.HasPrefix(text, access.LinkPrefix) || strings.HasPrefix(text, access.APITokenPrefix)
}

// pasted is the secret of a link and the server it leads to, if it says so.
func pasted(link string) (server, secret string) {
	link = strings.TrimSpace(link)
	page, secret, ok := strings.Cut(link, "#")
	if !ok {
		return "", link
	}
	if u, err := url.Parse(page); err == nil && u.Host != "" {
		server = u.Scheme + "://" + u.Host
	}
	return server, secret
}

func (c *cli) serverOrAsk(cmd *cobra.Command, in *bufio.Reader) (string, error) {
	server, _, err := c.Target()
	if err != nil {
		return "", err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Server [%s]: ", server)
	line, err := in.ReadString('\n')
	if line = strings.TrimSpace(line); line != "" {
		return line, nil
	}
	if err != nil {
		return "", errors.New("no server was named: fettle login SERVER")
	}
	return server, nil
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
