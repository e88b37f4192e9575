// Package words holds the commands about what owners are told: templates and the
// linter of safety notices, who was reached, letters and calls.
package words

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
	api "fettle.dev/fettle/internal/api/words"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/lint"
	"fettle.dev/fettle/internal/notify/template"
)

// Shared is what all commands that talk to a service share. Told ends a command
// with status 1 when what is to be said was printed.
type Shared struct {
	Client *client.Client
	Print  func(cmd *cobra.Command, v any, table func(w io.Writer)) error
	Row    func(w io.Writer, cells ...any)
	Names  func(kind string) cobra.CompletionFunc // completion
	Time   func(text string) (time.Time, error)
	Told   error
}

// Commands are template, lint, notice, reach, letter and call.
func Commands(s Shared) []*cobra.Command {
	return []*cobra.Command{templateCommand(s), lintCommand(s), reachCommand(s), letterCommand(s), callCommand(s)}
}

func templateCommand(s Shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "template", Short: "See the words that people are told",
		Long: `See the words that people are told. They are declared in files of kind Template
(fettle apply, get, diff; docs/notices.md), by channel and language, and replace
the texts that are built in.`,
	}
	list := &cobra.Command{
		Use: "list", Short: "List texts: built in and declared", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out wire.List[api.Text]
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/templates", nil, &out); err != nil {
				return err
			}
			return s.Print(cmd, out.Items, func(w io.Writer) {
				s.Row(w, "NAME", "FOR", "KIND", "PRODUCT", "CAMPAIGN", "LANGUAGES", "ERRORS", "WARNINGS")
				for _, t := range out.Items {
					from := t.For
					if t.Builtin {
						from = "(built in)"
					}
					s.Row(w, t.Name, from, t.Kind, t.Product, t.Campaign, strings.Join(t.Languages, " "), t.Errors, t.Warnings)
				}
			})
		},
	}
	cmd.AddCommand(list, previewCommand(s), testCommand(s))
	return cmd
}

// asked are the flags of a preview.
type asked struct {
	api.PreviewOf
	file, units, letter string
}

func (a *asked) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&a.file, "filename", "f", "", "file with the template, in place of its name: no service is asked")
	f.StringVarP(&a.Language, "language", "l", "", "language of the reader, as de-AT (default: the template's own)")
	f.StringVar(&a.TimeZone, "zone", "", "time zone of the reader, as Europe/Vienna (default UTC)")
	f.StringVar(&a.units, "units", "", "units of measure: metric, us or uk (default: by the language's region)")
	f.StringVar(&a.UnitID, "unit", "", "a real unit, with its owner's name, language and units; needs permission to see owners")
}

func (a *asked) check(args []string) error {
	a.Units = template.System(a.units)
	switch {
	case (a.file == "") == (len(args) == 0):
		return fault.New(fault.Invalid, "name a template, or give -f FILE")
	case a.file != "" && a.UnitID != "":
		return fault.New(fault.Invalid, "--unit needs a template that the service has: name it")
	}
	if len(args) == 1 {
		a.Name = args[0]
	}
	return nil
}

func previewCommand(s Shared) *cobra.Command {
	var a asked
	cmd := &cobra.Command{
		Use: "preview [NAME]", Short: "Show what would be said, on each channel",
		Long: `Show what would be said on each channel, with samples for the placeholders, or
with a real unit and its owner (--unit). With -f a file is shown that has not been
applied, without a service. --letter writes the letter as PDF.`,
		Example: "  fettle template preview updateOffer --language de-AT --zone Europe/Vienna\n  fettle template preview -f recall.yaml --letter recall.pdf\n  fettle template preview plug-recall --unit WC-000017",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.check(args); err != nil {
				return err
			}
			var p api.Preview
			if a.file != "" {
				return a.local(cmd, s)
			}
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/templates/preview", a.PreviewOf, &p); err != nil {
				return err
			}
			if a.letter != "" {
				if err := download(cmd, s, http.MethodPost, "/v1/templates/letter", a.PreviewOf, a.letter); err != nil {
					return err
				}
			}
			return s.Print(cmd, p, func(w io.Writer) { show(w, &p.Rendered, p.Lint) })
		},
	}
	a.flags(cmd)
	cmd.Flags().StringVar(&a.letter, "letter", "", "also write the letter to this file, as PDF")
	return cmd
}

