package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/detect/anomaly"
	"fettle.dev/fettle/internal/detect/multivariate"
	"fettle.dev/fettle/internal/fault"
)

// scoreOptions are the flags of fettle score.
type scoreOptions struct {
	warmup int
	time   string
	ignore []string
	budget string
}

func newScoreCmd() *cobra.Command {
	var o scoreOptions
	cmd := &cobra.Command{
		Use:   "score [FILE.csv]",
		Short: "Score each row of a recording for anomalies",
		Long: `Read a recording (CSV with a header; comma, semicolon or tab apart, with
semicolons also decimal commas; also gzipped; standard input without FILE or
for -) and write one row for each row of it, as it comes, in constant memory:

  the time column   as it was given: the first column, unless --time names another
  anomaly_score     s/(1+s) of the score s: 0.5 is at the budget of false alarms,
                    more is rarer. It marks the onset: the rows that follow score
                    0 unless they outdo it, so any threshold alarms once
  alarm             the state: 1 on every row from the onset until it clears
  top_signal        while there is something to see: the column that shows it most

One column of numbers is judged by itself, several together. The detector is
the one that watches units live: it has seen no row but those above, learns the
usual hour by hour, and calibrates itself to the budget. Rows of the warm-up
score 0. A gap or a text among the values never drops a row; of a line longer
than 1 MiB, what is beyond is gaps. Times may be ISO 8601, a date and a time, or
seconds, milliseconds, ... since 1970; rows without a time are taken to be a
minute apart.`,
		Example: `  fettle score pump.csv > scored.csv
  fettle score --warmup 400 --ignore anomaly,changepoint valve1/0.csv
  fettle score --budget 1/month --time ts pump.csv.gz
  mosquitto_sub -t pump/7/csv | fettle score -`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			path := ""
			if len(args) == 1 {
				path = args[0]
			}
			cfg, err := o.config()
			if err != nil {
				return err
			}
			t, file, err := openTable(path, cmd.InOrStdin())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			if err = score(t, cfg, &o, cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil && path != "" && path != "-" {
				err = fmt.Errorf("%s: %w", path, err)
			}
			return err
		},
	}
	cmd.Flags().IntVar(&o.warmup, "warmup", 0, "rows to learn from and score 0 (default: until enough was seen)")
	cmd.Flags().StringVar(&o.time, "time", "", "time column (default: the first)")
	cmd.Flags().StringSliceVar(&o.ignore, "ignore", nil, "columns that are no signals, as labels")
	cmd.Flags().StringVar(&o.budget, "budget", "", `episodes that may be raised on a unit that behaves as ever: "1 per unit-year",
2/week; a number alone is a year's (default `+strconv.Itoa(anomaly.DefaultBudget)+`/year)`)
	return cmd
}

func (o *scoreOptions) config() (cfg anomaly.Config, err error) {
	if o.warmup < 0 {
		return cfg, fault.New(fault.Invalid, "--warmup %d: expected 0 or more rows", o.warmup)
	}
	cfg.Warmup = o.warmup
	if o.budget != "" {
		cfg.Budget, err = parseBudget(o.budget)
	}
	return cfg, err
}

// parseBudget reads episodes a year, as detectors' declarations have them.
func parseBudget(s string) (float64, error) {
	rate, err := spec.Budget(s).Rate()
	if err != nil {
		return 0, fault.New(fault.Invalid, "--budget %s: expected %v", s, err)
	}
	return rate, nil
}

// scorer writes a row for each row read.
type scorer struct {
	t        *table
	cfg      anomaly.Config
	out      *csv.Writer
	warn     io.Writer
	timeCol  int
	times    timeReader
	columns  []int // that may be signals
	signals  []int // of columns: those that are
	detector *anomaly.Detector
	values   []float64
	early    []earlyRow // kept until signals is known
	record   [4]string
}

type earlyRow struct {
	at     int64
	values []float64 // of columns
}

// Over the warm-up, but for so many rows at least and at most, it is found out
// which columns hold numbers. No detector has an opinion before.
const (
	leastRows = 50
	mostRows  = 1000
)

