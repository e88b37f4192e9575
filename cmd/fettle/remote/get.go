package remote

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// filters are what lists may be narrowed by.
type filters struct{ product, state, condition, batch, hardware, region, version, search string }

func (f *filters) flags(cmd *cobra.Command) {
	for _, v := range []struct {
		p          *string
		name, help string
	}{
		{&f.product, "product", "only those of a product"},
		{&f.state, "state", "only those in a state"},
		{&f.condition, "condition", "units: normal, degraded, failed, silent or unknown"},
		{&f.batch, "batch", "units of a batch"},
		{&f.hardware, "hardware", "units of a hardware revision"},
		{&f.region, "region", "units of a region"},
		{&f.version, "version", "units with a software version"},
		{&f.search, "search", "units: part of an id or serial"},
	} {
		cmd.Flags().StringVar(v.p, v.name, "", v.help)
	}
	_ = cmd.RegisterFlagCompletionFunc("condition", cobra.FixedCompletions([]string{"normal", "degraded", "failed", "silent", "unknown"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *filters) query() url.Values {
	q := url.Values{}
	for k, v := range map[string]string{
		"product": f.product, "state": f.state, "condition": f.condition, "batch": f.batch,
		"hardware": f.hardware, "region": f.region, "version": f.version, "q": f.search,
	} {
		if v != "" {
			q.Set(k, v)
		}
	}
	return q
}

func newGetCmd(c *cli) *cobra.Command {
	var f filters
	var events eventFlags
	cmd := &cobra.Command{
		Use:   "get KIND [NAME]",
		Short: "List things, or print one as it is declared",
		Long: `List things of a kind, or print one. Kinds: product, unit, detector, release,
campaign, template, ladder, tip (also plural, or p, u, d, r, c, tpl, lad),
finding, cohort, claim, event. With -o yaml, what was declared is printed as a
file that "fettle apply" takes.`,
		Example: `  fettle get products
  fettle get units --product wall-charger --condition degraded
  fettle get detector plug-overheat -o yaml > plug-overheat.yaml
  fettle get events --unit WC-000123 --kind fault`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: c.completeKinds("finding", "cohort", "claim", "event"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := misplaced(cmd, strip(args[0])); err != nil {
				return err
			}
			switch strip(args[0]) {
			case "finding":
				if len(args) == 2 {
					return c.showFinding(cmd, args[1])
				}
				return c.listFindings(cmd, f.query())
			case "cohort":
				if len(args) == 2 {
					return c.showCohort(cmd, args[1])
				}
				return c.listCohorts(cmd, f.product)
			case "claim":
				return c.listClaims(cmd, f.query())
			case "event":
				return c.listEvents(cmd, &events)
			}
			kind, err := declare.ParseKind(args[0])
			if err != nil {
				return fault.New(fault.Invalid, "%v, finding, cohort, claim, event", err)
			}
			if len(args) == 2 {
				return c.getOne(cmd, kind, args[1])
			}
			return c.getAll(cmd, kind, &f)
		},
	}
	f.flags(cmd)
	events.flags(cmd, c)
	return cmd
}

// misplaced refuses flags that are for another kind alone: unheeded, more would
// be listed than was asked for.
func misplaced(cmd *cobra.Command, kind string) error {
	for of, names := range map[string][]string{
		"unit":  {"condition", "batch", "hardware", "region", "version", "search"},
		"event": {"unit", "kind", "from", "to", "limit"},
	} {
		for _, name := range names {
			if of != kind && cmd.Flags().Changed(name) {
				return fault.New(fault.Invalid, "--%s is for %ss alone", name, of)
			}
		}
	}
	return nil
}

func declaredPath(kind declare.Kind, name string) string {
	path := "/v1/declared" + segment(kind.Short()[0])
	if name != "" {
		path += segment(name)
	}
	return path
}

func (c *cli) getOne(cmd *cobra.Command, kind declare.Kind, name string) error {
	var d wire.Document
	if err := c.Call(cmd.Context(), http.MethodGet, declaredPath(kind, name), nil, &d); err != nil {
		return err
	}
	if c.output == "json" {
		return c.print(cmd, d, nil)
	}
	return writeYAML(cmd.OutOrStdout(), d) // what is declared is a file; a table would hide most of it
}

func (c *cli) getAll(cmd *cobra.Command, kind declare.Kind, f *filters) error {
	ctx := cmd.Context()
	switch {
	case kind == declare.Unit && c.output != "yaml":
		units, err := client.All[wire.Unit](ctx, &c.Client, "/v1/units", f.query())
		if err != nil {
			return err
		}
		return c.print(cmd, units, func(w io.Writer) {
			row(w, "ID", "PRODUCT", "STATE", "CONDITION", "VERSION", "HARDWARE", "BATCH", "REGION")
			for _, u := range units {
				row(w, u.ID, u.Product, u.State, u.Condition, u.Versions[fleet.MainComponent], u.Hardware, u.Batch, u.Region)
			}
		})
	case kind == declare.Campaign && c.output != "yaml":
		return c.listCampaigns(cmd, f.query())
	}
	if q := f.query(); len(q) > 1 || len(q) == 1 && f.product == "" {
		return fault.New(fault.Invalid, "%ss as they are declared are narrowed by --product alone", kind.Short()[0])
	}
	docs, err := client.All[wire.Document](ctx, &c.Client, declaredPath(kind, ""), nil)
	if err != nil {
		return err
	}
	docs = slices.DeleteFunc(docs, func(d wire.Document) bool {
		return f.product != "" && kind != declare.Product && fields(d)["product"] != f.product
	})
	if c.output == "yaml" {
		for i, d := range docs {
			if i > 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "---")
			}
			if err := writeYAML(cmd.OutOrStdout(), d); err != nil {
				return err
			}
		}
		return nil
	}
	return c.print(cmd, docs, func(w io.Writer) { declaredTable(w, kind, docs) })
}

// columns of a kind: heading and field of the specification.
var columns = map[declare.Kind][][2]string{
	declare.Product:  {{"TITLE", "title"}},
	declare.Tip:      {{"PRODUCT", "product"}, {"PURPOSE", "purpose"}, {"WHEN", "when"}, {"PAUSED", "paused"}},
	declare.Detector: {{"PRODUCT", "product"}, {"TYPE", "type"}, {"SEVERITY", "severity"}, {"TITLE", "title"}},
	declare.Release:  {{"PRODUCT", "product"}, {"VERSION", "version"}, {"KIND", "kind"}, {"MINUTES", "minutes"}},
}

func declaredTable(w io.Writer, kind declare.Kind, docs []wire.Document) {
	heads := []any{"NAME"}
	for _, col := range columns[kind] {
		heads = append(heads, col[0])
	}
	row(w, heads...)
	for _, d := range docs {
		spec := fields(d)
		cells := []any{d.Metadata.Name}
		for _, col := range columns[kind] {
			cell := spec[col[1]]
			if cell == nil {
				cell = ""
			}
			cells = append(cells, cell)
		}
		row(w, cells...)
	}
}

func newDeleteCmd(c *cli) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete KIND NAME",
		Short: "Delete a declared thing, a unit with its history, or a cohort",
		Long: `Delete a declared thing. What something still uses is refused, saying by what.
A unit is disconnected, and its history is erased.`,
		Example: `  fettle delete detector plug-overheat
  fettle delete unit WC-000123 --yes`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: c.completeKinds("cohort"),
		RunE: func(cmd *cobra.Command, args []string) error {
			word, path := strip(args[0]), ""
			switch word {
			case "cohort": // a name is the newest of that name; what is asked and told names the id
				var snap cohort.Snapshot
				if err := c.Call(cmd.Context(), http.MethodGet, "/v1/cohorts"+segment(args[1]), nil, &snap); err != nil {
					return err
				}
				args[1] = snap.ID
				path = "/v1/cohorts" + segment(snap.ID)
			default:
				kind, err := declare.ParseKind(args[0])
				if err != nil {
					return fault.New(fault.Invalid, "%v, cohort", err)
				}
				path = declaredPath(kind, args[1])
			}
			question := fmt.Sprintf("Delete %s %s?", word, args[1])
			if word == "unit" {
				question = fmt.Sprintf("Delete unit %s and erase its history?", args[1])
			}
			if err := confirm(cmd, yes, question); err != nil {
				return err
			}
			if err := c.Call(cmd.Context(), http.MethodDelete, path, nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s deleted\n", word, args[1])
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func newDescribeCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "describe KIND NAME",
		Short: "Tell all about one thing",
		Example: `  fettle describe unit WC-000123
  fettle describe campaign adapter-overheat`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: c.completeKinds("finding", "cohort"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch strip(args[0]) {
			case "finding":
				return c.showFinding(cmd, args[1])
			case "cohort":
				return c.showCohort(cmd, args[1])
			case "unit":
				return c.describeUnit(cmd, args[1])
			case "campaign":
				return c.campaignStatus(cmd, args[1])
			}
			kind, err := declare.ParseKind(args[0])
			if err != nil {
				return fault.New(fault.Invalid, "%v, finding, cohort", err)
			}
			if c.output != "table" {
				return c.getOne(cmd, kind, args[1])
			}
			return c.describeDeclared(cmd, kind, args[1])
		},
	}
}

// describeDeclared prints the declaration and what goes on under it.
func (c *cli) describeDeclared(cmd *cobra.Command, kind declare.Kind, name string) error {
	ctx := cmd.Context()
	if err := c.getOne(cmd, kind, name); err != nil {
		return err
	}
	switch kind {
	case declare.Detector:
		open, err := client.All[wire.Finding](ctx, &c.Client, "/v1/findings", url.Values{"detector": {name}, "state": {"open"}})
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "\n%d open findings\n", len(open))
	case declare.Product:
		return c.describeProduct(ctx, cmd, name)
	default:
	}
	return nil
}

func (c *cli) describeProduct(ctx context.Context, cmd *cobra.Command, name string) error {
	var o wire.Overview
	if err := c.Call(ctx, http.MethodGet, "/v1/overview", nil, &o); err != nil {
		return err
	}
	for _, p := range o.Products {
		if p.Name != name {
			continue
		}
		w := cmd.OutOrStdout()
		fmt.Fprintf(w, "\n%d units: %s\n", p.Units, counts(p.Conditions))
		var versions []string
		for _, v := range p.Versions {
			label := v.Version
			if label == "" {
				label = "(none reported)"
			}
			versions = append(versions, fmt.Sprintf("%d %s", v.Units, label))
		}
		fmt.Fprintf(w, "versions: %s\nopen findings: %s\n", strings.Join(versions, ", "), counts(p.Open))
	}
	return nil
}
