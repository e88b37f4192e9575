// Package person holds the commands of privacy officers: requests of people
// about their data, and their erasure.
package person

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	api "fettle.dev/fettle/internal/api/privacy"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/privacy"
)

// Shared is what all commands that talk to a service share.
type Shared struct {
	Client *client.Client
	Print  func(cmd *cobra.Command, v any, table func(w io.Writer)) error
	Row    func(w io.Writer, cells ...any)
}

// Command is owner, with what is below it.
func Command(s Shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "owner", Short: "Answer people's requests about their data, and erase them",
		Long: `What privacy officers do: find a person, answer what they ask for (a copy, a
correction, restriction, objection), erase them, and read the receipts. Every
call stands in the audit trail, and the person sees it.`,
	}
	cmd.AddCommand(s.show(), s.requests(), s.answer(), s.erase(), s.erasures())
	return cmd
}

func (s Shared) find(cmd *cobra.Command, email string) (p api.DataSubject, err error) {
	err = s.Client.Call(cmd.Context(), http.MethodGet, "/v1/privacy/person?"+url.Values{"email": {email}}.Encode(), nil, &p)
	return p, err
}

func (s Shared) show() *cobra.Command {
	return &cobra.Command{
		Use: "show EMAIL", Short: "Show a person: units, and what is restricted", Example: "  fettle owner show ada@example.org", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := s.find(cmd, args[0])
			if err != nil {
				return err
			}
			return s.Print(cmd, p, func(w io.Writer) {
				s.Row(w, "EMAIL", "NAME", "LANGUAGE", "UNITS", "RESTRICTED")
				var limits []string
				for _, l := range p.Limits {
					limits = append(limits, strings.TrimSuffix(l.UnitID+":"+l.Purpose, ":"))
				}
				s.Row(w, p.Email, p.Name, p.Locale, strings.Join(p.Units, " "), strings.Join(limits, " "))
			})
		},
	}
}

func (s Shared) requests() *cobra.Command {
	var state, kind string
	cmd := &cobra.Command{
		Use: "requests", Short: "List what people asked for, by deadline", Example: "  fettle owner requests --state open", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			if state != "" {
				q.Set("state", state)
			}
			if kind != "" {
				q.Set("kind", kind)
			}
			all, err := client.All[api.Asked](cmd.Context(), s.Client, "/v1/privacy/requests", q)
			if err != nil {
				return err
			}
			return s.Print(cmd, all, func(w io.Writer) {
				s.Row(w, "ID", "DUE", "KIND", "STATE", "WHO", "UNIT", "PURPOSE", "TEXT")
				for _, r := range all {
					due := r.DueAt.Format(time.DateOnly)
					if r.Late {
						due += " (late)"
					}
					s.Row(w, r.ID, due, r.Kind, r.State, r.Person.Email, r.UnitID, r.Purpose, oneLine(r.Text))
				}
			})
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "open, working, done or refused")
	cmd.Flags().StringVar(&kind, "kind", "", "access, rectification, erasure, restriction or objection")
	return cmd
}

// oneLine shortens what a person wrote for a table.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return s
}

func (s Shared) answer() *cobra.Command {
	var text string
	var refuse, extend bool
	cmd := &cobra.Command{
		Use: "answer ID --text TEXT", Short: "Answer a request, refuse it, or take two months more",
		Example: "  fettle owner answer 0192… --text 'You find the copy under My data.'\n  fettle owner answer 0192… --extend --text 'We must ask the workshop.'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if refuse && extend {
				return fault.New(fault.Invalid, "--refuse and --extend exclude each other")
			}
			state := privacy.Done
			switch {
			case refuse:
				state = privacy.Refused
			case extend:
				state = privacy.Open
			}
			var out api.Asked
			err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/privacy/requests/"+url.PathEscape(args[0])+"/answer",
				map[string]any{"state": state, "text": text, "extend": extend}, &out)
			if err != nil {
				return err
			}
			return s.Print(cmd, out, func(w io.Writer) {
				s.Row(w, "ID", "STATE", "DUE", "ANSWER")
				s.Row(w, out.ID, out.State, out.DueAt.Format(time.DateOnly), oneLine(out.Answer))
			})
		},
	}
	cmd.Flags().StringVar(&text, "text", "", "what the person is told")
	cmd.Flags().BoolVar(&refuse, "refuse", false, "refuse it; say why, and where the person can complain")
	cmd.Flags().BoolVar(&extend, "extend", false, "two months more (GDPR 12(3)), for the reason in --text")
	_ = cmd.MarkFlagRequired("text")
	return cmd
}

func (s Shared) erase() *cobra.Command {
	var yes, wait bool
	cmd := &cobra.Command{
		Use: "erase EMAIL --yes", Short: "Erase everything about a person",
		Long: `Erase everything about a person from every store. What the law asks to be kept
stays without them: the receipt says what and why. There is no way back.

It prints the receipt's id and a secret, once: give both to the person. With the
secret and the address they can prove that the receipt is theirs; nobody else can
tell whose it is. With --wait the command ends when everything is done.`,
		Example: "  fettle owner erase ada@example.org --yes --wait",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return fault.New(fault.Invalid, "there is no way back: say --yes")
			}
			p, err := s.find(cmd, args[0])
			if err != nil {
				return err
			}
			var out api.Erasing
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/owners/"+url.PathEscape(p.ID)+"/erase", map[string]string{"email": args[0]}, &out); err != nil {
				return err
			}
			for wait && out.Receipt.EndedAt.IsZero() {
				select {
				case <-cmd.Context().Done():
					return cmd.Context().Err()
				case <-time.After(200 * time.Millisecond):
				}
				if err := s.Client.Call(cmd.Context(), http.MethodGet, "/owner/v1/erasures/"+url.PathEscape(out.Receipt.ID), nil, &out.Receipt); err != nil {
					return err
				}
			}
			return s.Print(cmd, out, func(w io.Writer) {
				s.rows(w, []privacy.ErasureReceipt{out.Receipt})
				s.Row(w)
				s.Row(w, "SECRET", out.Secret)
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "erase: there is no way back")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it is done")
	return cmd
}

func (s Shared) erasures() *cobra.Command {
	return &cobra.Command{
		Use: "erasures", Short: "List erasures with their receipts, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := client.All[privacy.ErasureReceipt](cmd.Context(), s.Client, "/v1/privacy/erasures", url.Values{})
			if err != nil {
				return err
			}
			return s.Print(cmd, all, func(w io.Writer) { s.rows(w, all) })
		},
	}
}

func (s Shared) rows(w io.Writer, all []privacy.ErasureReceipt) {
	s.Row(w, "RECEIPT", "ASKED", "BY", "DONE", "FROM BACKUPS BY", "ERASED FROM", "KEPT")
	for _, r := range all {
		done := fmt.Sprintf("step %d of %d (%s)", r.Done+1, r.Of, r.Step)
		if !r.EndedAt.IsZero() {
			done = r.EndedAt.Format(time.RFC3339)
		}
		if r.Failed != "" {
			done += ", tried again: " + r.Failed
		}
		s.Row(w, r.ID, r.AskedAt, r.AskedBy, done, r.BackupsAt.Format(time.DateOnly), fmt.Sprintf("%d places", len(r.Erased)), fmt.Sprintf("%d kinds", len(r.Kept)))
	}
}
