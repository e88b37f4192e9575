package trial

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/fleet"
)

func duration(flag, text string) (fleet.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := fleet.ParseDuration(text)
	if err != nil {
		return 0, wrong("--%s: %w", flag, err)
	}
	return d, nil
}

// parseSweep reads a setting, alone, with a list of values, or with a range and
// a number of steps.
func parseSweep(text string) (s backtest.Sweep, err error) {
	switch text {
	case "":
		return backtest.Sweep{Auto: true}, nil
	case "none":
		return backtest.Sweep{}, nil
	}
	name, values, given := strings.Cut(text, "=")
	s.Field = strings.TrimSpace(name)
	if !slices.Contains(backtest.Fields(), s.Field) {
		return s, wrong("--sweep %s: expected a setting that is a number or a duration: %s", text, strings.Join(backtest.Fields(), ", "))
	}
	if !given {
		return s, nil
	}
	if from, rest, ok := strings.Cut(values, ".."); ok {
		to, steps, ok := strings.Cut(rest, "/")
		n, bad := 11, error(nil)
		if ok {
			n, bad = strconv.Atoi(strings.TrimSpace(steps))
		}
		if bad != nil || n < 2 || n > backtest.MostThresholds {
			return s, wrong("--sweep %s: expected FROM..TO/STEPS, with 2 to %d steps", text, backtest.MostThresholds)
		}
		a, err := s.Parse(from)
		if err != nil {
			return s, wrong("--sweep %s: %w", text, err)
		}
		b, err := s.Parse(to)
		if err != nil {
			return s, wrong("--sweep %s: %w", text, err)
		}
		for i := range n {
			s.Values = append(s.Values, a+(b-a)*float64(i)/float64(n-1))
		}
		return s, nil
	}
	for one := range strings.SplitSeq(values, ",") {
		v, err := s.Parse(one)
		if err != nil {
			return s, wrong("--sweep %s: %w", text, err)
		}
		s.Values = append(s.Values, v)
	}
	return s, nil
}

// mostFailures bounds a file of failures.
const mostFailures = 100_000

// readFailures reads unit,time[,until][,component].
func (c *Shared) readFailures(path string) (out []wire.BacktestFailure, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	r := csv.NewReader(f)
	r.FieldsPerRecord, r.TrimLeadingSpace, r.ReuseRecord = -1, true, true
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, wrong("%s is empty: expected a header, unit,time[,until][,component]", path)
	} else if err != nil {
		return nil, wrong("%s: %w", path, err)
	}
	at := map[string]int{}
	for i, h := range header {
		at[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")))] = i
	}
	for _, need := range []string{"unit", "time"} {
		if _, ok := at[need]; !ok {
			return nil, wrong("%s has no column %q: expected a header, unit,time[,until][,component]", path, need)
		}
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, wrong("%s: %w", path, err)
		}
		line, _ := r.FieldPos(0)
		field := func(name string) string {
			if i, ok := at[name]; ok && i < len(record) {
				return strings.TrimSpace(record[i])
			}
			return ""
		}
		one := wire.BacktestFailure{Unit: strings.Clone(field("unit")), Component: strings.Clone(field("component"))}
		if one.Unit == "" {
			return nil, wrong("%s, line %d: expected a unit", path, line)
		}
		if one.At, err = c.failureTime(field("time")); err != nil {
			return nil, wrong("%s, line %d: time: %w", path, line, err)
		}
		if text := field("until"); text != "" {
			if one.Until, err = c.failureTime(text); err != nil {
				return nil, wrong("%s, line %d: until: %w", path, line, err)
			}
			if one.Until.Before(one.At) {
				return nil, wrong("%s, line %d: until is before time", path, line)
			}
		}
		if out = append(out, one); len(out) > mostFailures {
			return nil, wrong("%s: expected at most %d failures", path, mostFailures)
		}
	}
}

// failureTime reads a time as it is written, or a count, which is kept as that
// many seconds since 1970: with --step it is a count of the time column.
func (c *Shared) failureTime(text string) (time.Time, error) {
	if n, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(n) && math.Abs(n) < 1e14 {
		if n > 1e11 {
			n /= 1000
		}
		return time.UnixMilli(int64(n * 1000)).UTC(), nil
	}
	return c.Time(text)
}

