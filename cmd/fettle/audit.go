package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"fettle.dev/fettle/internal/audit/chain"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/app"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
)

func newAuditCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read and verify the audit trail of a data directory",
		Long: `Read and verify the audit trail: every change, every look at people's data, and
every refusal of what somebody may not. These commands read the records of the
data directory by themselves; the service may run or not. Over HTTP, operators
with the permission privacy find the same at /v1/audit.`,
	}
	cmd.AddCommand(newAuditVerifyCmd(), newAuditHeadCmd(), newAuditListCmd(), newAuditExportCmd())
	return cmd
}

// withTrail opens the trail that the settings name.
func withTrail(cmd *cobra.Command, file string, fn func(t *audit.Trail) error) error {
	config, err := loadConfig(cmd, file)
	if err != nil {
		return err
	}
	t, closing, err := app.Trail(cmd.Context(), config, logger(cmd.ErrOrStderr(), config))
	if err != nil {
		return err
	}
	return errors.Join(fn(t), closing())
}

func newAuditVerifyCmd() *cobra.Command {
	var file, export string
	var heads []string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Say whether the trail is whole, or name the first entry that is not",
		Long: `Say whether the trail is whole, or name the first entry that was changed, left
out, moved or put in. It reads the data directory, or with --file an export
(JSON Lines).

A trail whose newest entries were cut off, or that was written anew from some
entry on, looks whole by itself: compare it with a head that was kept elsewhere
(--head, as "fettle audit head" prints it).`,
		Example: `  fettle audit verify --data /var/lib/fettle
  fettle audit verify --data /var/lib/fettle --head 4711:9f86d0…
  fettle audit verify --file audit.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kept := make([]audit.Head, 0, len(heads))
			for _, text := range heads {
				h, err := audit.ParseHead(text)
				if err != nil {
					return err
				}
				kept = append(kept, h)
			}
			out := cmd.OutOrStdout()
			if export != "" {
				f, err := os.Open(export)
				if err != nil {
					return err
				}
				defer f.Close()
				return verifyExport(out, f, kept)
			}
			return withTrail(cmd, file, func(t *audit.Trail) error {
				head, err := t.Verify(cmd.Context(), kept)
				if err != nil {
					return fmt.Errorf("%w\nEntries up to %d are right", err, head.Seq)
				}
				start, err := t.Store().Start(cmd.Context())
				if err != nil {
					return err
				}
				if start.Seq > 0 {
					fmt.Fprintf(out, "Entries up to %d were removed by age, as the trail says itself.\n", start.Seq)
				}
				fmt.Fprintf(out, "The trail is whole up to entry %d.\nHead: %s\n", head.Seq, head)
				if len(kept) == 0 {
					fmt.Fprintln(out, "Whether newer entries were cut off only a head tells that was kept elsewhere (--head).")
				}
				return nil
			})
		},
	}
	addSettings(cmd, &file)
	cmd.Flags().StringVar(&export, "file", "", "verify this export (JSON Lines) instead of a data directory")
	cmd.Flags().StringArrayVar(&heads, "head", nil, "a head that was kept elsewhere, NUMBER:HASH; may be given more than once")
	return cmd
}

func verifyExport(out io.Writer, in io.Reader, kept []audit.Head) error {
	var c audit.Chain
	found := map[int64]audit.Record{}
	err := chain.Read(in, func(r audit.Record) error {
		e, err := c.Next(r)
		if err == nil {
			for _, k := range kept {
				if k.Seq == e.Seq {
					found[k.Seq] = r
				}
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%w\nEntries up to %d are right", err, c.Seq)
	}
	begun := c.Begun()
	for _, k := range kept {
		if k == begun || k.Seq < begun.Seq {
			continue
		}
		var now *audit.Record
		if r, ok := found[k.Seq]; ok {
			now = &r
		}
		if err := audit.Kept(k, now); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "The export is whole: entries %d to %d.\nHead: %s\n", begun.Seq+1, c.Seq, c.Head)
	return nil
}

func newAuditHeadCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "head",
		Short: "Print number and hash of the newest entry, to be kept elsewhere",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withTrail(cmd, file, func(t *audit.Trail) error {
				h, err := t.Store().Head(cmd.Context())
				if err == nil {
					fmt.Fprintln(cmd.OutOrStdout(), h)
				}
				return err
			})
		},
	}
	addSettings(cmd, &file)
	return cmd
}

// auditFlags are those that pick entries.
type auditFlags struct{ from, to, kind, actor, person, object string }

func (f *auditFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.from, "from", "", "from this time on (RFC 3339, or a date)")
	cmd.Flags().StringVar(&f.to, "to", "", "before this time")
	cmd.Flags().StringVar(&f.kind, "kind", "", "change, look or denied")
	cmd.Flags().StringVar(&f.actor, "actor", "", "by this operator (id), owner (alias), part of the server or command")
	cmd.Flags().StringVar(&f.person, "person", "", "about this person (alias)")
	cmd.Flags().StringVar(&f.object, "object", "", "about this, as units/WC-1, and all below it")
}

func (f *auditFlags) filter() (out audit.Filter, err error) {
	out = audit.Filter{Kind: audit.Kind(f.kind), Actor: f.actor, Object: strings.Trim(f.object, "/")}
	if f.person != "" {
		out.About = []string{f.person}
	}
	if f.kind != "" && f.kind != "change" && f.kind != "look" && f.kind != "denied" {
		return out, fault.New(fault.Invalid, "--kind %q: expected change, look or denied", f.kind)
	}
	for _, t := range []struct {
		flag, text string
		into       *time.Time
	}{{"from", f.from, &out.From}, {"to", f.to, &out.To}} {
		if t.text == "" {
			continue
		}
		if *t.into, err = time.Parse(time.RFC3339, t.text); err != nil {
			if *t.into, err = time.Parse(time.DateOnly, t.text); err != nil {
				return out, fault.New(fault.Invalid, "--%s %q: expected a time as 2026-03-01T12:00:00Z, or a date", t.flag, t.text)
			}
		}
	}
	return out, nil
}

func newAuditListCmd() *cobra.Command {
	var file string
	var limit int
	var flags auditFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List entries, newest first",
		Example: "  fettle audit list --data /var/lib/fettle --kind look --from 2026-03-01",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := flags.filter()
			if err != nil {
				return err
			}
			if limit < 1 {
				return fault.New(fault.Invalid, "--limit %d: expected 1 or more", limit)
			}
			f.Newest, f.Limit = true, limit
			return withTrail(cmd, file, func(t *audit.Trail) error {
				records, err := t.Store().Records(cmd.Context(), f)
				if err != nil {
					return err
				}
				if len(records) == 0 {
					fmt.Fprintln(cmd.ErrOrStderr(), "no entry matches")
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
				fmt.Fprintln(w, "NUMBER\tTIME\tWHO\tWHAT\tOBJECT\tOUTCOME\tABOUT")
				for _, r := range records {
					var e audit.Entry
					if err := json.Unmarshal(r.Entry, &e); err != nil {
						return fmt.Errorf("an entry cannot be read, verify the trail: %w", err)
					}
					who := strings.Trim(e.Actor.Party+" "+e.Actor.ID, " ")
					what := string(e.Kind) + " " + e.Operation
					if e.Data != "" {
						what += " (" + e.Data + ")"
					}
					fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Seq, e.At.Format(time.RFC3339), who, what, e.Object, e.Outcome, strings.Join(e.About, " "))
				}
				return w.Flush()
			})
		},
	}
	addSettings(cmd, &file)
	flags.add(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "how many entries at most")
	return cmd
}

func newAuditExportCmd() *cobra.Command {
	var file, format string
	var flags auditFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the trail to standard output, oldest first",
		Long: `Write the trail to standard output, oldest first: as JSON Lines with the exact
bytes that were hashed, which "fettle audit verify --file" checks, or as CSV. A
range of time can be verified by itself; other filters leave gaps.`,
		Example: "  fettle audit export --data /var/lib/fettle --from 2026-01-01 > audit.jsonl",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := flags.filter()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			lines, table := json.NewEncoder(out), csv.NewWriter(out)
			write := func(r audit.Record, _ audit.Entry) error { return lines.Encode(r) }
			switch format {
			case "jsonl":
			case "csv":
				if err := table.Write(audit.Columns); err != nil {
					return err
				}
				write = func(r audit.Record, e audit.Entry) error { return table.Write(e.Row(r.Hash)) }
			default:
				return fault.New(fault.Invalid, "--format %q: expected jsonl or csv", format)
			}
			return withTrail(cmd, file, func(t *audit.Trail) error {
				err := t.Each(cmd.Context(), f, write)
				table.Flush()
				return errors.Join(err, table.Error())
			})
		},
	}
	addSettings(cmd, &file)
	flags.add(cmd)
	cmd.Flags().StringVar(&format, "format", "jsonl", "jsonl or csv")
	return cmd
}
