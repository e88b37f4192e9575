// Package wear holds the commands about maintenance records, how long parts
// last, and what is foreseen of units.
package wear

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

// Shared is what all commands that talk to a service share.
type Shared struct {
	Client *client.Client
	Print  func(cmd *cobra.Command, v any, table func(w io.Writer)) error
	Row    func(w io.Writer, cells ...any)
	Time   func(text string) (time.Time, error)
	Names  func(kind string) cobra.CompletionFunc // completion
}

// Commands are maintenance, life and risk.
func Commands(s Shared) []*cobra.Command {
	return []*cobra.Command{s.maintenance(), s.life(), s.risk()}
}

func (s Shared) maintenance() *cobra.Command {
	cmd := &cobra.Command{
		Use: "maintenance", Aliases: []string{"record", "records"}, Short: "Record what failed and what was done to units",
		Long: `Records of parts put in, failures, replacements and services. Of them the lives
of parts are told (fettle life), and prognosis learns from them (fettle risk).
A unit that was put right is watched anew by its detectors.

Kinds: installation (a part was put in), failure (it failed; nothing was put in
yet), replacement (it was taken out, --reason failed or preventive, and another
one put in), maintenance (it was put right or serviced, and stays in).`,
	}
	cmd.AddCommand(s.list(), s.add(), s.importCmd(), s.remove())
	return cmd
}

func (s Shared) list() *cobra.Command {
	var product, unit, part, kind string
	limit := 100
	cmd := &cobra.Command{
		Use: "list", Short: "List records, newest first", Example: "  fettle maintenance list --unit WC-000017\n  fettle maintenance list --product wall-charger --part fan --kind replacement", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := query(map[string]string{"product": product, "unit": unit, "part": part, "kind": kind})
			records := []maintenance.Record{}
			for len(records) < limit {
				q.Set("limit", strconv.Itoa(min(limit-len(records), 1000)))
				var page wire.Page[maintenance.Record]
				if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/maintenance?"+q.Encode(), nil, &page); err != nil {
					return err
				}
				records = append(records, page.Items...)
				if page.Next == "" {
					break
				}
				q.Set("after", page.Next)
			}
			return s.Print(cmd, records, func(w io.Writer) {
				s.Row(w, "ID", "AT", "UNIT", "PART", "KIND", "BATCH", "SERIAL", "VERSION", "BY", "NOTE")
				for _, r := range records {
					what := string(r.Kind)
					if r.Reason != "" {
						what += " (" + string(r.Reason) + ")"
					}
					s.Row(w, r.ID, r.At, r.UnitID, r.Part, what, r.Batch, r.Serial, r.Version, r.By, oneLine(r.Note))
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&product, "product", "", "only those of a product")
	f.StringVar(&unit, "unit", "", "only those of a unit")
	f.StringVar(&part, "part", "", "only those of a part")
	f.StringVar(&kind, "kind", "", "installation, failure, replacement or maintenance")
	f.IntVar(&limit, "limit", limit, "at most so many, the newest")
	s.complete(cmd)
	return cmd
}

// complete tells the shell what stands behind the flags that several commands have.
func (s Shared) complete(cmd *cobra.Command) {
	for name, fn := range map[string]cobra.CompletionFunc{
		"product": s.Names("product"), "unit": s.Names("unit"), "detector": s.Names("detector"),
		"kind":   cobra.FixedCompletions([]string{"installation", "failure", "replacement", "maintenance"}, cobra.ShellCompDirectiveNoFileComp),
		"reason": cobra.FixedCompletions([]string{"failed", "preventive"}, cobra.ShellCompDirectiveNoFileComp),
		"by":     cobra.FixedCompletions([]string{"batch", "version", "all"}, cobra.ShellCompDirectiveNoFileComp),
		"state":  cobra.FixedCompletions([]string{"heading", "watch", "ok", "unknown"}, cobra.ShellCompDirectiveNoFileComp),
	} {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
				return fn(cmd, nil, start)
			})
		}
	}
}

func query(values map[string]string) url.Values {
	q := url.Values{}
	for k, v := range values {
		if v != "" {
			q.Set(k, v)
		}
	}
	return q
}