// local shows templates of a file.
func (a *asked) local(cmd *cobra.Command, s Shared) error {
	docs, err := templates(cmd.InOrStdin(), []string{a.file})
	if err != nil {
		return err
	}
	zone, err := time.LoadLocation(a.TimeZone)
	if err != nil {
		return fault.New(fault.Invalid, "--zone %q: expected an IANA time zone, as Europe/Oslo", a.TimeZone)
	}
	for _, d := range docs {
		if len(docs) > 1 {
			fmt.Fprintf(cmd.OutOrStdout(), "# %s\n", d.spec.Name)
		}
		reader := template.Reader{Locale: a.Language, Zone: zone, Units: a.Units}
		if reader.Locale == "" {
			reader.Locale = d.spec.Default()
		}
		r, err := d.spec.Render(reader, d.spec.Sample())
		if err != nil {
			return err
		}
		if a.letter != "" {
			if err := writeLetter(a.letter, r); err != nil {
				return err
			}
		}
		if err := s.Print(cmd, r, func(w io.Writer) { show(w, r, lint.Template(d.spec)) }); err != nil {
			return err
		}
	}
	return nil
}

// show prints a preview for people.
func show(w io.Writer, r *template.Rendered, found []lint.Finding) {
	fmt.Fprintf(w, "%s (%s), in %s (looked for %s)\n", r.Template, r.Source, r.Language, strings.Join(r.Tried, ", "))
	part := func(title, text string) {
		fmt.Fprintf(w, "\n== %s\n%s\n", title, strings.TrimRight(text, "\n"))
	}
	part("mail", "Subject: "+r.Mail.Subject+"\n\n"+r.Mail.Text)
	n := r.SMS.Segments
	part(fmt.Sprintf("sms (%d characters, %d %s of %s)", n.Characters, n.Segments, plural(n.Segments, "segment"), n.Encoding), r.SMS.Text)
	if n.Odd != "" {
		fmt.Fprintf(w, "(%q %s not in the GSM alphabet)\n", n.Odd, map[bool]string{true: "is", false: "are"}[len([]rune(n.Odd)) == 1])
	}
	part("push", r.Push.Title+"\n"+r.Push.Text)
	part("voice", r.Voice.Text)
	if r.Letter.Text != r.Mail.Text || r.Letter.Subject != r.Mail.Subject {
		part("letter", r.Letter.Subject+"\n\n"+r.Letter.Text)
	}
	if r.Call.Script != r.Mail.Text {
		part("call", r.Call.Script)
	}
	if len(found) > 0 {
		fmt.Fprintln(w, "\n== lint")
		for _, f := range found {
			fmt.Fprintf(w, "%s: %s\n", f.Severity, f)
		}
		fmt.Fprintln(w, lint.Disclaimer)
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func testCommand(s Shared) *cobra.Command {
	var a asked
	cmd := &cobra.Command{
		Use: "test [NAME]", Short: "Send a preview to yourself by mail", Args: cobra.MaximumNArgs(1),
		Long: "Send a preview by mail to the address that you are an operator by.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.check(args); err != nil {
				return err
			}
			if a.file != "" {
				docs, err := templates(cmd.InOrStdin(), []string{a.file})
				if err != nil {
					return err
				}
				a.Name, a.Spec = docs[0].spec.Name, wire.Spec(docs[0].doc.Spec)
			}
			var out api.Tested
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/templates/test", a.PreviewOf, &out); err != nil {
				return err
			}
			return s.Print(cmd, out, func(w io.Writer) { fmt.Fprintf(w, "sent to %s: %s\n", out.To, out.Subject) })
		},
	}
	a.flags(cmd)
	return cmd
}

// read is a template of a file.
type read struct {
	doc  declare.Located
	spec *template.Spec
}

// templates reads the templates among the documents of files. Their mistakes
// are told by their places.
func templates(stdin io.Reader, files []string) ([]read, error) {
	docs, mistakes, err := declare.ReadFiles(stdin, files)
	if err != nil {
		return nil, err
	}
	var out []read
	for _, d := range docs {
		if d.Kind != declare.Template {
			continue
		}
		spec, fields := d.Check()
		t, _ := spec.(*template.Spec)
		if t != nil {
			if t.Name = d.Metadata.Name; len(fields) == 0 {
				fields = t.Validate()
			}
		}
		mistakes = append(mistakes, d.Locate(fields)...)
		out = append(out, read{d, t})
	}
	switch {
	case len(mistakes) > 0:
		return nil, mistakes
	case len(out) == 0:
		return nil, fmt.Errorf("%s: no documents of kind Template", strings.Join(files, ", "))
	}
	return out, nil
}

