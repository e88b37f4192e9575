package remote

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
)

func newApplyCmd(c *cli) *cobra.Command {
	var files []string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Make the service as the files say",
		Long: `Make the service as declared files say: kinds Product, Unit, Detector, Release,
Campaign, Template, Ladder and Tip, in YAML or JSON, several documents in a file
where --- parts them. A directory is read with all below it.

All or nothing: one mistake, told as file:line:column: field, and nothing has
changed. A Release's image, a path beside its file, is uploaded first unless the
service has it. "fettle schema" gives editors the files' JSON Schema.`,
		Example: `  fettle apply -f fleet/
  fettle apply -f detector.yaml --dry-run
  generate-units | fettle apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := c.apply(cmd, files, dryRun)
			if err != nil {
				return err
			}
			return c.print(cmd, out, func(w io.Writer) { printChanges(w, out, dryRun) })
		},
	}
	addFiles(cmd, &files)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check, and show what would change, but change nothing")
	return cmd
}

func addFiles(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "filename", "f", nil, "file or directory; - reads standard input; may be repeated")
	_ = cmd.MarkFlagRequired("filename")
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml", "json")
}

func newDiffCmd(c *cli) *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "diff -f FILE|DIR|-",
		Short: "Show what apply would change",
		Long: `Show, field by field, what "fettle apply" would change, and change nothing.

Exit status: 0 nothing would change, 1 something would, 2 there are mistakes.`,
		Example: "  fettle diff -f fleet/",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := c.apply(cmd, files, true)
			if err != nil {
				return fault.Wrap(fault.Invalid, "", err)
			}
			changed := false
			for _, ch := range out.Changes {
				changed = changed || ch.Action != "unchanged"
			}
			err = c.print(cmd, out, func(w io.Writer) {
				for _, ch := range out.Changes {
					if ch.Action == "unchanged" {
						continue
					}
					fmt.Fprintf(w, "%s %s (%s)\n%s", strings.ToLower(string(ch.Kind)), ch.Name, ch.Action, indent(ch.Diff))
				}
			})
			if err == nil && changed {
				err = errTold
			}
			return err
		},
	}
	addFiles(cmd, &files)
	return cmd
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("  " + line)
	}
	return b.String()
}

// manyUnits is the number from which units are told as a number.
const manyUnits = 20

func printChanges(w io.Writer, out *wire.Applied, dryRun bool) {
	would := ""
	if dryRun {
		would = " (dry run)"
	}
	units := map[string]int{}
	n := 0
	for _, ch := range out.Changes {
		if ch.Kind == declare.Unit {
			units[ch.Action]++
			n++
		}
	}
	for _, ch := range out.Changes {
		if ch.Kind != declare.Unit || n < manyUnits {
			row(w, strings.ToLower(string(ch.Kind))+" "+ch.Name, ch.Action+would)
		}
	}
	for _, ch := range out.Changes {
		for _, warning := range ch.Warnings {
			fmt.Fprintf(w, "warning: %s %s: %s\n", strings.ToLower(string(ch.Kind)), ch.Name, warning)
		}
	}
	if n < manyUnits {
		return
	}
	for _, action := range []string{"created", "changed", "unchanged"} {
		if units[action] > 0 {
			row(w, fmt.Sprintf("%d units", units[action]), action+would)
		}
	}
}

// apply reads files and applies their documents.
func (c *cli) apply(cmd *cobra.Command, files []string, dryRun bool) (*wire.Applied, error) {
	docs, mistakes, err := declare.ReadFiles(cmd.InOrStdin(), files)
	if err != nil {
		return nil, err
	}
	if len(docs) == 0 && len(mistakes) == 0 {
		return nil, fmt.Errorf("%s: no documents", strings.Join(files, ", "))
	}
	return c.Apply(cmd.Context(), docs, mistakes, dryRun)
}
