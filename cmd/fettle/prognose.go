package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/detect/rul"
	"fettle.dev/fettle/internal/fault"
)

func newPrognoseCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "prognose",
		Short: "Learn from units that failed how long the living will last",
		Long: `Learn remaining useful life from recordings of units that ran to failure, and
predict it, with an interval, for units that still work.`,
		Example: `  fettle prognose fit --unit unit --time cycle train.csv.gz -o engines.model
  fettle prognose predict --model engines.model fleet.csv > remaining.csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newFitCmd(), newPredictCmd())
	return cmd
}

// fitOptions are the flags of fettle prognose fit.
type fitOptions struct {
	columnsOf
	censored string
	limit    float64
	out      string
	seed     uint64
}

// columnsOf says what is in a recording of lives.
type columnsOf struct {
	Unit   string   `json:"unit"`
	Time   string   `json:"time"`
	Dated  bool     `json:"dated"` // times are dates, counted in hours
	ignore []string // columns that are no signals
}

func newFitCmd() *cobra.Command {
	var o fitOptions
	cmd := &cobra.Command{
		Use:   "fit --unit COL --time COL TRAIN.csv -o MODEL",
		Short: "Learn from units that ran to failure",
		Long: `Read units' lives (CSV with a header; comma, semicolon or tab apart, with
semicolons also decimal commas; also gzipped), one row a reading, each
unit's rows in order of time, the last one when it failed, and write a model.

All other columns are signals or settings; which are settings, and what
operating regimes they make, is found by itself. An empty value, NaN or NA is a
gap, and so is any text, of which you are told. Remaining life is counted in the
unit of the time column: cycles, hours, kilometres; where it holds dates, in
hours.

--censored gives a second file of units that had not failed by their last row:
they count as lives of at least so long.

--cap N teaches that a remaining life above N is N (Heimes 2008): where wear
doesn't show before, errors in the far future are not worth an effort.`,
		Example: `  fettle prognose fit --unit unit --time cycle train.csv.gz -o engines.model
  fettle prognose fit --unit serial --time hours --cap 2000 --censored working.csv failed.csv -o pumps.model`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	cmd.Flags().StringVar(&o.Unit, "unit", "", "column that tells the unit")
	cmd.Flags().StringVar(&o.Time, "time", "", "column of time: numbers, or dates")
	cmd.Flags().StringSliceVar(&o.ignore, "ignore", nil, "columns that are no signals")
	cmd.Flags().StringVar(&o.censored, "censored", "", "file of units that had not failed by their last row")
	cmd.Flags().Float64Var(&o.limit, "cap", 0, "longest remaining life to tell apart (default: none)")
	cmd.Flags().StringVarP(&o.out, "output", "o", "", "file for the model")
	cmd.Flags().Uint64Var(&o.seed, "seed", 1, "of the random choices: the same one gives the same model")
	for _, name := range []string{"unit", "time", "output"} {
		_ = cmd.MarkFlagRequired(name)
	}
	return cmd
}

func (o *fitOptions) run(cmd *cobra.Command, path string) error {
	if cmd.Flags().Changed("cap") && !(o.limit > 0 && o.limit < math.Inf(1)) {
		return fault.New(fault.Invalid, "--cap %g: expected a time above 0", o.limit)
	}
	if o.out != "-" { // rather said now than after the work
		if about, err := os.Stat(o.out); err == nil && about.IsDir() {
			return fault.New(fault.Invalid, "--output %s is a directory: name a file in it", o.out)
		}
		if about, err := os.Stat(filepath.Dir(o.out)); err != nil || !about.IsDir() {
			return fault.New(fault.Invalid, "--output %s: there is no directory %s", o.out, filepath.Dir(o.out))
		}
	}
	train, err := readLives(path, cmd.InOrStdin(), cmd.ErrOrStderr(), &o.columnsOf, nil)
	if err != nil {
		return err
	}
	for i := range train.units {
		u := &train.units[i]
		u.Failed = true
		if len(u.Time) == 1 {
			return fault.New(fault.Invalid, "%s: unit %s has one row, which is no life to learn from: leave it out", path, u.ID)
		}
	}
	units := train.units
	if o.censored != "" {
		living, err := readLives(o.censored, cmd.InOrStdin(), cmd.ErrOrStderr(), &o.columnsOf, train.columns)
		if err != nil {
			return err
		}
		units = append(units, living.units...)
	}
	about, err := json.Marshal(o.columnsOf)
	if err != nil {
		return err
	}
	m, err := rul.Fit(units, rul.Config{Columns: train.columns, Cap: o.limit, Seed: o.seed, About: string(about)})
	switch {
	case errors.Is(err, rul.ErrFewFailures), errors.Is(err, rul.ErrNoSignal):
		return fault.New(fault.Invalid, "%s: %s", path, strings.TrimPrefix(err.Error(), "rul: "))
	case err != nil:
		return err
	}
	raw, err := m.MarshalBinary()
	if err != nil {
		return err
	}
	if o.out == "-" {
		if _, err := cmd.OutOrStdout().Write(raw); err != nil {
			return err
		}
		return describe(cmd.ErrOrStderr(), m, &o.columnsOf)
	}
	if err := writeWhole(o.out, raw); err != nil {
		return err
	}
	return describe(cmd.OutOrStdout(), m, &o.columnsOf)
}

