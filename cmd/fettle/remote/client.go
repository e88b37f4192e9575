package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/fault"
)

// cli is what the commands that talk to a service share.
type cli struct {
	client.Client
	output string
}

func (c *cli) check() error {
	switch c.output {
	case "table", "json", "yaml":
		return nil
	default:
		return fault.Wrap(fault.Invalid, "", fmt.Errorf("--output %s: expected table, json or yaml", c.output))
	}
}

// print writes v as JSON or YAML if that was asked for, else by table.
func (c *cli) print(cmd *cobra.Command, v any, table func(w io.Writer)) error {
	switch c.output {
	case "json":
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	case "yaml":
		return writeYAML(cmd.OutOrStdout(), v)
	default:
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
		table(w)
		return w.Flush()
	}
}

// writeYAML writes what JSON would say, so that fields have the names of files.
func writeYAML(w io.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	text, err := yaml.JSONToYAML(raw)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

func row(w io.Writer, cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		text := fmt.Sprint(cell)
		if t, ok := cell.(time.Time); ok {
			text = when(t)
		}
		if text == "" {
			text = "-"
		}
		fmt.Fprint(w, text)
	}
	fmt.Fprintln(w)
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func segment(name string) string { return "/" + url.PathEscape(name) }

// confirm asks before something that cannot be undone.
func confirm(cmd *cobra.Command, yes bool, question string) error {
	if yes {
		return nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(cmd.InOrStdin(), &answer) // no answer is no
	if a := strings.ToLower(answer); a == "y" || a == "yes" {
		return nil
	}
	return errors.New("nothing was changed (--yes says yes)")
}
