// Package release holds the commands about what becomes of releases, and about
// the register of versions.
package release

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/releases"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/update"
)

// Shared is what all commands that talk to a service share.
type Shared struct {
	Client *client.Client
	Print  func(cmd *cobra.Command, v any, table func(w io.Writer)) error
	Row    func(w io.Writer, cells ...any)
	Names  func(kind string) cobra.CompletionFunc // completion

	Confirm func(cmd *cobra.Command, yes bool, question string) error // asks before what cannot be undone
}

// Commands are release and register.
func Commands(s Shared) []*cobra.Command { return []*cobra.Command{s.release(), s.register()} }

func (s Shared) release() *cobra.Command {
	cmd := &cobra.Command{
		Use: "release", Aliases: []string{"releases"}, Short: "See what became of releases, withdraw one, go back from one",
		Long: `Releases are declared in files (fettle apply) and brought out by campaigns. These
commands say how one stands, who has it, and why a unit is not offered it; they
withdraw it, and issue old content again to go back from it.`,
	}
	cmd.AddCommand(s.list(), s.withdraw(), s.revert(), s.units(), s.why())
	return cmd
}

func at(name, what string) string { return "/v1/releases/" + url.PathEscape(name) + what }

func (s Shared) list() *cobra.Command {
	var product string
	cmd := &cobra.Command{
		Use: "list", Short: "List releases as they stand, newest counter first", Example: "  fettle release list --product wall-charger", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			if product != "" {
				q.Set("product", product)
			}
			list, err := all[releases.Release](s, cmd, "/v1/releases", q, 0)
			if err != nil {
				return err
			}
			return s.Print(cmd, list, func(w io.Writer) {
				s.Row(w, "NAME", "PRODUCT", "VERSION", "KIND", "COUNTER", "MINUTES", "SUPPORT ENDS", "STATE")
				for i := range list {
					r := &list[i]
					s.Row(w, r.Name, r.Product, r.Version, r.Kind, r.Counter, minutes(r.Takes), r.SupportEnd, state(r))
				}
			})
		},
	}
	cmd.Flags().StringVar(&product, "product", "", "only those of a product")
	_ = cmd.RegisterFlagCompletionFunc("product", s.Names("product"))
	return cmd
}

func minutes(m update.Minutes) string {
	if m.Measured == "declared" {
		return fmt.Sprintf("%d (declared)", m.Minutes)
	}
	return fmt.Sprintf("%d (measured, %d installations of the %s)", m.Minutes, m.Of, m.Measured)
}

func state(r *releases.Release) string {
	switch {
	case r.Withdrawn != nil:
		return "withdrawn: " + r.Withdrawn.Why
	case !r.Supported:
		return "support has ended"
	default:
		return ""
	}
}

