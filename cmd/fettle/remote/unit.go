package remote

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/cmd/fettle/remote/codes"
	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/fleet"
)

func newUnitCmd(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "unit", Short: "Issue units' tokens and claim codes; revoke, retire and restore units"}
	cmd.AddCommand(
		&cobra.Command{
			Use:               "token UNIT",
			Short:             "Issue a unit's token",
			Long:              "Issue a unit's token and print it, once. The one it had stops working, and what used it is disconnected.",
			Example:           "  fettle unit token WC-000123",
			Args:              cobra.ExactArgs(1),
			ValidArgsFunction: c.completeNames("unit"),
			RunE: func(cmd *cobra.Command, args []string) error {
				var t wire.UnitToken
				if err := c.Call(cmd.Context(), http.MethodPost, "/v1/units"+segment(args[0])+"/token", struct{}{}, &t); err != nil {
					return err
				}
				return c.print(cmd, t, func(w io.Writer) { fmt.Fprintln(w, t.Token) })
			},
		},
		newUnitTokensCmd(c),
		codes.Command(codes.Shared{Client: &c.Client, Print: c.print, Row: row, Names: c.completeNames}),
	)
	for _, v := range []struct{ verb, done, short, question string }{
		{"revoke", "revoked", "Refuse a unit from now on and disconnect it", ""},
		{"retire", "retired", "Take a unit out of service: it is refused and no longer watched", ""},
		{"restore", "restored", "Take a revoked or retired unit back", ""},
	} {
		cmd.AddCommand(&cobra.Command{
			Use: v.verb + " UNIT", Short: v.short, Example: "  fettle unit " + v.verb + " WC-000123",
			Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames("unit"),
			RunE: func(cmd *cobra.Command, args []string) error {
				var u wire.Unit
				if err := c.Call(cmd.Context(), http.MethodPost, "/v1/units"+segment(args[0])+"/"+v.verb, struct{}{}, &u); err != nil {
					return err
				}
				return c.print(cmd, u, func(w io.Writer) { fmt.Fprintf(w, "unit %s %s\n", u.ID, v.done) })
			},
		})
	}
	return cmd
}

func newUnitTokensCmd(c *cli) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "tokens --file units.csv",
		Short: "Issue tokens for many units, as CSV",
		Long: `Issue tokens for the units in the first column of a CSV file (a header "unit" or
"id" is left out; - reads standard input) and print lines of unit,token. All or
nothing.`,
		Example: "  fettle unit tokens --file units.csv > tokens.csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			r := cmd.InOrStdin()
			if file != "-" {
				f, err := os.Open(file)
				if err != nil {
					return err
				}
				defer f.Close()
				r = f
			}
			units, err := client.FirstColumn(r)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			var out wire.List[wire.UnitToken]
			if err := c.Call(cmd.Context(), http.MethodPost, "/v1/unit-tokens", map[string]any{"units": units}, &out); err != nil {
				return err
			}
			if c.output == "json" {
				return c.print(cmd, out.Items, nil)
			}
			w := csv.NewWriter(cmd.OutOrStdout())
			rows := [][]string{{"unit", "token"}}
			for _, t := range out.Items {
				rows = append(rows, []string{t.UnitID, t.Token})
			}
			return w.WriteAll(rows)
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "CSV file with a unit's id in the first column; - reads standard input")
	_ = cmd.MarkFlagRequired("file")
	_ = cmd.MarkFlagFilename("file", "csv")
	return cmd
}

func (c *cli) describeUnit(cmd *cobra.Command, id string) error {
	var u wire.UnitDetail
	ctx, path := cmd.Context(), "/v1/units"+segment(id)
	if err := c.Call(ctx, http.MethodGet, path, nil, &u); err != nil {
		return err
	}
	var latest wire.List[wire.LatestValue]
	if err := c.Call(ctx, http.MethodGet, path+"/latest", nil, &latest); err != nil {
		return err
	}
	var acc wire.Account
	if err := c.Call(ctx, http.MethodGet, path+"/accounting", nil, &acc); err != nil {
		return err
	}
	whole := struct {
		wire.UnitDetail
		Latest     []wire.LatestValue `json:"latest"`
		Accounting wire.Account       `json:"accounting"`
	}{u, latest.Items, acc}
	return c.print(cmd, whole, func(w io.Writer) {
		row(w, "Unit:", u.ID)
		row(w, "Product:", u.Product)
		row(w, "Serial:", u.Serial)
		row(w, "State:", fmt.Sprintf("%s, credential: %s", u.State, u.Credential))
		row(w, "Condition:", fmt.Sprintf("%s: %s", u.Condition, u.ConditionWhy))
		row(w, "Last contact:", u.LastContact)
		row(w, "Clock:", clockSkew(u.ClockSkew))
		row(w, "Version:", u.Versions[fleet.MainComponent])
		row(w, "Hardware, batch, region:", fmt.Sprintf("%s, %s, %s", dash(u.Hardware), dash(u.Batch), dash(u.Region)))
		if u.Owner != nil {
			row(w, "Owner:", strings.TrimSpace(u.Owner.Name+" <"+u.Owner.Email+">"))
		}
		for _, p := range u.Permitted {
			row(w, "Purpose "+p.Name+":", fmt.Sprintf("%s (%s)", map[bool]string{true: "permitted", false: "not permitted"}[p.Permitted], p.Basis))
		}
		for _, v := range latest.Items {
			text := "-"
			switch {
			case v.Withheld:
				text = "withheld: the owner permits none of its purposes"
			case v.Text != nil:
				text = fmt.Sprintf("%s (%s)", *v.Text, when(v.At))
			case v.Number != nil && v.Type == fleet.Boolean:
				text = fmt.Sprintf("%t (%s)", *v.Number != 0, when(v.At))
			case v.Number != nil:
				text = fmt.Sprintf("%s (%s)", words.Measured(*v.Number, v.Unit), when(v.At))
			}
			row(w, "Signal "+v.Signal+":", text)
		}
		for _, e := range u.Exposures {
			row(w, fmt.Sprintf("Exposure %s@%d:", e.Detector.Name, e.Detector.Version), fmt.Sprintf("%.1f h since %s", e.Hours, when(e.Since)))
		}
		row(w, "Samples:", fmt.Sprintf("%d acknowledged = %d stored + %d not consented + %d undeclared + %d duplicate + %d invalid",
			acc.Acknowledged, acc.Stored, acc.NotConsented, acc.Undeclared, acc.Duplicate, acc.Invalid))
		for _, f := range u.Open {
			row(w, "Finding "+f.ID+":", fmt.Sprintf("%s, %s: %s", f.Severity, f.Title, f.Why))
		}
	})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// counts writes numbers by name, most first.
func counts(m map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		return strings.Compare(a, b)
	})
	var out []string
	for _, k := range keys {
		if m[k] > 0 {
			out = append(out, fmt.Sprintf("%d %s", m[k], k))
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// fields is a document's specification by field.
func fields(d wire.Document) map[string]any {
	var spec map[string]any
	_ = json.Unmarshal(d.Spec, &spec) // the service sent an object
	return spec
}

// clockSkew says how far a unit's clock is off.
func clockSkew(seconds *float64) string {
	switch {
	case seconds == nil:
		return "not known: nothing with a time of its own came since the server started"
	case *seconds >= clockOff:
		return round(*seconds) + " ahead of the server's"
	case *seconds <= -clockOff:
		return round(-*seconds) + " behind the server's, or all it sends is that late"
	default:
		return "right"
	}
}

// clockOff is from how many seconds on a clock is said to be wrong: a message
// may take a moment.
const clockOff = 5

func round(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}
