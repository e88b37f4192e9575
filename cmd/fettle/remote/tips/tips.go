// Package tips holds the commands about tips in context: what they say, who
// would get them, what they did, and the feeds they look at.
package tips

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/declare"
	api "fettle.dev/fettle/internal/api/tips"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/tip"
	"fettle.dev/fettle/internal/tip/outside"
)

// Shared is what all commands that talk to a service share.
type Shared struct {
	Client *client.Client
	Print  func(cmd *cobra.Command, v any, table func(w io.Writer)) error
	Row    func(w io.Writer, cells ...any)
	Names  func(kind string) cobra.CompletionFunc // completion
	Time   func(text string) (time.Time, error)
}

// Command is tip with what is below it.
func Command(s Shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "tip", Short: "See tips in context: what they say, who would get them, what they did",
		Long: `See tips in context. They are declared in files of kind Tip (fettle apply, get,
diff, describe; docs/tips.md), and say what helps at the right moment: "humid
today: use the stronger programme".`,
	}
	cmd.AddCommand(preview(s), try(s), effect(s), feeds(s))
	return cmd
}

func preview(s Shared) *cobra.Command {
	return &cobra.Command{
		Use: "preview NAME", Short: "Show a tip in each of its languages", Args: cobra.ExactArgs(1), ValidArgsFunction: s.Names("tip"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out wire.List[api.Preview]
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/tips/"+url.PathEscape(args[0])+"/preview", nil, &out); err != nil {
				return err
			}
			return s.Print(cmd, out.Items, func(w io.Writer) {
				s.Row(w, "LANGUAGE", "TITLE", "TEXT", "BUTTON")
				for _, p := range out.Items {
					s.Row(w, p.Language, p.Title, p.Text, p.Action)
				}
			})
		},
	}
}

func try(s Shared) *cobra.Command {
	var file, from, to string
	cmd := &cobra.Command{
		Use: "try [NAME]", Short: "Say who would have got a tip", Args: cobra.MaximumNArgs(1), ValidArgsFunction: s.Names("tip"),
		Long: `Say who would have got a tip, a declared one or that of a file, by the history
that is held and the choices of owners as they are now. Nothing is given to
anybody. No figure is of 1 to 9 units.`,
		Example: `  fettle tip try humid-today
  fettle tip try -f humid.yaml --from 2026-05-01 --to 2026-05-08`,
		RunE: func(cmd *cobra.Command, args []string) error {
			in := api.Trying{}
			switch {
			case (file == "") == (len(args) == 0):
				return fault.New(fault.Invalid, "either the name of a tip, or a file with --file")
			case file != "":
				t, err := read(file)
				if err != nil {
					return err
				}
				in.Tip = t
			default:
				in.Name = args[0]
			}
			for text, at := range map[string]*time.Time{from: &in.From, to: &in.To} {
				if text == "" {
					continue
				}
				v, err := s.Time(text)
				if err != nil {
					return err
				}
				*at = v
			}
			var out tip.Trial
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/tips/try", in, &out); err != nil {
				return err
			}
			return s.Print(cmd, out, func(w io.Writer) {
				would, given := fmt.Sprint(out.Would), fmt.Sprint(out.Given)
				if out.Few {
					would, given = "fewer than 10", "fewer than 10 units"
				}
				fmt.Fprintf(w, "%s to %s\n%d units whose owners permit it (0: fewer than 10)\nwould have got it: %s\ngiven: %s\n", out.From.Format(time.DateTime), out.To.Format(time.DateTime), out.Units, would, given)
				for _, x := range out.Not {
					n := fmt.Sprint(x.Units)
					if x.Few {
						n = "fewer than 10"
					}
					fmt.Fprintf(w, "not at some time, %s: %s units\n", x.Why, n)
				}
				for _, d := range out.Days {
					n := fmt.Sprint(d.Given)
					if d.Few {
						n = "fewer than 10"
					}
					s.Row(w, d.Day, n)
				}
				if len(out.Unknown) > 0 {
					fmt.Fprintf(w, "nothing was heard of: %s\n", strings.Join(out.Unknown, ", "))
				}
				fmt.Fprintln(w, out.Approach)
			})
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "file of kind Tip, which need not be applied")
	cmd.Flags().StringVar(&from, "from", "", "begin, as 2026-05-01 or 2026-05-01T12:00:00Z (default: a week before the end)")
	cmd.Flags().StringVar(&to, "to", "", "end (default: now)")
	return cmd
}

// read takes the one tip out of a file.
func read(file string) (*tip.Tip, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "read file", err)
	}
	docs, mistakes := declare.ParseFile(file, raw)
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	var found *tip.Tip
	for i := range docs {
		spec, wrong := docs[i].Check()
		if err := fault.Fields(file, wrong); err != nil {
			return nil, err
		}
		if t, ok := spec.(*tip.Tip); ok {
			if found != nil {
				return nil, fault.New(fault.Invalid, "%s holds more than one tip: apply it, and try them by name", file)
			}
			t.Name, found = docs[i].Metadata.Name, t
		}
	}
	if found == nil {
		return nil, fault.New(fault.Invalid, "%s holds no document of kind Tip", file)
	}
	return found, nil
}

func effect(s Shared) *cobra.Command {
	return &cobra.Command{
		Use: "effect NAME", Short: "Say what a tip did", Args: cobra.ExactArgs(1), ValidArgsFunction: s.Names("tip"),
		Long: `Say what the newest version of a tip did: units that were given it, compared with
those held back by lot. "not demonstrated" means that the interval holds 0.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var e tip.Effect
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/tips/"+url.PathEscape(args[0])+"/effect", nil, &e); err != nil {
				return err
			}
			return s.Print(cmd, e, func(w io.Writer) {
				s.Row(w, "UNITS", "ELIGIBLE", "SHOWN", "CLOSED", "ACTED", "USED")
				s.Row(w, "given", units(e.Given.Units), share(e.Given.Shown), share(e.Given.Dismissed), share(e.Given.Acted), share(e.Given.Used))
				s.Row(w, "held back", units(e.Held.Units), "", "", "", share(e.Held.Used))
				switch {
				case e.Difference != nil:
					fmt.Fprintf(w, "%s within %d h: %+.1f points (95 %% interval %+.1f to %+.1f): %s\n", e.Feature, e.Hours, *e.Difference, *e.Low, *e.High, e.Verdict)
				default:
					fmt.Fprintln(w, e.Verdict)
				}
			})
		},
	}
}

func units(n int) string {
	if n == 0 {
		return "fewer than 10"
	}
	return fmt.Sprint(n)
}

func share(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.0f %%", 100**v)
}

func feeds(s Shared) *cobra.Command {
	return &cobra.Command{
		Use: "feeds", Short: "Say how the feeds of outside context are doing", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out wire.List[outside.Status]
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/feeds", nil, &out); err != nil {
				return err
			}
			return s.Print(cmd, out.Items, func(w io.Writer) {
				s.Row(w, "PRODUCT", "FEED", "FROM", "PLACES", "HEARD", "FAILING")
				for _, f := range out.Items {
					heard := "never"
					if !f.HeardAt.IsZero() {
						heard = f.HeardAt.Format(time.RFC3339)
					}
					s.Row(w, f.Product, f.Feed, f.Source, f.Places, heard, f.Failing)
				}
			})
		},
	}
}