func (s Shared) add() *cobra.Command {
	var e wire.MaintenanceEntry
	var kind, reason, at string
	cmd := &cobra.Command{
		Use: "add UNIT --kind KIND", Short: "Record what failed on a unit or was done to it",
		Example: `  fettle maintenance add WC-000017 --part fan --kind replacement --reason failed --batch F24-07 --serial 88123
  fettle maintenance add WC-000017 --kind maintenance --at 2026-03-01 --note "contacts cleaned"`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: s.Names("unit"),
		RunE: func(cmd *cobra.Command, args []string) error {
			e.UnitID, e.Kind, e.Reason = args[0], maintenance.Kind(kind), maintenance.Reason(reason)
			var err error
			if at == "" {
				var session wire.Session
				err = s.Client.Call(cmd.Context(), http.MethodGet, "/v1/session", nil, &session)
				e.At = session.Now
			} else {
				e.At, err = s.Time(at)
			}
			if err != nil {
				return err
			}
			var out wire.MaintenanceAdded
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/maintenance", wire.NewMaintenance{Records: []wire.MaintenanceEntry{e}}, &out); err != nil {
				return err
			}
			return s.Print(cmd, out, func(w io.Writer) {
				if out.Known > 0 {
					fmt.Fprintln(w, "on record already")
					return
				}
				fmt.Fprintln(w, "recorded")
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "", "installation, failure, replacement or maintenance")
	f.StringVar(&reason, "reason", "", "of a replacement: failed or preventive")
	f.StringVar(&at, "at", "", "when, as 2026-03-01 or 2026-03-01T12:00:00Z (default: now)")
	f.StringVar(&e.Part, "part", "", "which part (default: the unit as a whole)")
	f.StringVar(&e.Batch, "batch", "", "batch of the part put in")
	f.StringVar(&e.Serial, "serial", "", "its serial number")
	f.StringVar(&e.Version, "part-version", "", "its hardware version")
	f.StringVar(&e.Note, "note", "", "a remark")
	_ = cmd.MarkFlagRequired("kind")
	s.complete(cmd)
	return cmd
}

func (s Shared) remove() *cobra.Command {
	return &cobra.Command{
		Use: "delete RECORD", Short: "Take back a record that was entered by mistake", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.Client.Call(cmd.Context(), http.MethodDelete, "/v1/maintenance/"+url.PathEscape(args[0]), nil, nil)
		},
	}
}

func (s Shared) life() *cobra.Command {
	var part, by string
	months := 12
	cmd := &cobra.Command{
		Use: "life PRODUCT", Short: "Tell how long a part lasts, by batch or version",
		Long: `How long a part of a product lasts, from maintenance records alone, and how many
of those in use will fail in the months to come. Parts that still work, or were
replaced while they did, count as such. Without --part the parts on record are
listed. Intervals: 95 %; of expected failures 80 %. Ages are calendar days since
the part was put in.`,
		Example: "  fettle life wall-charger\n  fettle life wall-charger --part fan --by version --months 24",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: s.Names("product"),
		RunE: func(cmd *cobra.Command, args []string) error {
			base := "/v1/products/" + url.PathEscape(args[0])
			if !cmd.Flags().Changed("part") {
				var parts wire.List[wire.Part]
				if err := s.Client.Call(cmd.Context(), http.MethodGet, base+"/parts", nil, &parts); err != nil {
					return err
				}
				return s.Print(cmd, parts.Items, func(w io.Writer) {
					s.Row(w, "PART", "RECORDS", "FAILURES")
					for _, p := range parts.Items {
						s.Row(w, orWhole(p.Part), p.Records, p.Failures)
					}
				})
			}
			q := query(map[string]string{"part": part, "by": by, "months": strconv.Itoa(months)})
			var l prognosis.PartLife
			if err := s.Client.Call(cmd.Context(), http.MethodGet, base+"/part-life?"+q.Encode(), nil, &l); err != nil {
				return err
			}
			return s.Print(cmd, l, func(w io.Writer) { s.lifeTable(w, &l) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&part, "part", "", `which part, as maintenance records name it ("": the unit as a whole)`)
	f.StringVar(&by, "by", "batch", "batch, version or all")
	f.IntVar(&months, "months", months, "how far ahead failures are expected, 1 to 60")
	s.complete(cmd)
	return cmd
}

func orWhole(part string) string {
	if part == "" {
		return "(whole unit)"
	}
	return part
}

func (s Shared) lifeTable(w io.Writer, l *prognosis.PartLife) {
	s.Row(w, strings.ToUpper(string(l.By)), "LIVES", "FAILED", "IN USE", "B10 DAYS", "MEDIAN", "SHAPE", "SCALE", fmt.Sprintf("FAIL IN %d MONTHS", l.Months), "WHICH SAYS")
	for _, g := range l.Groups {
		name := g.Name
		if name == "" {
			name = "(none on record)"
		}
		if g.Fit == nil {
			s.Row(w, name, g.Lives, g.Failures, g.Alive, "", "", "", "", "", g.Why)
			continue
		}
		e := g.Expected[len(g.Expected)-1]
		s.Row(w, name, g.Lives, g.Failures, g.Alive, estimate(g.Fit.B10, 0), fmt.Sprintf("%.0f", g.Fit.Median), estimate(g.Fit.Shape, 2), estimate(g.Fit.Scale, 0),
			fmt.Sprintf("%.1f (%.0f to %.0f)", e.Value, e.Low, e.High), g.Fit.Words)
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, l.Comparison)
	unbegun(w, "", l.Unknown)
	if l.Left > 0 {
		fmt.Fprintf(w, "%d smaller groups are left out.\n", l.Left)
	}
}

func estimate(e prognosis.Estimate, digits int) string {
	return fmt.Sprintf("%.*f (%.*f to %.*f)", digits, e.Value, digits, e.Low, digits, e.High)
}

func (s Shared) risk() *cobra.Command {
	cmd := &cobra.Command{
		Use: "risk", Short: "Look at what is foreseen of units: remaining life, limits that will be reached, and the models behind it",
		Long: `What detectors of type prognosis foresee: how long each unit, or a part of it,
is expected to last, with an interval that holds the truth four times in five.
Heading: towards failure, which is likelier than not within the horizon. Watch:
there is a chance of one in ten of that.`,
	}
	cmd.AddCommand(s.riskList(), s.riskStatus(), s.riskModels(), s.riskUnit(), s.riskForecast())
	return cmd
}

func (s Shared) riskList() *cobra.Command {
	var product, detector, state string
	limit := 100
	cmd := &cobra.Command{
		Use: "list", Short: "List units by remaining life, shortest first", Example: "  fettle risk list --product wall-charger --state heading", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := query(map[string]string{"product": product, "detector": detector, "state": state})
			risks := []prognosis.Prediction{}
			for len(risks) < limit {
				q.Set("limit", strconv.Itoa(min(limit-len(risks), 1000)))
				var page wire.Page[prognosis.Prediction]
				if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/risks?"+q.Encode(), nil, &page); err != nil {
					return err
				}
				risks = append(risks, page.Items...)
				if page.Next == "" {
					break
				}
				q.Set("after", page.Next)
			}
			return s.Print(cmd, risks, func(w io.Writer) { s.riskTable(w, risks) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&product, "product", "", "only units of a product")
	f.StringVar(&detector, "detector", "", "only of a detector")
	f.StringVar(&state, "state", "", "heading, watch, ok or unknown")
	f.IntVar(&limit, "limit", limit, "at most so many")
	s.complete(cmd)
	return cmd
}

func (s Shared) riskTable(w io.Writer, risks []prognosis.Prediction) {
	s.Row(w, "UNIT", "DETECTOR", "PART", "STATE", "DAYS LEFT", "80 %", "MODEL", "AT", "REASONS")
	for _, p := range risks {
		if p.State == prognosis.Unknown {
			s.Row(w, p.UnitID, p.Detector, p.Part, p.State, "", "", p.Model, p.At, p.Why)
			continue
		}
		var reasons []string
		for _, r := range p.Reasons {
			reasons = append(reasons, r.Text)
		}
		s.Row(w, p.UnitID, p.Detector, p.Part, p.State, fmt.Sprintf("%.1f", p.Median), fmt.Sprintf("%.1f to %.1f", p.Low, p.High), p.Model, p.At, strings.Join(reasons, ", "))
	}
}

// unbegun tells of lives that are left out.
func unbegun(w io.Writer, of string, n int) {
	lives := "lives"
	switch n {
	case 0:
		return
	case 1:
		lives = "life"
	}
	fmt.Fprintf(w, "%sof %d %s the beginning is not known: left out until it is recorded when those parts were put in (kind installation).\n", of, n, lives)
}

func (s Shared) riskStatus() *cobra.Command {
	var product string
	cmd := &cobra.Command{
		Use: "status", Short: "Tell where prognoses stand: failures they have and need, models, counts", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list wire.List[wire.Prognosis]
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/prognoses?"+query(map[string]string{"product": product}).Encode(), nil, &list); err != nil {
				return err
			}
			return s.Print(cmd, list.Items, func(w io.Writer) {
				s.Row(w, "DETECTOR", "PRODUCT", "PART", "FAILURES", "MODEL", "HEADING", "WATCH", "OK", "UNKNOWN", "WITHHELD", "NEXT", "SILENT BECAUSE")
				for _, p := range list.Items {
					model := ""
					if p.Model > 0 {
						model = strconv.Itoa(p.Model)
					}
					s.Row(w, p.Detector, p.Product, p.Part, fmt.Sprintf("%d of %d needed", p.Failures, p.Needed), model, p.Counts.Heading, p.Counts.Watch, p.Counts.OK, p.Counts.Unknown, p.Withheld, p.NextAt, p.Why)
				}
				for _, p := range list.Items {
					unbegun(w, p.Detector+": ", p.Unknown)
				}
			})
		},
	}
	cmd.Flags().StringVar(&product, "product", "", "only those of a product")
	s.complete(cmd)
	return cmd
}

func (s Shared) riskModels() *cobra.Command {
	return &cobra.Command{
		Use: "models DETECTOR", Short: "List what was learned: the champion, and those it was held against", Args: cobra.ExactArgs(1), ValidArgsFunction: s.Names("detector"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var list wire.List[wire.PrognosisModel]
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/prognoses/"+url.PathEscape(args[0])+"/models", nil, &list); err != nil {
				return err
			}
			return s.Print(cmd, list.Items, func(w io.Writer) {
				s.Row(w, "MODEL", "STATE", "LEARNED", "FAILURES", "OTHERS", "TESTED ON", "MEAN ERROR DAYS", "BY AGE ALONE", "80 % HELD", "VERDICT")
				for _, m := range list.Items {
					held := fmt.Sprintf("%.0f %%", 100*m.Figures.Coverage)
					if m.Widening > 1 {
						held += fmt.Sprintf(", stretched by %.1f", m.Widening)
					}
					s.Row(w, m.Number, m.State, m.TrainedAt, m.Failures, m.Censored, m.Figures.Lives, fmt.Sprintf("%.1f", m.Figures.MAE), fmt.Sprintf("%.1f", m.Age.MAE),
						held, m.Verdict)
				}
			})
		},
	}
}

func (s Shared) riskUnit() *cobra.Command {
	return &cobra.Command{
		Use: "unit UNIT", Short: "Tell what is foreseen of a unit, and was before", Args: cobra.ExactArgs(1), ValidArgsFunction: s.Names("unit"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var u wire.UnitPrognosis
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/units/"+url.PathEscape(args[0])+"/prognosis", nil, &u); err != nil {
				return err
			}
			return s.Print(cmd, u, func(w io.Writer) {
				s.riskTable(w, u.Current)
				if len(u.History) > 0 {
					fmt.Fprintln(w)
					s.riskTable(w, u.History)
				}
			})
		},
	}
}

// oneLine keeps a text from breaking a table, or a terminal.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

// refused makes an error of mistakes in what was typed.
func refused(format string, args ...any) error {
	return fault.New(fault.Invalid, format, args...)
}
