package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// compareGrowth measures what a paced message costs Fettle with so many units
// and so much history, with more units, and with more history, in turns, and
// compares the medians.
func (o *options) compareGrowth() error {
	const units = 1000
	o.burst = 0
	if o.fill == 0 {
		o.fill = 300_000
	}
	cases := []struct {
		name        string
		units, fill int
		costs       []float64
	}{
		{"at first", units, o.fill, nil},
		{fmt.Sprintf("units x%d", o.growth), o.growth * units, o.fill, nil},
		{fmt.Sprintf("history x%d", o.growth), units, o.growth * o.fill, nil},
	}
	for range o.repeats {
		for i := range cases {
			c := &cases[i]
			one := *o
			one.fill = c.fill
			s, err := one.system("fettle")
			if err != nil {
				return err
			}
			rows, err := one.one(s, c.units)
			if err != nil {
				return err
			}
			if rows[0].lost != 0 {
				return fmt.Errorf("%s: %d messages were lost", c.name, rows[0].lost)
			}
			c.costs = append(c.costs, rows[0].cpuAcked)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 2, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "\tunits\tmessages of 10 values in history\tCPU us a message\t")
	var grown []string
	for i := range cases {
		c := &cases[i]
		slices.Sort(c.costs)
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%.1f\t\n", c.name, c.units, c.fill, c.costs)
		if i > 0 {
			grown = append(grown, fmt.Sprintf("%s %+.0f %%", c.name, 100*(median(c.costs)/median(cases[0].costs)-1)))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("bench-growth: %s CPU a message\n", strings.Join(grown, ", "))
	return nil
}

func median(sorted []float64) float64 { return sorted[len(sorted)/2] }