func (c *Shared) printBacktest(cmd *cobra.Command, out *Backtested, most int) error {
	if len(out.Findings) > most {
		out.Findings = out.Findings[:most]
	}
	if out.Findings == nil {
		out.Findings = []wire.Finding{}
	}
	return c.Print(cmd, out, func(w io.Writer) { out.table(c, w) })
}

func (b *Backtested) table(c *Shared, w io.Writer) {
	if len(b.Findings) > 0 {
		c.Findings(w, b.Findings)
		if n := b.Total - len(b.Findings); n > 0 {
			fmt.Fprintf(w, "and %d more (--limit, or -o json)\n", n)
		}
		fmt.Fprintln(w)
	}
	if len(b.Thresholds) > 1 || b.Failures > 0 {
		b.thresholds(c, w)
	}
	fmt.Fprintf(w, "%s by %s@%d; %s judged, %d withheld (their owners do not permit it), %d without data; %s unit-months\n",
		count(b.Total, "finding"), b.Detector.Name, b.Detector.Version, count(b.Judged, "unit"), b.Withheld, b.NoData, words.Number(b.UnitMonths))
	if b.Failures == 0 && b.Outside == 0 {
		return
	}
	fmt.Fprint(w, count(b.Failures, "known failure"))
	if b.Outside > 0 {
		fmt.Fprintf(w, " (and %d of units that were not judged, or while they were not watched)", b.Outside)
	}
	fmt.Fprintf(w, "; an alarm up to %s before counts", words.Span(time.Duration(b.Match.Horizon)))
	if b.Match.Late > 0 {
		fmt.Fprintf(w, ", and up to %s after", words.Span(time.Duration(b.Match.Late)))
	}
	fmt.Fprintf(w, "; a false alarm costs %s, a missed failure %s\n", words.Number(b.Cost.False), words.Number(b.Cost.Missed))
	if !b.Complete {
		fmt.Fprintln(w, "not all failures are known: alarms of which nobody knows count neither as true nor as false")
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// percent has two digits, as 0.12 % and 99 %, and never an exponent but for next to nothing.
func percent(x float64) string {
	if x >= 0.095 {
		return fmt.Sprintf("%.0f %%", 100*x)
	}
	return fmt.Sprintf("%.2g %%", 100*x)
}

func (b *Backtested) thresholds(c *Shared, w io.Writer) {
	head := "THRESHOLD"
	if b.Field != "" {
		head = strings.ToUpper(b.Field)
	}
	means := slices.ContainsFunc(b.Thresholds, func(t backtest.Threshold) bool { return t.Text != "" && !strings.HasPrefix(t.Text, b.Field+" ") })
	line := func(value, text string, rest ...any) {
		if means {
			value += "\t" + text
		}
		c.Row(w, append([]any{value}, rest...)...)
	}
	line(head, "MEANS", "UNITS", "ALARMS", "A UNIT-MONTH", "IN ALARM", "PRECISION", "RECALL", "LEAD TIME", "COST", " ")
	share := func(v *float64) string {
		if v == nil {
			return ""
		}
		return fmt.Sprintf("%.0f %%", 100**v)
	}
	for i, t := range b.Thresholds {
		value, lead, cost, note := words.Number(t.Value), "", "", " "
		if b.Unit == "s" {
			value = words.Span(time.Duration(t.Value * float64(time.Second)))
		}
		if b.Field == "" {
			value = "as declared"
		}
		if rest, ok := strings.CutPrefix(t.Text, b.Field+" "); ok && b.Field != "" {
			value = rest // it means what it says
		}
		if t.LeadP50 != nil {
			if lead = words.Span(time.Duration(math.Abs(*t.LeadP50) * float64(time.Second))); *t.LeadP50 < 0 {
				lead += " late"
			}
		}
		if t.Cost != nil {
			cost = words.Number(*t.Cost)
		}
		if i == b.Declared && b.Field != "" {
			note = "<- declared"
		}
		if i == b.Best && b.Field != "" {
			note = strings.TrimPrefix(strings.TrimSpace(note)+", least cost", ", ")
		}
		line(value, cmp.Or(t.Text, "-"), t.Units, t.Alarms, fmt.Sprintf("%.3g", t.Rate), percent(t.InAlarm), share(t.Prec), share(t.Recall), lead, cost, note)
	}
	fmt.Fprintln(w)
}
