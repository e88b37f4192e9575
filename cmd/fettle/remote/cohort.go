package remote

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/fault"
)

func newCohortCmd(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "cohort", Short: "Ask who else is affected, and freeze the answer"}
	var product, list string
	ls := &cobra.Command{
		Use: "list", Short: "List cohorts, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.listCohorts(cmd, product) },
	}
	ls.Flags().StringVar(&product, "product", "", "only those of a product")
	members := &cobra.Command{
		Use: "members COHORT", Short: "List members, each with its reason", Long: "List members of a cohort, named by its id or, for the newest of a name, by that; each with its reason.", Example: "  fettle cohort members hot-adapters --list 'not judgeable'",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames("cohort"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			if list != "" {
				q.Set("list", list)
			}
			m, err := client.All[wire.Member](cmd.Context(), &c.Client, "/v1/cohorts"+segment(args[0])+"/members", q)
			if err != nil {
				return err
			}
			return c.print(cmd, m, func(w io.Writer) {
				row(w, "UNIT", "LIST", "CODE", "EXPOSURE", "REASON")
				for _, v := range m {
					row(w, v.UnitID, v.List, v.Code, fmt.Sprintf("%.1f h", v.ExposureHours), v.Reason)
				}
			})
		},
	}
	members.Flags().StringVar(&list, "list", "", "in, out or not judgeable")
	_ = members.RegisterFlagCompletionFunc("list", cobra.FixedCompletions([]string{"in", "out", "not judgeable"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(newCohortCreateCmd(c), ls, members, &cobra.Command{
		Use: "show COHORT", Short: "Tell about a cohort", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames("cohort"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.showCohort(cmd, args[0]) },
	})
	return cmd
}

func newCohortCreateCmd(c *cli) *cobra.Command {
	var finding, file, name string
	var wait bool
	cmd := &cobra.Command{
		Use:   "create --finding FINDING | -f FILE",
		Short: "Freeze a cohort from a finding or a definition",
		Long: `Freeze a cohort: from a finding ("who else?": the units for which its detector
finds the same over the last 30 days) or from a definition in a YAML file.
"fettle cohort create --finding F --dry-run -o yaml" prints a definition to start from.`,
		Example: `  fettle cohort create --finding 01J… --name hot-adapters
  fettle cohort create -f hot-adapters.yaml`,
		Args: cobra.NoArgs,
	}
	var dryRun bool
	cmd.Flags().StringVar(&finding, "finding", "", "id of a finding")
	cmd.Flags().StringVarP(&file, "filename", "f", "", "YAML file of a definition")
	cmd.Flags().StringVar(&name, "name", "", "name of the cohort (default: the detector's, or the file's)")
	cmd.Flags().BoolVar(&wait, "wait", true, "wait until it is computed")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the definition only")
	cmd.MarkFlagsMutuallyExclusive("finding", "filename")
	cmd.MarkFlagsOneRequired("finding", "filename")
	_ = cmd.RegisterFlagCompletionFunc("finding", c.completeNames("finding"))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		def, shared, err := c.definition(cmd.Context(), finding, file)
		if err != nil {
			return err
		}
		if name != "" {
			def.Name = name
		}
		if dryRun {
			return c.print(cmd, def, func(w io.Writer) {
				_ = writeYAML(w, def) // the writer is in memory
				for _, s := range shared {
					fmt.Fprintf(w, "# %s=%s: %d of %d affected, %.1f times as often as in the fleet\n", s.Attribute, s.Value, s.Affected, s.Of, s.Lift)
				}
			})
		}
		var snap cohort.Snapshot
		if err := c.Call(cmd.Context(), http.MethodPost, "/v1/cohorts", map[string]any{"definition": def}, &snap); err != nil {
			return err
		}
		for wait && snap.State == "computing" {
			select {
			case <-cmd.Context().Done():
				return cmd.Context().Err()
			case <-time.After(200 * time.Millisecond):
			}
			if err := c.Call(cmd.Context(), http.MethodGet, "/v1/cohorts"+segment(snap.ID), nil, &snap); err != nil {
				return err
			}
		}
		if err := c.print(cmd, snap, func(w io.Writer) { cohortRows(w, []cohort.Snapshot{snap}) }); err != nil {
			return err
		}
		if snap.State == "failed" {
			return fmt.Errorf("cohort %s failed: %s", snap.ID, snap.Error)
		}
		return nil
	}
	return cmd
}

func (c *cli) definition(ctx context.Context, finding, file string) (cohort.Definition, []cohort.Shared, error) {
	if finding != "" {
		var s cohort.Suggestion
		err := c.Call(ctx, http.MethodGet, "/v1/findings"+segment(finding)+"/who-else", nil, &s)
		return s.Definition, s.Shared, err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return cohort.Definition{}, nil, err
	}
	asJSON, err := yaml.YAMLToJSON(raw)
	if err != nil {
		return cohort.Definition{}, nil, fmt.Errorf("%s: %s", file, yaml.FormatError(err, false, false))
	}
	var def cohort.Definition
	if wrong := declare.Decode(asJSON, "definition", &def); len(wrong) > 0 {
		return def, nil, fault.Fields(file, wrong)
	}
	return def, nil, nil
}

func (c *cli) cohorts(ctx context.Context, product string) ([]cohort.Snapshot, error) {
	q := url.Values{}
	if product != "" {
		q.Set("product", product)
	}
	return client.All[cohort.Snapshot](ctx, &c.Client, "/v1/cohorts", q)
}

func (c *cli) listCohorts(cmd *cobra.Command, product string) error {
	list, err := c.cohorts(cmd.Context(), product)
	if err != nil {
		return err
	}
	return c.print(cmd, list, func(w io.Writer) { cohortRows(w, list) })
}

func cohortRows(w io.Writer, list []cohort.Snapshot) {
	row(w, "ID", "NAME", "PRODUCT", "STATE", "IN", "OUT", "NOT JUDGEABLE", "AT")
	for _, s := range list {
		state := s.State
		if state == "computing" {
			state = fmt.Sprintf("computing %.0f %%", 100*s.Done)
		}
		row(w, s.ID, s.Definition.Name, s.Definition.Product, state, s.In, s.Out, s.NotJudgeable, s.At)
	}
}

func (c *cli) showCohort(cmd *cobra.Command, id string) error {
	var s cohort.Snapshot
	if err := c.Call(cmd.Context(), http.MethodGet, "/v1/cohorts"+segment(id), nil, &s); err != nil {
		return err
	}
	return c.print(cmd, s, func(w io.Writer) {
		cohortRows(w, []cohort.Snapshot{s})
		if s.Error != "" {
			row(w, "Error:", s.Error)
		}
		fmt.Fprintf(w, "\nTaken at stream position %d by %s. Definition:\n", s.Position, s.By)
		_ = writeYAML(w, s.Definition) // the writer is in memory
	})
}