func (s Shared) withdraw() *cobra.Command {
	var why string
	var yes bool
	cmd := &cobra.Command{
		Use: "withdraw NAME --why TEXT", Short: "Offer a release to nobody any more",
		Long: `Withdraw a release: from this moment it is offered to nobody and no file of it
can be fetched. What no unit has begun ends at once; units that have begun are
asked to stop at their next poll. It cannot be undone: to offer the content
after all, issue it again (fettle release revert).

fettle release units NAME lists who has it.`,
		Example: `  fettle release withdraw charger-2.0.0 --why "charging stops after an hour; see problem 31"`,
		Args:    cobra.ExactArgs(1), ValidArgsFunction: s.Names("release"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.Confirm(cmd, yes, fmt.Sprintf("Really withdraw release %s? It cannot be undone.", args[0])); err != nil {
				return err
			}
			var out update.Withdrawn
			if err := s.Client.Call(cmd.Context(), http.MethodPost, at(args[0], "/withdraw"), map[string]string{"why": why}, &out); err != nil {
				return err
			}
			return s.Print(cmd, out, func(w io.Writer) {
				fmt.Fprintf(w, "release %s is withdrawn: %d assignments ended, %d units asked to stop, %d too late\n", args[0], out.Canceled, out.Asked, out.TooLate)
			})
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "the reason, for everybody who looks for the release (required)")
	_ = cmd.MarkFlagRequired("why")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (s Shared) revert() *cobra.Command {
	var in releases.Revert
	var notes map[string]string
	cmd := &cobra.Command{
		Use: "revert NAME --why TEXT", Short: "Make the way back from a release that went wrong",
		Long: `Issue the content of an older release again under a higher counter, and draft a
campaign for the units that report the bad version, in the shape of the campaign
that brought it out. Nothing is offered yet: look at the draft, then start it
(fettle campaign start). Units never take a release of a lower counter than they
have run, which is why the old release itself would not do.`,
		Example: `  fettle release revert charger-2.0.0 --why "charging stops after an hour"
  fettle release revert charger-2.0.0 --to charger-1.9.0 --name charger-1.9.0-b --why "..." --notes en="Goes back to 1.9."`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: s.Names("release"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Notes = notes
			var out releases.Reverted
			if err := s.Client.Call(cmd.Context(), http.MethodPost, at(args[0], "/revert"), in, &out); err != nil {
				return err
			}
			return s.Print(cmd, out, func(w io.Writer) {
				fmt.Fprintf(w, "release %s (counter %d) is there, and offered to nobody yet\n%s\n", out.Release, out.Counter, out.Notes)
				if out.Campaign != "" {
					fmt.Fprintf(w, "campaign %s is a draft for cohort %s; when that is ready: fettle campaign dry-run %s, then fettle campaign start %s\n", out.Campaign, out.Cohort, out.Campaign, out.Campaign)
					return
				}
				fmt.Fprintln(w, out.Missing)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Why, "why", "", "the reason, kept in the new release's notes for engineers (required)")
	f.StringVar(&in.To, "to", "", "the release whose content is issued again (default: the newest before it that was not withdrawn and has not failed on most units)")
	f.StringVar(&in.Name, "name", "", "name of the new release (default: made of the old one's and the counter)")
	f.StringToStringVar(&notes, "notes", nil, "what owners are told, LANGUAGE=TEXT; once for each language")
	_ = cmd.MarkFlagRequired("why")
	_ = cmd.RegisterFlagCompletionFunc("to", s.Names("release"))
	return cmd
}

func (s Shared) units() *cobra.Command {
	var holding string
	limit := 1000
	cmd := &cobra.Command{
		Use: "units NAME", Short: "List the units that have or had a release, or are on the way to it",
		Long: `List the units that a release concerns, by id: those that report its versions,
wherever they got them, and those with an assignment of it.`,
		Example: `  fettle release units charger-2.0.0 --holding "has it"`,
		Args:    cobra.ExactArgs(1), ValidArgsFunction: s.Names("release"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			if holding != "" {
				q.Set("holding", holding)
			}
			list, err := all[update.Holder](s, cmd, at(args[0], "/units"), q, limit)
			if err != nil {
				return err
			}
			return s.Print(cmd, list, func(w io.Writer) {
				s.Row(w, "UNIT", "HOLDING", "VERSIONS", "ASSIGNMENT", "STATE", "SINCE")
				for i := range list {
					h := &list[i]
					s.Row(w, h.UnitID, h.Holding, versions(h.Versions), h.Assignment, h.State, h.At)
				}
			})
		},
	}
	cmd.Flags().StringVar(&holding, "holding", "", `only those that: "has it", "had it", "on the way", "not begun" or "never had"`)
	cmd.Flags().IntVar(&limit, "limit", limit, "at most so many; 0: all")
	_ = cmd.RegisterFlagCompletionFunc("holding", cobra.FixedCompletions([]string{"has it", "had it", "on the way", "not begun", "never had"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func versions(m map[string]string) string {
	var out []string
	for c, v := range m {
		out = append(out, c+" "+v)
	}
	return strings.Join(sorted(out), ", ")
}

func (s Shared) why() *cobra.Command {
	return &cobra.Command{
		Use: "why NAME UNIT", Short: "Say why a unit would not be offered a release at this moment",
		Long: `Say whether a unit may be offered a release, by all that is known of both at this
moment: product, hardware, versions, counter, preconditions over its last values.
What its campaign waits for (its wave, working hours, other units) says fettle
campaign tasks.`,
		Example: "  fettle release why charger-2.0.0 WC-000017", Args: cobra.ExactArgs(2), ValidArgsFunction: s.Names("release"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out releases.WhyNot
			if err := s.Client.Call(cmd.Context(), http.MethodGet, at(args[0], "/units/"+url.PathEscape(args[1])), nil, &out); err != nil {
				return err
			}
			return s.Print(cmd, out, func(w io.Writer) {
				if out.Refusal == nil {
					fmt.Fprintln(w, "it may be offered, as far as unit and release go (a campaign's own limits: fettle campaign tasks)")
					return
				}
				fmt.Fprintf(w, "%s: %s\n", out.Refusal.Code, out.Refusal.Why)
			})
		},
	}
}

// all reads pages up to limit items (0: all).
func all[T any](s Shared, cmd *cobra.Command, path string, q url.Values, limit int) ([]T, error) {
	const page = 1000
	list := []T{}
	for limit == 0 || len(list) < limit {
		n := page
		if limit > 0 {
			n = min(n, limit-len(list))
		}
		q.Set("limit", strconv.Itoa(n))
		var p wire.Page[T]
		if err := s.Client.Call(cmd.Context(), http.MethodGet, path+"?"+q.Encode(), nil, &p); err != nil {
			return nil, err
		}
		list = append(list, p.Items...)
		if p.Next == "" {
			break
		}
		q.Set("after", p.Next)
	}
	return list, nil
}