// describe says what was learned.
func describe(w io.Writer, m *rul.Model, c *columnsOf) error {
	f := m.Facts()
	unit := c.Time
	if c.Dated {
		unit = "hours"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Units:      %d, %d of them ran to failure; half of those within %.4g (%s)\n", f.Units, f.Failed, f.Life, unit)
	fmt.Fprintf(&b, "Signals:    %s\n", strings.Join(f.Signals, ", "))
	if f.Regimes > 1 {
		fmt.Fprintf(&b, "Regimes:    %d, told by %s\n", f.Regimes, strings.Join(f.Settings, ", "))
	} else {
		fmt.Fprintf(&b, "Regimes:    one\n")
	}
	fmt.Fprintf(&b, "Error:      %.3g (root mean square over the lives of units held out of learning", f.RMSE)
	if f.Cap > 0 {
		fmt.Fprintf(&b, "; lives capped at %.4g", f.Cap)
	}
	fmt.Fprintf(&b, ")\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// writeWhole writes a file that is there whole or not at all. What is no file,
// as /dev/stdout, is written to: a file must not take its place.
func writeWhole(path string, raw []byte) error {
	if about, err := os.Stat(path); err == nil && !about.Mode().IsRegular() {
		return os.WriteFile(path, raw, 0o600)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func newPredictCmd() *cobra.Command {
	var path string
	var every bool
	cmd := &cobra.Command{
		Use:   "predict --model MODEL FILE.csv",
		Short: "Predict the remaining life of units",
		Long: `Read units' readings so far (CSV with a header, also gzipped; the model's
columns, in any order; more are ignored) and write, for each unit at its last
row, or with --every for each row:

  unit               as it was given
  the time column    with --every
  rul                remaining useful life from that row on, in the unit of the
                     time column (hours where it holds dates)
  rul_low, rul_high  an interval that holds four of five true lives

A row's prediction depends on the unit's rows up to it alone.`,
		Example: `  fettle prognose predict --model engines.model fleet.csv
  fettle prognose predict --model engines.model --every fleet.csv.gz > course.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return predict(cmd, path, args[0], every)
		},
	}
	cmd.Flags().StringVar(&path, "model", "", "file that fettle prognose fit wrote")
	cmd.Flags().BoolVar(&every, "every", false, "predict at each row")
	_ = cmd.MarkFlagRequired("model")
	return cmd
}

func predict(cmd *cobra.Command, model, path string, every bool) error {
	raw, err := os.ReadFile(model)
	if err != nil {
		return err
	}
	var m rul.Model
	var c columnsOf
	if err = m.UnmarshalBinary(raw); err == nil {
		if json.Unmarshal([]byte(m.About()), &c) != nil {
			err = rul.ErrDamaged
		}
	}
	if err != nil {
		return fault.New(fault.Invalid, "%s: %s", model, strings.TrimPrefix(err.Error(), "rul: "))
	}
	lives, err := readLives(path, cmd.InOrStdin(), cmd.ErrOrStderr(), &c, m.Columns())
	if err != nil {
		return err
	}
	// Five digits of a median life tell apart what can be told apart.
	digits := min(12, max(0, 5-int(math.Ceil(math.Log10(m.Facts().Life)))))
	format := func(v float64) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	out := csv.NewWriter(cmd.OutOrStdout())
	header := []string{c.Unit, "rul", "rul_low", "rul_high"}
	if every {
		header = slices.Insert(header, 1, c.Time)
	}
	_ = out.Write(header) // an error shows at the end
	if !every {
		for _, u := range lives.units {
			e, err := m.PredictLast(u)
			if err != nil {
				return err
			}
			_ = out.Write([]string{u.ID, format(e.RUL), format(e.Low), format(e.High)})
		}
	} else {
		estimates := make([][]rul.Estimate, len(lives.units))
		for k, u := range lives.units {
			if estimates[k], err = m.Predict(u); err != nil {
				return err
			}
		}
		next := make([]int, len(lives.units))
		for _, row := range lives.rows { // in the file's order
			e := estimates[row.unit][next[row.unit]]
			next[row.unit]++
			_ = out.Write([]string{lives.units[row.unit].ID, row.time, format(e.RUL), format(e.Low), format(e.High)})
		}
	}
	out.Flush()
	return out.Error()
}
