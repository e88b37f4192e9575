package wear

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

// fields are a record's columns in a CSV file.
var fields = []string{"unit", "at", "kind", "part", "reason", "batch", "serial", "version", "note"}

// columnOf is the column that a field of the API stands in.
var columnOf = map[string]string{"unitId": "unit"}

// Entry is a row of a file.
type Entry struct {
	Line int
	wire.MaintenanceEntry
}

// Mistake is what is wrong with a row.
type Mistake struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

// imported is what an import did.
type imported struct {
	Added    int       `json:"added"`
	Known    int       `json:"known"`
	Mistakes []Mistake `json:"mistakes"`
}

func (s Shared) importCmd() *cobra.Command {
	var partial bool
	cmd := &cobra.Command{
		Use: "import FILE.csv", Short: "Record many at once, from a CSV file",
		Long: `Read records from a CSV file (- for standard input), one a row. The first row
names the columns: unit, at and kind, and if you have them part, reason, batch,
serial, version and note, in any order, divided by commas or semicolons. Other
columns are refused, so that a misspelt one is not lost.

Every mistake is told with its line. Without --partial nothing is kept then.
What is on record already (same unit, part, kind and time) is not added again,
so that an import may be repeated. Records older than 30 days are history: they
start no detector anew.`,
		Example: `  fettle maintenance import repairs.csv
  printf 'unit,at,kind,part,reason,batch\nWC-000017,2026-03-01,replacement,fan,failed,F24-07\n' | fettle maintenance import -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			in := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, f.Close()) }()
				in = f
			}
			entries, mistakes, err := Read(in, s.Time)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			out := imported{Mistakes: mistakes}
			if len(mistakes) == 0 || partial {
				if err := s.send(cmd, entries, partial, &out); err != nil {
					return err
				}
			}
			slices.SortStableFunc(out.Mistakes, func(a, b Mistake) int { return a.Line - b.Line })
			for _, m := range out.Mistakes {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s:%d: %s\n", args[0], m.Line, m.Text)
			}
			if len(out.Mistakes) > 0 && !partial {
				return refused("%d mistakes in %s; %s", len(out.Mistakes), args[0], kept(&out))
			}
			return s.Print(cmd, out, func(w io.Writer) {
				fmt.Fprintf(w, "%d recorded, %d on record already", out.Added, out.Known)
				if n := rowsOf(out.Mistakes); n > 0 {
					fmt.Fprintf(w, ", %d rows left out", n)
				}
				fmt.Fprintln(w)
			})
		},
	}
	cmd.Flags().BoolVar(&partial, "partial", false, "keep the rows that are right, and tell the others")
	return cmd
}

func kept(out *imported) string {
	if out.Added+out.Known > 0 {
		return fmt.Sprintf("%d records before them were kept", out.Added+out.Known)
	}
	return "nothing was kept (--partial keeps the rows that are right)"
}

func rowsOf(mistakes []Mistake) int {
	lines := map[int]bool{}
	for _, m := range mistakes {
		lines[m.Line] = true
	}
	return len(lines)
}

var recordAt = regexp.MustCompile(`records\[(\d+)\](?:\.(\w+))?`)

// send hands entries to the service, as many at once as it takes.
func (s Shared) send(cmd *cobra.Command, entries []Entry, partial bool, out *imported) error {
	for part := range slices.Chunk(entries, maintenance.MaxAdd) {
		for len(part) > 0 {
			in := wire.NewMaintenance{}
			for _, e := range part {
				in.Records = append(in.Records, e.MaintenanceEntry)
			}
			var added wire.MaintenanceAdded
			err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/maintenance", in, &added)
			if err == nil {
				out.Added, out.Known = out.Added+added.Added, out.Known+added.Known
				break
			}
			bad := map[int]bool{}
			problem, ok := errors.AsType[*client.ProblemError](err)
			if ok {
				for _, e := range problem.Errors {
					m := recordAt.FindStringSubmatch(e.Location)
					if m == nil {
						continue
					}
					i, _ := strconv.Atoi(m[1])
					if i >= len(part) {
						continue
					}
					bad[i] = true
					column := m[2]
					if c := columnOf[column]; c != "" {
						column = c
					}
					out.Mistakes = append(out.Mistakes, Mistake{part[i].Line, column + ": " + e.Message})
				}
			}
			if len(bad) == 0 {
				return err
			}
			if !partial {
				return nil
			}
			var good []Entry
			for i, e := range part {
				if !bad[i] {
					good = append(good, e)
				}
			}
			part = good
		}
	}
	return nil
}

// Read reads records from CSV. An error is one of the file as a whole.
func Read(in io.Reader, parseTime func(string) (time.Time, error)) (entries []Entry, mistakes []Mistake, err error) {
	buffered := bufio.NewReader(in)
	if mark, _ := buffered.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = buffered.Discard(3)
	}
	head, _ := buffered.Peek(4096)
	line, _, _ := bytes.Cut(head, []byte("\n"))
	r := csv.NewReader(buffered)
	r.FieldsPerRecord, r.TrimLeadingSpace = -1, true
	if bytes.Count(line, []byte(";")) > bytes.Count(line, []byte(",")) {
		r.Comma = ';'
	}
	names, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil, refused("it is empty; its first row names the columns: %s", strings.Join(fields, ", "))
	} else if err != nil {
		return nil, nil, err
	}
	place := map[string]int{}
	for i, n := range names {
		n = strings.ToLower(strings.TrimSpace(n))
		if !slices.Contains(fields, n) {
			return nil, nil, refused("column %d is named %q; expected some of %s", i+1, n, strings.Join(fields, ", "))
		}
		if _, twice := place[n]; twice {
			return nil, nil, refused("column %q stands there twice", n)
		}
		place[n] = i
	}
	for _, n := range []string{"unit", "at", "kind"} {
		if _, ok := place[n]; !ok {
			return nil, nil, refused("column %q is missing; its first row names the columns: %s", n, strings.Join(fields, ", "))
		}
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return entries, mistakes, nil
		}
		if e, ok := errors.AsType[*csv.ParseError](err); ok {
			mistakes = append(mistakes, Mistake{e.Line, e.Err.Error()})
			continue
		} else if err != nil {
			return nil, nil, err
		}
		at, _ := r.FieldPos(0)
		if len(row) != len(names) {
			mistakes = append(mistakes, Mistake{at, fmt.Sprintf("expected %d fields, got %d", len(names), len(row))})
			continue
		}
		get := func(name string) string {
			if i, ok := place[name]; ok {
				return strings.TrimSpace(row[i])
			}
			return ""
		}
		e := Entry{Line: at, MaintenanceEntry: wire.MaintenanceEntry{
			UnitID: get("unit"), Part: get("part"), Kind: maintenance.Kind(strings.ToLower(get("kind"))), Reason: maintenance.Reason(strings.ToLower(get("reason"))),
			Batch: get("batch"), Serial: get("serial"), Version: get("version"), Note: get("note"),
		}}
		if e.At, err = parseTime(get("at")); err != nil {
			mistakes = append(mistakes, Mistake{at, "at: " + err.Error()})
			continue
		}
		entries = append(entries, e)
	}
}