func score(t *table, cfg anomaly.Config, o *scoreOptions, out, warn io.Writer) (err error) {
	buffer := bufio.NewWriterSize(out, 1<<16)
	s := &scorer{t: t, cfg: cfg, out: csv.NewWriter(buffer), warn: warn}
	cut := 0
	t.Cut = func(line int) {
		if cut++; cut == 1 {
			fmt.Fprintf(warn, "fettle: line %d is longer than %d KiB: its values beyond are gaps, as those of other such lines\n", line, lineLimit>>10)
		}
	}
	if o.time != "" {
		if s.timeCol, err = t.column("--time", o.time); err != nil {
			return err
		}
	}
	ignored := []int{s.timeCol}
	for _, name := range o.ignore {
		if _, err := t.column("--ignore", name); err != nil {
			return err
		}
		for i, other := range t.Header { // two may share a name
			if other == strings.TrimSpace(name) {
				ignored = append(ignored, i)
			}
		}
	}
	for i := range t.Header {
		if !slices.Contains(ignored, i) {
			s.columns = append(s.columns, i)
		}
	}
	if len(s.columns) == 0 {
		return fault.New(fault.Invalid, "there is no column to score beside the time column %q; there are %s (columns may stand apart by comma, semicolon or tab)", t.Header[s.timeCol], strings.Join(t.Header, ", "))
	}
	flush := func() error {
		s.out.Flush()
		return errors.Join(s.out.Error(), buffer.Flush())
	}
	if err := s.out.Write([]string{t.Header[s.timeCol], "anomaly_score", "alarm", "top_signal"}); err != nil {
		return err
	}
	for {
		if !t.Buffered() { // whoever waits at the other end of a pipe sees what is known
			if err := flush(); err != nil {
				return err
			}
		}
		row, err := t.Next()
		if errors.Is(err, io.EOF) {
			s.end()
			return flush()
		}
		if err != nil {
			return errors.Join(err, flush())
		}
		if err := s.step(row); err != nil {
			return err
		}
	}
}

// step takes a row and writes one.
func (s *scorer) step(row []string) error {
	s.record = [4]string{"", "0.000000", "0", ""}
	at := int64(anomaly.NoTime)
	if s.timeCol < len(row) {
		s.record[0] = row[s.timeCol]
		if ms, ok := s.times.read(row[s.timeCol]); ok {
			at = ms
		}
	}
	values := s.values
	if s.detector == nil {
		values = make([]float64, len(s.columns))
	}
	for i, col := range s.signalColumns() {
		values[i] = math.NaN()
		if col < len(row) {
			if v, ok := s.t.number(row[col]); ok {
				values[i] = v
			}
		}
	}
	var res anomaly.Result
	if s.detector == nil {
		s.early = append(s.early, earlyRow{at, values})
		if len(s.early) < min(max(s.cfg.Warmup, leastRows), mostRows) {
			return s.out.Write(s.record[:])
		}
		res = s.begin()
	} else {
		res = s.detector.Step(at, values)
	}
	s.record[1] = strconv.FormatFloat(squash(res.Score), 'f', 6, 64)
	if res.Alarm {
		s.record[2] = "1"
	}
	if (res.Alarm || res.Score > 0) && res.Top >= 0 {
		s.record[3] = s.t.Header[s.signals[res.Top]]
	}
	return s.out.Write(s.record[:])
}

// squash maps a score of 0 to infinity to 0 to 1.
func squash(s float64) float64 {
	if math.IsInf(s, 1) {
		return 1
	}
	return s / (1 + s)
}

func (s *scorer) signalColumns() []int {
	if s.detector == nil {
		return s.columns
	}
	return s.signals
}

// begin finds which columns hold numbers and lets the detector see the rows
// so far. It returns the newest row's result.
func (s *scorer) begin() (res anomaly.Result) {
	var of []int
	var without []string
	for i, col := range s.columns {
		if slices.ContainsFunc(s.early, func(r earlyRow) bool { return !math.IsNaN(r.values[i]) }) {
			s.signals, of = append(s.signals, col), append(of, i)
		} else {
			without = append(without, s.t.Header[col])
		}
	}
	if names := strings.Join(without, ", "); len(s.signals) == 0 { // numbers may come yet
		s.signals = s.columns
		for i := range s.columns {
			of = append(of, i)
		}
		fmt.Fprintf(s.warn, "fettle: no numbers in the first %d rows of %s: all rows score 0 until there are\n", len(s.early), names)
	} else if len(without) > 0 {
		fmt.Fprintf(s.warn, "fettle: left out, as the first %d rows hold no numbers: %s\n", len(s.early), names)
	}
	s.detector = anomaly.New(len(s.signals), s.cfg)
	s.values = make([]float64, len(s.signals))
	for _, r := range s.early {
		for i, j := range of {
			s.values[i] = r.values[j]
		}
		res = s.detector.Step(r.at, s.values)
	}
	s.early = nil
	return res
}

// end says what a reader of the output would wonder about.
func (s *scorer) end() {
	if s.detector == nil && len(s.early) > 0 {
		s.begin()
	}
	if s.detector != nil && !s.detector.Learned() {
		fmt.Fprintln(s.warn, "fettle: every row was learned from and none was judged; one column wants some 50 rows, several columns want "+strconv.Itoa(multivariate.DefaultWarmup)+" rows, or as many as --warmup says")
	}
}
