// Package trial holds the command that tries detectors on history, of a service
// or of a file.
package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/fault"
)

// Shared is what the command has from those beside it.
type Shared struct {
	*client.Client
	Print    func(cmd *cobra.Command, v any, table func(w io.Writer)) error
	Table    func() bool // whether a table is asked for
	Row      func(w io.Writer, cells ...any)
	Findings func(w io.Writer, list []wire.Finding)
	Time     func(text string) (time.Time, error)
}

// Trial is a backtest as the command line asks for it.
type Trial struct {
	Docs    []declare.Located // of the files named, if any
	Request wire.BacktestRequest

	// Without a service: history is a file.
	Data, Unit, Time, Received, Step string
	Columns                          []string // column=signal
	Ignore                           []string // columns
}

// Backtested is what a backtest gave, as it is printed.
type Backtested struct {
	ID string `json:"id,omitempty"`
	*backtest.Result
	Withheld int            `json:"withheld"`
	Sources  map[string]int `json:"sources,omitempty"`
	Findings []wire.Finding `json:"findings"`
}

// Offline runs a trial on a file; look is told how far it is.
type Offline func(ctx context.Context, stdin io.Reader, t *Trial, look func(done float64, rows int)) (*Backtested, error)

// backtestFlags are the flags as they stand on the command line.
type backtestFlags struct {
	files                     []string
	from, to, sweep, failures string
	horizon, late             string
	costFalse, costMissed     float64
	findings                  int
	background                bool
	trial                     Trial
	only                      []string
	cohort, component         string
	unrecorded, partial       bool
}

