package remote

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

func newFindingCmd(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "finding", Short: "Look at findings, acknowledge, shelve, assess and comment them"}
	var product, unit, detector, state, severity string
	var shelved bool
	list := &cobra.Command{
		Use: "list", Short: "List findings, newest first", Example: "  fettle finding list --state open --severity critical", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			for k, v := range map[string]string{"product": product, "unit": unit, "detector": detector, "state": state, "severity": severity} {
				if v != "" {
					q.Set(k, v)
				}
			}
			if shelved {
				q.Set("shelved", "true")
			}
			return c.listFindings(cmd, q)
		},
	}
	list.Flags().StringVar(&product, "product", "", "only those of a product")
	list.Flags().StringVar(&unit, "unit", "", "only those of a unit")
	list.Flags().StringVar(&detector, "detector", "", "only those of a detector")
	list.Flags().StringVar(&state, "state", "", "open or cleared")
	list.Flags().StringVar(&severity, "severity", "", "warning, minor, major or critical")
	list.Flags().BoolVar(&shelved, "shelved", false, "shelved ones, too")
	_ = list.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"open", "cleared"}, cobra.ShellCompDirectiveNoFileComp))
	_ = list.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions([]string{"warning", "minor", "major", "critical"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(list, &cobra.Command{
		Use: "show FINDING", Short: "Tell all about a finding", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames("finding"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.showFinding(cmd, args[0]) },
	})
	change := func(use, short, example string, n int, body func(cmd *cobra.Command, args []string) (verb string, in any, err error)) *cobra.Command {
		sub := &cobra.Command{
			Use: use, Short: short, Example: example, Args: cobra.ExactArgs(n), ValidArgsFunction: c.completeNames("finding"),
			RunE: func(cmd *cobra.Command, args []string) error {
				verb, in, err := body(cmd, args)
				if err != nil {
					return err
				}
				var f wire.Finding
				if err := c.Call(cmd.Context(), http.MethodPost, "/v1/findings"+segment(args[0])+"/"+verb, in, &f); err != nil {
					return err
				}
				return c.print(cmd, f, func(w io.Writer) { findingRows(w, []wire.Finding{f}) })
			},
		}
		cmd.AddCommand(sub)
		return sub
	}
	var undo bool
	change("ack FINDING", "Acknowledge a finding", "  fettle finding ack 01J…", 1, func(*cobra.Command, []string) (string, any, error) {
		if undo {
			return "unack", struct{}{}, nil
		}
		return "ack", struct{}{}, nil
	}).Flags().BoolVar(&undo, "undo", false, "take an acknowledgement back")
	var until string
	var span string
	shelve := change("shelve FINDING", "Put a finding out of sight until a time", "  fettle finding shelve 01J… --for 3d", 1, func(cmd *cobra.Command, _ []string) (string, any, error) {
		in := map[string]any{}
		switch {
		case span != "":
			d, err := fleet.ParseDuration(span)
			if err != nil {
				return "", nil, fault.Wrap(fault.Invalid, "", err)
			}
			now, err := c.now(cmd)
			if err != nil {
				return "", nil, err
			}
			in["until"] = now.Add(time.Duration(d))
		case until != "":
			t, err := parseTime(until)
			if err != nil {
				return "", nil, err
			}
			in["until"] = t
		}
		return "shelve", in, nil
	})
	shelve.Flags().StringVar(&span, "for", "", "how long, as 3d")
	shelve.Flags().StringVar(&until, "until", "", "a time, as 2026-03-01T12:00:00Z; without --for and --until it is back in sight")
	change("assess FINDING confirmed|no-fault-found|none", "Say what a person found", "  fettle finding assess 01J… confirmed", 2, func(_ *cobra.Command, args []string) (string, any, error) {
		words := map[string]condition.Assessment{"confirmed": condition.Confirmed, "no-fault-found": condition.NoFaultFound, "no fault found": condition.NoFaultFound, "none": ""}
		a, ok := words[args[1]]
		if !ok {
			return "", nil, fault.Wrap(fault.Invalid, "", fmt.Errorf("%q: expected confirmed, no-fault-found or none", args[1]))
		}
		return "assess", map[string]any{"assessment": a}, nil
	})
	cmd.AddCommand(&cobra.Command{
		Use: "comment FINDING TEXT", Short: "Remark on a finding", Example: `  fettle finding comment 01J… "adapter was replaced in May"`,
		Args: cobra.MinimumNArgs(2), ValidArgsFunction: c.completeNames("finding"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out condition.Comment
			in := map[string]string{"text": strings.Join(args[1:], " ")}
			if err := c.Call(cmd.Context(), http.MethodPost, "/v1/findings"+segment(args[0])+"/comments", in, &out); err != nil {
				return err
			}
			return c.print(cmd, out, func(w io.Writer) { row(w, out.At, out.By, out.Text) })
		},
	})
	return cmd
}

// now is the service's time, which may be scaled.
func (c *cli) now(cmd *cobra.Command) (time.Time, error) {
	var s wire.Session
	err := c.Call(cmd.Context(), http.MethodGet, "/v1/session", nil, &s)
	return s.Now, err
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fault.Wrap(fault.Invalid, "", fmt.Errorf("%q: expected a time, as 2026-03-01T12:00:00Z or 2026-03-01 (UTC)", s))
}

func (c *cli) listFindings(cmd *cobra.Command, q url.Values) error {
	list, err := client.All[wire.Finding](cmd.Context(), &c.Client, "/v1/findings", q)
	if err != nil {
		return err
	}
	return c.print(cmd, list, func(w io.Writer) { findingRows(w, list) })
}

func findingRows(w io.Writer, list []wire.Finding) {
	row(w, "ID", "UNIT", "DETECTOR", "SEVERITY", "STATE", "ONSET", "OPENED", "ASSESSMENT", "WHY")
	for _, f := range list {
		row(w, f.ID, f.Of(), fmt.Sprintf("%s@%d", f.Detector.Name, f.Detector.Version), f.Severity, stateOf(f), f.Onset, f.OpenedAt, f.Assessment, f.Why)
	}
}

func stateOf(f wire.Finding) string {
	s := string(f.State)
	if f.AckBy != "" {
		s += ", acknowledged"
	}
	if !f.ShelvedUntil.IsZero() {
		s += ", shelved"
	}
	return s
}

func (c *cli) showFinding(cmd *cobra.Command, id string) error {
	var f wire.FindingDetail
	if err := c.Call(cmd.Context(), http.MethodGet, "/v1/findings"+segment(id), nil, &f); err != nil {
		return err
	}
	return c.print(cmd, f, func(w io.Writer) {
		row(w, "Finding:", f.ID)
		row(w, "What:", f.Title)
		row(w, "Unit:", f.Of())
		row(w, "Detector:", fmt.Sprintf("%s@%d", f.Detector.Name, f.Detector.Version))
		row(w, "Severity, state:", fmt.Sprintf("%s, %s", f.Severity, stateOf(f.Finding)))
		row(w, "Why:", f.Why)
		row(w, "Onset, opened, last:", fmt.Sprintf("%s, %s, %s", when(f.Onset), when(f.OpenedAt), when(f.LastAt)))
		row(w, "Peak:", words.Measured(f.Peak, f.Unit))
		if f.Late {
			row(w, "Late:", "opened by data that arrived out of order")
		}
		if f.ClearWhy != "" {
			row(w, "Cleared:", fmt.Sprintf("%s: %s", when(f.Cleared), f.ClearWhy))
		}
		if f.AckBy != "" {
			row(w, "Acknowledged:", fmt.Sprintf("%s by %s", when(f.AckAt), f.AckBy))
		}
		if !f.ShelvedUntil.IsZero() {
			row(w, "Shelved until:", f.ShelvedUntil)
		}
		if f.Assessment != "" {
			row(w, "Assessment:", fmt.Sprintf("%s, by %s", f.Assessment, f.AssessedBy))
		}
		for _, k := range f.Comments {
			row(w, "Comment:", fmt.Sprintf("%s %s: %s", when(k.At), k.By, k.Text))
		}
	})
}
