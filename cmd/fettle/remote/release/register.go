package release

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/audit/chain"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/releases"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update/register"
)

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

func (s Shared) register() *cobra.Command {
	cmd := &cobra.Command{
		Use: "register", Short: "Export and verify the register of units' software versions",
		Long: `The register holds what software each unit had before and after each change, with
the SHA-256 of every image that is known, the assignment, the campaign, and who
approved it. It names units by their random key, and nobody by name. It is a
chain: each entry names the hash of the one before.`,
	}
	cmd.AddCommand(s.export(), s.verify())
	return cmd
}

// each calls fn for every record of the service's register, or of one unit.
func (s Shared) each(cmd *cobra.Command, unit string, fn func(register.Record) error) error {
	q := url.Values{"limit": {"5000"}}
	if unit != "" {
		q.Set("unit", unit)
	}
	for {
		var page releases.RegisterPage
		if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/register?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		for _, r := range page.Items {
			if err := fn(register.Record{Hash: r.Hash, Entry: json.RawMessage(r.Entry)}); err != nil {
				return err
			}
		}
		if page.Next == 0 {
			return nil
		}
		q.Set("after", strconv.FormatInt(page.Next, 10))
	}
}

func (s Shared) export() *cobra.Command {
	var format, unit, file string
	cmd := &cobra.Command{
		Use: "export", Short: "Write the register to a file",
		Long: `Write the register, oldest entry first. As jsonl, a line an entry: {"hash":...,
"entry":{...}} where hash is the SHA-256 of the bytes of entry as they stand
there; fettle register verify FILE checks that. As csv, a row a component for
spreadsheets; its rows cannot be verified.`,
		Example: "  fettle register export --file register.jsonl\n  fettle register export --format csv --unit WC-000017", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			out := cmd.OutOrStdout()
			if file != "" {
				f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, f.Close()) }()
				out = f
			}
			w := bufio.NewWriter(out)
			defer func() { err = errors.Join(err, w.Flush()) }()
			switch format {
			case "jsonl":
				return s.each(cmd, unit, func(r register.Record) error {
					line, err := json.Marshal(r.Hash)
					if err != nil {
						return err
					}
					_, err = fmt.Fprintf(w, "{\"hash\":%s,\"entry\":%s}\n", line, r.Entry) // the entry's bytes as they are
					return err
				})
			case "csv":
				return s.csv(cmd, unit, w)
			default:
				return fault.New(fault.Invalid, "--format %q: jsonl or csv", format)
			}
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "jsonl", "jsonl or csv")
	f.StringVar(&unit, "unit", "", "only the entries of a unit, which do not make a chain by themselves")
	f.StringVar(&file, "file", "", "write to a new file (default: standard output)")
	_ = cmd.RegisterFlagCompletionFunc("unit", s.Names("unit"))
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"jsonl", "csv"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

var csvColumns = []string{
	"seq", "at", "event", "unit", "product", "component", "version_before", "sha256_before", "version_after", "sha256_after",
	"release", "counter", "assignment", "campaign", "approved_by", "approved_at", "why", "previous", "hash",
}

func (s Shared) csv(cmd *cobra.Command, unit string, out io.Writer) error {
	w := csv.NewWriter(out)
	if err := w.Write(csvColumns); err != nil {
		return err
	}
	err := s.each(cmd, unit, func(r register.Record) error {
		var e register.Entry
		if err := json.Unmarshal(r.Entry, &e); err != nil {
			return err
		}
		for _, row := range rows(&e, r.Hash) {
			if err := w.Write(row); err != nil {
				return err
			}
		}
		return nil
	})
	w.Flush()
	return errors.Join(err, w.Error())
}

// rows are an entry's rows, one a component.
func rows(e *register.Entry, hash string) [][]string {
	before, after := byComponent(e.Before), byComponent(e.After)
	var components []string
	for c := range before {
		components = append(components, c)
	}
	for c := range after {
		if _, both := before[c]; !both {
			components = append(components, c)
		}
	}
	var out [][]string
	for _, c := range sorted(components) {
		was, is := before[c], after[c]
		row := []string{
			strconv.FormatInt(e.Seq, 10), stamp(e.At), string(e.Event), strconv.FormatInt(e.Unit, 10), e.Product, c,
			was.Version, was.SHA256, is.Version, is.SHA256, is.Release, strconv.FormatInt(is.Counter, 10), strconv.FormatInt(e.Assignment, 10),
			e.Campaign, e.ApprovedBy, stamp(e.ApprovedAt), e.Why, e.Previous, hash,
		}
		for i := range row {
			row[i] = cell(row[i])
		}
		out = append(out, row)
	}
	return out
}

// cell keeps spreadsheets from taking what a unit reported for a formula.
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func byComponent(list []register.Software) map[string]register.Software {
	out := map[string]register.Software{}
	for _, x := range list {
		out[x.Component] = x
	}
	return out
}

// verified is what a verification found.
type verified struct {
	Entries int64  `json:"entries"`
	Head    string `json:"head"`
}

func (s Shared) verify() *cobra.Command {
	var head string
	cmd := &cobra.Command{
		Use: "verify [FILE]", Short: "Check that no entry of the register was changed, left out or put in",
		Long: `Check the chain of the service's register, or of an export in jsonl (- for standard
input), and name the first entry that is wrong. The end of a chain can be cut
off, and a whole chain written anew, without a trace in itself: keep the head
that this prints elsewhere, and give it with --head the next time; the register
must still hold it.`,
		Example: "  fettle register verify\n  fettle register verify register.jsonl\n  fettle register verify --head 1204:9f86d081884c7d65...", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			want, err := parseHead(head)
			if err != nil {
				return err
			}
			var chain register.Chain
			next := func(r register.Record) error {
				if _, err := chain.Next(r); err != nil {
					return fault.Wrap(fault.Conflict, "the register is broken", err)
				}
				if chain.Seq == want.Seq && chain.Hash != want.Hash {
					return fault.New(fault.Conflict, "the register is broken: entry %d has hash %s, and had %s", chain.Seq, chain.Hash, want.Hash)
				}
				return nil
			}
			if len(args) == 0 {
				err = s.each(cmd, "", next)
			} else {
				err = eachIn(cmd, args[0], next)
			}
			if err != nil {
				return err
			}
			if chain.Seq < want.Seq {
				return fault.New(fault.Conflict, "the register is broken: it ends with entry %d, and had %d", chain.Seq, want.Seq)
			}
			out := verified{Entries: chain.Seq, Head: fmt.Sprintf("%d:%s", chain.Seq, chain.Hash)}
			return s.Print(cmd, out, func(w io.Writer) {
				fmt.Fprintf(w, "%d entries, all in their place and unchanged\nhead: %s\n", out.Entries, out.Head)
			})
		},
	}
	cmd.Flags().StringVar(&head, "head", "", "NUMBER:HASH of an entry that must stand there, as an earlier verify printed it")
	return cmd
}

func parseHead(text string) (register.Chain, error) {
	var c register.Chain
	if text == "" {
		return c, nil
	}
	number, hash, _ := strings.Cut(text, ":")
	seq, err := strconv.ParseInt(number, 10, 64)
	if err != nil || seq < 1 || len(hash) != 64 {
		return c, fault.New(fault.Invalid, "--head %q: expected NUMBER:HASH as verify prints it", text)
	}
	return register.Chain{Seq: seq, Hash: hash}, nil
}

func eachIn(cmd *cobra.Command, file string, fn func(register.Record) error) (err error) {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		in = f
	}
	return chain.Read(in, fn)
}
