// Package message holds the commands about what was sent to whom, and about the
// endpoints that events go to.
package message

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/messages"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/hear"
)

// Shared is what all commands that talk to a service share.
type Shared struct {
	Client *client.Client
	Print  func(cmd *cobra.Command, v any, table func(w io.Writer)) error
	Row    func(w io.Writer, cells ...any)
	Names  func(kind string) cobra.CompletionFunc // completion
}

// Commands are message and webhook.
func Commands(s Shared) []*cobra.Command {
	cmd := &cobra.Command{Use: "message", Short: "What was sent to whom, and what became of it"}
	cmd.AddCommand(s.list(), s.show(), s.resend(), s.acknowledge(), s.bounced(), s.addresses(), s.gateways())
	return []*cobra.Command{cmd, s.webhook()}
}

func (s Shared) list() *cobra.Command {
	var owner, unit, about, channel, kind, state string
	var unread bool
	var most int
	cmd := &cobra.Command{
		Use: "list", Short: "List messages, newest first",
		Long: `List messages, newest first. Addresses are shortened; fettle message show has
one in full. Who looks at owners' messages stands in the audit trail.`,
		Example: "  fettle message list --state bounced\n  fettle message list --about campaign/plug-fix --unread",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			for k, v := range map[string]string{"owner": owner, "unit": unit, "about": about, "channel": channel, "kind": kind, "state": state} {
				if v != "" {
					q.Set(k, v)
				}
			}
			if unread {
				q.Set("unread", "true")
			}
			list, err := all[messages.View](cmd, s.Client, "/v1/messages", q, most)
			if err != nil {
				return err
			}
			return s.Print(cmd, list, func(w io.Writer) {
				s.Row(w, "ID", "CHANNEL", "KIND", "TO", "SUBJECT", "STATE", "MADE", "SENT", "READ")
				for _, m := range list {
					read := any(m.AckedAt)
					if m.AckedAt.IsZero() && m.Acknowledge {
						read = "not yet"
					}
					s.Row(w, m.ID, m.Channel, m.Kind, m.To, m.Subject, m.State, m.CreatedAt, m.SentAt, read)
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&owner, "owner", "", "only those to an owner (id)")
	f.StringVar(&unit, "unit", "", "only those about a unit")
	f.StringVar(&about, "about", "", "only those that belong to something, as campaign/NAME")
	f.StringVar(&channel, "channel", "", "mail, sms, voice, push, webhook, letter or call")
	f.StringVar(&kind, "kind", "", "safety, security, service, feature, tip, account or operations")
	f.StringVar(&state, "state", "", "queued, sent, delivered, bounced, complained, failed, expired or suppressed")
	f.BoolVar(&unread, "unread", false, "only those that ask to be acknowledged and are not")
	f.IntVar(&most, "limit", 100, "how many at most")
	return cmd
}

// all reads pages until there are no more, or enough.
func all[T any](cmd *cobra.Command, c *client.Client, path string, q url.Values, most int) ([]T, error) {
	list := []T{}
	for {
		q.Set("limit", fmt.Sprint(max(1, min(1000, most-len(list)))))
		var page wire.Page[T]
		if err := c.Call(cmd.Context(), http.MethodGet, path+"?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		list = append(list, page.Items...)
		if page.Next == "" || len(list) >= most {
			return list, nil
		}
		q.Set("after", page.Next)
	}
}

func (s Shared) show() *cobra.Command {
	return &cobra.Command{
		Use: "show MESSAGE", Short: "Show a message, its words and each attempt at it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var m messages.Detail
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/messages/"+url.PathEscape(args[0]), nil, &m); err != nil {
				return err
			}
			return s.Print(cmd, m, func(w io.Writer) {
				s.Row(w, "To:", fmt.Sprintf("%s (%s)", m.To, m.Channel))
				s.Row(w, "Kind:", m.Kind)
				s.Row(w, "State:", m.State)
				s.Row(w, "Subject:", m.Subject)
				if m.LastError != "" {
					s.Row(w, "Trouble:", m.LastError)
				}
				for _, d := range m.Deliveries {
					s.Row(w, d.At, string(d.Result)+"  "+d.Detail)
				}
				if m.Body != "" {
					_, _ = fmt.Fprintf(w, "\n%s\n", strings.TrimRight(m.Body, "\n"))
				}
			})
		},
	}
}

func (s Shared) post(cmd *cobra.Command, path string) error {
	return s.Client.Call(cmd.Context(), http.MethodPost, path, nil, nil)
}

func (s Shared) resend() *cobra.Command {
	return &cobra.Command{
		Use: "resend MESSAGE...", Short: "Send messages again, at once", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, id := range args {
				if err := s.post(cmd, "/v1/messages/"+url.PathEscape(id)+"/resend"); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (s Shared) acknowledge() *cobra.Command {
	return &cobra.Command{
		Use: "acknowledge MESSAGE", Short: "Note that a message was read, as its reader said on a call", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.post(cmd, "/v1/messages/"+url.PathEscape(args[0])+"/acknowledge")
		},
	}
}

// Exit codes of sysexits.h, by which a mail server knows what to do with a mail
// that a pipe did not take.
const (
	dataError = 65 // bounce nothing, try nothing
	tempFail  = 75 // keep it and try again
)

// ExitError asks for an exit code.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }
func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode is what the process ends with.
func (e *ExitError) ExitCode() int { return e.Code }

// maxMail is how much of a mail is handed on, bytes.
const maxMail = 4 << 20

func (s Shared) bounced() *cobra.Command {
	var recipient string
	cmd := &cobra.Command{
		Use: "bounce", Short: "Hand in a mail that came back, from standard input",
		Long: `Read a mail from standard input, as a mail server's pipe gives it, and tell the
service what it reports: a bounce, a delay, a complaint (RFC 3464, RFC 5965).
No token is needed: a report is believed by the message's ticket in it.

It ends with 0 when it was taken, also for mails that report nothing; with 75
(try again later) when the service cannot be reached; with 65 when the mail
names no message of this service. docs/operations.md says how to set up Exim
and Postfix.`,
		Example: "  fettle message bounce --server https://fettle.example.com --recipient bounces+x@example.com < mail",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, _, err := s.Client.Target()
			if server == "" {
				return err
			}
			path := strings.TrimRight(server, "/") + "/n/bounce?recipient=" + url.QueryEscape(recipient)
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, path, io.LimitReader(cmd.InOrStdin(), maxMail))
			if err != nil {
				return err
			}
			req.Header.Set("Content-Type", "message/rfc822")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return &ExitError{tempFail, err}
			}
			defer res.Body.Close()
			said, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
			switch code := res.StatusCode; {
			case code < 300:
				return nil
			case code == http.StatusNotFound, code == http.StatusUnprocessableEntity:
				return &ExitError{dataError, errors.New(strings.TrimSpace(string(said)))}
			default:
				return &ExitError{tempFail, fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(said)))}
			}
		},
	}
	cmd.Flags().StringVar(&recipient, "recipient", "", "address that the mail came to")
	return cmd
}

