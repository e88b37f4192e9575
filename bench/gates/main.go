// Command gates plays rollouts of good and bad releases and counts how many
// units begin and how many fail before each is stopped: by Fettle's evidence,
// by fixed thresholds as hawkBit has, and by who knows how bad the release is.
// Run it by `make bench-gates`; docs/gates.md shows what it prints.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"text/tabwriter"
)

type options struct {
	times int
	seed  uint64
}

func main() {
	var o options
	flag.IntVar(&o.times, "times", 1000, "rollouts of each kind")
	flag.Uint64Var(&o.seed, "seed", 1, "of the chance")
	flag.Parse()
	if err := run(os.Stdout, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-gates:", err)
		os.Exit(1)
	}
}

// The rollouts that are played: a large one, and one as small as many are.
var (
	large = []int{1_000, 9_000, 90_000}
	small = []int{20, 60, 120}
)

type column func(r *rollout) (string, func(*rand.Rand) method)

func fixedAt(name string, share float64) column {
	return func(r *rollout) (string, func(*rand.Rand) method) { return name, always(fixed(name, share)(r)) }
}

func declaredBaseline(r *rollout) (string, func(*rand.Rand) method) {
	m := evidence("Fettle", exact(r.baseline))
	return m.name, always(m)
}

func knowingAll(r *rollout) (string, func(*rand.Rand) method) {
	if r.extra == 0 {
		return "best possible", nil
	}
	m := wald(r)
	return "best possible", always(m)
}

func historyOf(units int) column {
	return func(r *rollout) (string, func(*rand.Rand) method) {
		return fmt.Sprintf("history of %d", units), learned(r, units)
	}
}

func run(out io.Writer, o options) error {
	for _, p := range []struct {
		title   string
		waves   []int
		flight  int
		columns []column
	}{
		{"100,000 units in waves of 1,000, 9,000 and 90,000", large, 0, []column{declaredBaseline, fixedAt("hawkBit 10 %", 0.1), fixedAt("hawkBit 5 %", 0.05), fixedAt("hawkBit 2 %", 0.02), knowingAll}},
		{"the same, the baseline learned from earlier rollouts of so many units", large, 0, []column{historyOf(0), historyOf(50), historyOf(200), historyOf(1_000), historyOf(10_000)}},
		{"the same, 100 units on their way at any time", large, 100, []column{declaredBaseline, historyOf(1_000)}},
		{"200 units in waves of 20, 60 and 120", small, 0, []column{declaredBaseline, historyOf(50), historyOf(1_000), fixedAt("hawkBit 10 %", 0.1), fixedAt("hawkBit 5 %", 0.05), knowingAll}},
	} {
		if err := table(out, p.title, p.waves, p.flight, p.columns, o); err != nil {
			return err
		}
	}
	return nil
}

// table prints one row a kind of release: how many of 100 rollouts were
// stopped; of all of them, the median of units begun and of units failed.
func table(out io.Writer, title string, waves []int, flight int, columns []column, o options) error {
	fmt.Fprintf(out, "\n%s (%d rollouts each; stopped of 100 · units begun, median · units that failed, median)\n\n", title, o.times)
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', tabwriter.Debug)
	for i, baseline := range []float64{0.01, 0.05} {
		for _, extra := range []float64{0, 0.005, 0.02, 0.1} {
			r := &rollout{waves: waves, baseline: baseline, extra: extra, flight: flight}
			if i == 0 && extra == 0 {
				fmt.Fprint(w, "baseline\t extra\t")
				for _, c := range columns {
					name, _ := c(r)
					fmt.Fprintf(w, " %s\t", name)
				}
				fmt.Fprintln(w)
			}
			fmt.Fprintf(w, "%g %%\t %s\t", 100*baseline, extraWords(extra))
			for _, c := range columns {
				_, of := c(r)
				if of == nil {
					fmt.Fprint(w, " -\t")
					continue
				}
				s := try(r, of, o.times, o.seed)
				fmt.Fprintf(w, " %.1f · %d · %d\t", 100*s.stopped, s.begunP50, s.failedP50)
			}
			fmt.Fprintln(w)
		}
	}
	return w.Flush()
}

func extraWords(extra float64) string {
	if extra == 0 {
		return "none: good"
	}
	return fmt.Sprintf("+%g %%", 100*extra)
}