// Command is the command backtest; offline runs it on a file.
func Command(c *Shared, offline Offline) *cobra.Command {
	var f backtestFlags
	cmd := &cobra.Command{
		Use:   "backtest [-f FILE | NAME[@VERSION]]",
		Short: "Try a detector on history before it is switched on",
		Long: `Try a detector on history, by the code that runs live: which units it would have
flagged, how many alarms a unit-month, how many of the known failures it foresaw
and how long before, and what each threshold would have cost.

The detector is one of a file, applied or not, or a kept one by its name. It
runs in the background of the service over what history holds and owners permit
for the detector's purpose; units of others are withheld, and counted. The
findings of the threshold as declared are those that live gave, or would have.
Ctrl-C cancels it.

With --data it runs here on a CSV file, without a service: --unit and --time name
its columns. -f then takes the product's file, too, or a directory of both;
without a product, every column of numbers is a signal.

Known failures are those in --failures (CSV with unit, time and, if you like,
until and component), failures and replacements in the service's records, and
findings of the detector that were assessed. An alarm is true if a failure
follows within --horizon, or came no more than --late before it.

--sweep moves one setting: "factor", "hold=0,10m,1h", "margin=-5..5/11" (11 steps);
"none" moves nothing. By default it is the kind's threshold. All values are
tried in one pass.`,
		Example: `  fettle backtest -f plug-overheat.yaml --from 2014-03-01 --to 2014-04-01
  fettle backtest plug-overheat@2 --cohort hot-adapters --failures failures.csv --cost-missed 50
  fettle backtest -f turbofan/ --data train_FD001.csv.gz --unit unit --time cycle --step 1h \
    --failures failures.csv --horizon 72h -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if err := f.read(c, cmd, args); err != nil {
				return err
			}
			return c.backtest(ctx, cmd, &f, offline)
		},
	}
	f.declare(cmd)
	cmd.AddCommand(newBacktestListCmd(c), newBacktestShowCmd(c), newBacktestCancelCmd(c))
	return cmd
}

func (f *backtestFlags) declare(cmd *cobra.Command) {
	g := cmd.Flags()
	g.StringSliceVarP(&f.files, "filename", "f", nil, "file of the Detector; - reads standard input; may be repeated")
	g.StringVar(&f.from, "from", "", "event time, included (default: the beginning)")
	g.StringVar(&f.to, "to", "", "event time, not included (default: the end)")
	g.StringVar(&f.cohort, "cohort", "", "only units in a cohort, by its name or id")
	g.StringSliceVar(&f.only, "only", nil, "only these units, by their ids")
	g.StringVar(&f.sweep, "sweep", "", "setting to move, as margin, hold=0,10m,1h or factor=2..8/7; none (default: the kind's threshold)")
	g.StringVar(&f.failures, "failures", "", "CSV file of known failures: unit,time[,until][,component]")
	g.StringVar(&f.component, "component", "", "only failures of this component")
	g.BoolVar(&f.unrecorded, "unrecorded", false, "leave out the failures, replacements and assessments in the records")
	g.BoolVar(&f.partial, "partial", false, "there were more failures than are known: an alarm without one is not judged, rather than false")
	g.StringVar(&f.horizon, "horizon", "", "an alarm no longer than this before a failure foresaw it (default 30d)")
	g.StringVar(&f.late, "late", "", "an alarm no longer than this after a failure still found it (default 0)")
	g.Float64Var(&f.costFalse, "cost-false", 0, "what a false alarm costs (default 1)")
	g.Float64Var(&f.costMissed, "cost-missed", 0, "what a missed failure costs (default 10)")
	g.IntVar(&f.findings, "limit", 0, "most findings to print (default 20 in a table, 10000 otherwise)")
	g.BoolVar(&f.background, "background", false, "print the job's id and don't wait for it")
	g.StringVar(&f.trial.Data, "data", "", "run here on this CSV file (.gz, too; - reads standard input) instead of a service's history")
	g.StringVar(&f.trial.Unit, "unit", "", "with --data: column that tells the units apart")
	g.StringVar(&f.trial.Time, "time", "", "with --data: column of the time (default: the first)")
	g.StringVar(&f.trial.Received, "received", "", "with --data: column of the time of arrival (default: the time)")
	g.StringVar(&f.trial.Step, "step", "", "with --data: the time column counts: length of one count, as 1h")
	g.StringSliceVar(&f.trial.Ignore, "ignore", nil, "with --data: columns that are no signals, as labels")
	g.StringArrayVar(&f.trial.Columns, "map", nil, "with --data: column=signal; column alone keeps its name; may be repeated (default: columns named as signals)")
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml", "json")
	_ = cmd.MarkFlagFilename("failures", "csv")
	_ = cmd.MarkFlagFilename("data", "csv", "gz")
	for _, name := range []string{"cohort", "only", "background", "unrecorded"} {
		cmd.MarkFlagsMutuallyExclusive("data", name)
	}
}

func wrong(format string, args ...any) error {
	return fault.Wrap(fault.Invalid, "", fmt.Errorf(format, args...))
}

// read makes a trial of the flags.
func (f *backtestFlags) read(c *Shared, cmd *cobra.Command, args []string) (err error) {
	t := &f.trial
	q := &t.Request
	*q = wire.BacktestRequest{Units: f.only, Cohort: f.cohort, Component: f.component, Unrecorded: f.unrecorded, Partial: f.partial, CostFalse: f.costFalse, CostMissed: f.costMissed}
	switch {
	case len(args) == 1 && len(f.files) > 0:
		return wrong("name a detector or give a file with -f, not both")
	case len(args) == 0 && len(f.files) == 0:
		return wrong("which detector? Give its file with -f, or the name of one that is kept")
	case len(args) == 1 && t.Data != "":
		return wrong("--data runs without a service, which knows no detector %q: give its file with -f", args[0])
	case len(args) == 1:
		name, version, at := strings.Cut(args[0], "@")
		if q.Name = name; at {
			if q.Version, err = strconv.Atoi(version); err != nil || q.Version < 1 {
				return wrong("%q: expected NAME or NAME@VERSION, as plug-overheat@2", args[0])
			}
		}
	}
	if t.Data == "" {
		for _, name := range []string{"unit", "time", "received", "step", "map", "ignore"} {
			if cmd.Flags().Changed(name) {
				return wrong("--%s is about the file of --data, which is not given", name)
			}
		}
	}
	for _, v := range []struct {
		flag, text string
		into       *wire.BacktestRequest
	}{{"from", f.from, q}, {"to", f.to, q}} {
		if v.text == "" {
			continue
		}
		at, err := c.Time(v.text)
		if err != nil {
			return wrong("--%s: %w", v.flag, err)
		}
		if v.flag == "from" {
			q.From = at
		} else {
			q.To = at
		}
	}
	if q.Horizon, err = duration("horizon", f.horizon); err != nil {
		return err
	}
	if q.Late, err = duration("late", f.late); err != nil {
		return err
	}
	if !(f.costFalse >= 0 && f.costMissed >= 0 && f.costFalse+f.costMissed <= math.MaxFloat64) {
		return wrong("--cost-false and --cost-missed: expected numbers, 0 or more")
	}
	if q.Sweep, err = parseSweep(f.sweep); err != nil {
		return err
	}
	if f.failures != "" {
		if q.Failures, err = c.readFailures(f.failures); err != nil {
			return err
		}
	}
	if len(f.files) > 0 {
		if t.Docs, err = detectorFiles(cmd.InOrStdin(), f.files, t.Data == ""); err != nil {
			return err
		}
	}
	return nil
}

// detectorFiles reads files that hold one detector; of the rest a service needs nothing.
func detectorFiles(stdin io.Reader, files []string, alone bool) ([]declare.Located, error) {
	docs, mistakes, err := declare.ReadFiles(stdin, files)
	if err != nil {
		return nil, err
	}
	var out []declare.Located
	detectors := 0
	for i := range docs {
		switch docs[i].Kind {
		case declare.Detector:
			detectors++
			out = append(out, docs[i])
		case declare.Product:
			if !alone {
				out = append(out, docs[i])
			}
		default:
		}
	}
	if len(mistakes) == 0 && detectors != 1 {
		return nil, wrong("%s: expected one document of kind Detector, found %d", strings.Join(files, ", "), detectors)
	}
	for i := range out {
		_, fields := out[i].Check()
		mistakes = append(mistakes, out[i].Locate(fields)...)
	}
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return out, nil
}

func (c *Shared) backtest(ctx context.Context, cmd *cobra.Command, f *backtestFlags, offline Offline) error {
	look, end := c.progress(cmd)
	most := f.findings
	if most <= 0 {
		most = map[bool]int{true: 20, false: 10_000}[c.Table()]
	}
	if f.trial.Data != "" {
		f.trial.Request.Limit = min(most, 10_000)
		out, err := offline(ctx, cmd.InOrStdin(), &f.trial, look)
		end()
		if err != nil {
			return told(err)
		}
		return c.printBacktest(cmd, out, most)
	}
	var doc *declare.Located
	if len(f.trial.Docs) > 0 {
		doc = &f.trial.Docs[0]
	}
	if f.background {
		j, err := c.StartBacktest(ctx, doc, f.trial.Request)
		if err != nil {
			return err
		}
		return c.Print(cmd, j, func(w io.Writer) {
			fmt.Fprintf(w, "%s is %s: fettle backtest show %s\n", j.ID, j.State, j.ID)
		})
	}
	j, err := c.Backtest(ctx, doc, f.trial.Request, func(j *wire.Backtest) { look(j.Done, j.Rows) })
	end()
	if err != nil {
		return told(err)
	}
	return c.showBacktest(ctx, cmd, j, most)
}

// told says that somebody ended it, where somebody did.
func told(err error) error {
	if errors.Is(err, context.Canceled) {
		return errors.New("cancelled")
	}
	return err
}

// progress shows how far a job is, where somebody looks on.
func (c *Shared) progress(cmd *cobra.Command) (look func(done float64, rows int), end func()) {
	w, ok := cmd.ErrOrStderr().(*os.File)
	if !ok || !term.IsTerminal(int(w.Fd())) {
		return func(float64, int) {}, func() {}
	}
	const clear = "\r\x1b[K"
	return func(done float64, rows int) { fmt.Fprintf(w, clear+"%3.0f %%, %d rows", 100*done, rows) }, func() { fmt.Fprint(w, clear) }
}

func (c *Shared) showBacktest(ctx context.Context, cmd *cobra.Command, j *wire.Backtest, most int) error {
	if j.State != backtest.Done {
		return fmt.Errorf("backtest %s %s: %s", j.ID, j.State, j.Why)
	}
	out := &Backtested{ID: j.ID, Result: j.Result, Withheld: j.Withheld, Sources: j.Sources}
	q := url.Values{"limit": {strconv.Itoa(min(most, 1000))}}
	for len(out.Findings) < most {
		var page wire.Page[wire.Finding]
		if err := c.Call(ctx, http.MethodGet, "/v1/backtests/"+url.PathEscape(j.ID)+"/findings?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		out.Findings = append(out.Findings, page.Items...)
		if page.Next == "" {
			break
		}
		q.Set("after", page.Next)
	}
	return c.printBacktest(cmd, out, most)
}

func newBacktestListCmd(c *Shared) *cobra.Command {
	var detector string
	cmd := &cobra.Command{
		Use: "list", Short: "List backtests, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var page wire.Page[wire.Backtest]
			if err := c.Call(cmd.Context(), http.MethodGet, "/v1/backtests?"+url.Values{"detector": {detector}}.Encode(), nil, &page); err != nil {
				return err
			}
			return c.Print(cmd, page.Items, func(w io.Writer) {
				c.Row(w, "ID", "DETECTOR", "PRODUCT", "ASKED", "BY", "STATE", "DONE", "WHY")
				for _, j := range page.Items {
					c.Row(w, j.ID, fmt.Sprintf("%s@%d", j.Detector.Name, j.Detector.Version), j.Product, j.At, j.By, j.State, fmt.Sprintf("%.0f %%", 100*j.Done), j.Why)
				}
			})
		},
	}
	cmd.Flags().StringVar(&detector, "detector", "", "only those of a detector's name")
	return cmd
}

func newBacktestShowCmd(c *Shared) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "show ID", Short: "Tell what a backtest gave, or how far it is", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var j wire.Backtest
			if err := c.Call(cmd.Context(), http.MethodGet, "/v1/backtests/"+url.PathEscape(args[0]), nil, &j); err != nil {
				return err
			}
			if !j.State.Ended() {
				return c.Print(cmd, j, func(w io.Writer) { fmt.Fprintf(w, "%s, %.0f %%, %d rows\n", j.State, 100*j.Done, j.Rows) })
			}
			return c.showBacktest(cmd.Context(), cmd, &j, limit)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "most findings to print")
	return cmd
}

func newBacktestCancelCmd(c *Shared) *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID", Short: "Cancel a backtest, or delete one that has ended", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.Call(cmd.Context(), http.MethodDelete, "/v1/backtests/"+url.PathEscape(args[0]), nil, nil)
		},
	}
}