func (s Shared) addresses() *cobra.Command {
	var owner string
	var again string
	cmd := &cobra.Command{
		Use: "addresses", Short: "List addresses that bounce or from which complaints came",
		Long: `List addresses that bounce, or from which complaints came. Nothing is sent to
them but safety notices and what is asked for. --clear ADDRESS writes to one
again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if again != "" {
				ch := notify.Mail
				if strings.HasPrefix(again, "+") {
					ch = notify.SMS
				}
				q := url.Values{"channel": {string(ch)}, "address": {again}}
				return s.Client.Call(cmd.Context(), http.MethodDelete, "/v1/addresses?"+q.Encode(), nil, nil)
			}
			q := url.Values{}
			if owner != "" {
				q.Set("owner", owner)
			}
			list, err := all[hear.Address](cmd, s.Client, "/v1/addresses", q, 1_000_000)
			if err != nil {
				return err
			}
			return s.Print(cmd, list, func(w io.Writer) {
				s.Row(w, "CHANNEL", "ADDRESS", "STATE", "SINCE", "WHY")
				for _, a := range list {
					s.Row(w, a.Channel, a.Address, a.State, a.Since, a.Why)
				}
			})
		},
	}
	cmd.Flags().StringVar(&owner, "owner", "", "only those of an owner (id)")
	cmd.Flags().StringVar(&again, "clear", "", "write to this address again")
	return cmd
}

func (s Shared) gateways() *cobra.Command {
	return &cobra.Command{
		Use: "gateways", Short: "Show how the mail server, gateways and push services do", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var page wire.Page[messages.GatewayHealth]
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/gateways", nil, &page); err != nil {
				return err
			}
			return s.Print(cmd, page.Items, func(w io.Writer) {
				s.Row(w, "NAME", "CHANNEL", "HOST", "LAST SENT", "LAST FAILED", "FAILURES", "ERROR")
				for _, g := range page.Items {
					s.Row(w, g.Name, g.Channel, g.Host, g.SentAt, g.FailedAt, g.Failures, g.LastError)
				}
			})
		},
	}
}