func lintCommand(s Shared) *cobra.Command {
	var language string
	cmd := &cobra.Command{
		Use: "lint FILE|DIR...", Short: "Look at safety notices for what the law wants to stand in them",
		Long: `Look at safety notices for what Regulation (EU) 2023/988 (GPSR) art. 36(2) wants
to stand in them, and for words that play the danger down. Files of kind Template
(YAML, JSON) are looked at by their kind, and also their mistakes are told; any
other file is read as a notice in full, in plain text, whose first line is the
headline (--language). No service is asked.

` + lint.Disclaimer + `

Exit status: 0 nothing found, or warnings alone; 1 errors; 2 it could not be read.`,
		Example: "  fettle lint fleet/\n  fettle lint --language de rueckruf.txt",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			type placed struct {
				File string `json:"file"`
				Line int    `json:"line"`
				lint.Finding
			}
			all := []placed{}
			var declared []string
			for _, name := range args {
				switch ext := strings.ToLower(filepath.Ext(name)); {
				case name == "-", ext == ".yaml", ext == ".yml", ext == ".json", ext == "":
					declared = append(declared, name)
				default:
					raw, err := os.ReadFile(name)
					if err != nil {
						return fault.Wrap(fault.Invalid, "", err)
					}
					for _, f := range lint.Text(language, string(raw)) {
						all = append(all, placed{name, max(f.Line, 1), f})
					}
				}
			}
			if len(declared) > 0 {
				docs, err := templates(cmd.InOrStdin(), declared)
				if mistakes, ok := errors.AsType[declare.MistakesError](err); ok {
					return mistakes
				}
				if err != nil {
					return fault.Wrap(fault.Invalid, "", err)
				}
				for _, d := range docs {
					for _, f := range lint.Template(d.spec) {
						line, _ := d.doc.Position(f.Path)
						if f.Line > 0 {
							line += f.Line // a text in a block begins on the line after its key
						}
						all = append(all, placed{d.doc.File, line, f})
					}
				}
			}
			bad := false
			err := s.Print(cmd, all, func(w io.Writer) {
				for _, f := range all {
					at := f.Path
					if at == "text" {
						at = "notice"
					}
					fmt.Fprintf(w, "%s:%d: %s: %s: %s [%s]\n", f.File, f.Line, f.Severity, at, f.Say, f.Article)
				}
				if len(all) == 0 {
					fmt.Fprintln(w, "nothing found")
				}
				fmt.Fprintln(w, lint.Disclaimer)
			})
			for _, f := range all {
				bad = bad || f.Severity == lint.Error
			}
			if err == nil && bad {
				err = s.Told
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&language, "language", "l", "en", "language of notices in plain text: en, de, fr, es or sv")
	return cmd
}

func reachCommand(s Shared) *cobra.Command {
	var plan, owners bool
	var state, file string
	cmd := &cobra.Command{
		Use: "reach CAMPAIGN", Short: "Show how far a campaign's owners could be reached",
		Long: `Show how far a campaign's owners could be reached, and on which step of its ladder
they are; unreachable is what NHTSA's quarterly file calls TTLUNREACH. With --plan:
how many owners each step can reach, before anything is sent. With --owners: each
owner with the steps that were taken and what came of them; --state unreachable
lists those whom nothing reached, --csv writes them to a file.`,
		Example: "  fettle reach plug-recall --plan\n  fettle reach plug-recall\n  fettle reach plug-recall --state unreachable --csv unreachable.csv",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: s.Names("campaign"),
		RunE: func(cmd *cobra.Command, args []string) error {
			base := "/v1/campaigns/" + url.PathEscape(args[0])
			if plan {
				var p api.Plan
				if err := s.Client.Call(cmd.Context(), http.MethodGet, base+"/ladder", nil, &p); err != nil {
					return err
				}
				return s.Print(cmd, p, func(w io.Writer) {
					s.Row(w, "STEP", "CHANNEL", "AFTER", "OWNERS", "WITHOUT ADDRESS", "ALWAYS")
					for i, x := range p.Steps {
						s.Row(w, i+1, x.Channel, x.After, x.Owners, x.Without, x.Always)
					}
					s.Row(w, "", "unreachable", p.GiveUp, p.Unreachable)
					s.Row(w, "", "without owner", "", p.NoOwner)
				})
			}
			if state != "" && !slices.Contains(ladder.States, ladder.State(state)) {
				return fault.New(fault.Invalid, "--state %q: expected climbing, acknowledged, remedied, opted out, unreachable or ended", state)
			}
			if owners || state != "" || file != "" {
				return climbs(cmd, s, args[0], state, file)
			}
			return reach(cmd, s, base)
		},
	}
	cmd.Flags().BoolVar(&owners, "owners", false, "each owner, with the steps that were taken")
	cmd.Flags().StringVar(&state, "state", "", "only owners who are climbing, acknowledged, remedied, opted out, unreachable or ended")
	cmd.Flags().StringVar(&file, "csv", "", "file to write the owners to, as CSV")
	cmd.Flags().BoolVar(&plan, "plan", false, "how many each step can reach: nothing is sent")
	cmd.MarkFlagsMutuallyExclusive("plan", "owners")
	cmd.MarkFlagsMutuallyExclusive("plan", "state")
	cmd.MarkFlagsMutuallyExclusive("plan", "csv")
	return cmd
}
