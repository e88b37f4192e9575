// Command ingest drives the same messages through Fettle and through what its
// users would take instead, Mosquitto -> Telegraf -> InfluxDB, and through
// Mosquitto alone, one after the other on this machine, and prints what each
// acknowledged, stored and evaluated, and what that cost. Run it by
// `make bench-ingest`; docs/benchmarks.md says what was seen.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"fettle.dev/fettle/bench/child"
)

// options are the flags.
type options struct {
	fettle, telegraf string
	systems          string
	connections      string
	rate             int
	paced            time.Duration
	burst            int
	inFlight         int
	detectors        int
	profile          string
	dir              string

	growth, fill, repeats int
}

func main() {
	var o options
	flag.StringVar(&o.fettle, "fettle", "bin/fettle", "Fettle's program")
	flag.StringVar(&o.telegraf, "telegraf", ".tools/telegraf", "Telegraf's program")
	flag.StringVar(&o.systems, "systems", "mosquitto,stack,fettle", "what is measured")
	flag.StringVar(&o.connections, "connections", "100,10000", "how many units are connected")
	flag.IntVar(&o.rate, "rate", 5000, "messages a second, paced")
	flag.DurationVar(&o.paced, "paced", 20*time.Second, "how long messages are paced; 0: not at all")
	flag.IntVar(&o.burst, "burst", 1_000_000, "messages in a burst; 0: none")
	flag.IntVar(&o.inFlight, "in-flight", 20, "messages of a connection not yet acknowledged in a burst: as many as mosquitto's and paho's clients have by default")
	flag.IntVar(&o.detectors, "detectors", 20, "detectors that watch the units, at most 20")
	flag.StringVar(&o.profile, "profile", "", "file for a processor profile of Fettle under load, 12 s")
	flag.StringVar(&o.dir, "dir", "", "directory for data (default: a temporary one, removed at the end)")
	flag.IntVar(&o.growth, "growth", 0, "how many times units and history are multiplied, to compare what a paced message costs Fettle then (bench-growth); 0: not at all")
	flag.IntVar(&o.fill, "fill", 0, "messages that are stored before anything is measured (growth: of the smaller history)")
	flag.IntVar(&o.repeats, "repeats", 3, "growth: how often each is measured, in turns")
	flag.Parse()
	if err := run(&o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-ingest:", err)
		os.Exit(1)
	}
}

// A system takes messages and may store and evaluate them.
type system interface {
	name() string
	start(dir string, units int) error
	target() target
	processes() []*child.Process
	// progress is how many messages are stored and evaluated so far, cheaply.
	progress() (stored, evaluated int, err error)
	// exact counts the stored messages by asking for them.
	exact() (int, error)
	// settle is how long nothing may change before the rest is taken for lost.
	settle() time.Duration
}

func run(o *options) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "bench-ingest"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	if o.growth > 0 {
		return o.compareGrowth()
	}
	var rows []row
	for text := range strings.SplitSeq(o.connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("-connections: %w", err)
		}
		for name := range strings.SplitSeq(o.systems, ",") {
			s, err := o.system(name)
			if err != nil {
				return err
			}
			more, err := o.one(s, n)
			if err != nil {
				return err
			}
			rows = append(rows, more...)
		}
	}
	return report(rows)
}

// one measures a system with so many units.
func (o *options) one(s system, units int) ([]row, error) {
	dir := fmt.Sprintf("%s/%s-%d", o.dir, s.name(), units)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	rows, err := o.measure(s, dir, units)
	for _, p := range s.processes() {
		p.Stop()
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s said:\n%s\n", p.Name, p.Tail())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s with %d connections: %w", s.name(), units, err)
	}
	return rows, os.RemoveAll(dir)
}

func (o *options) system(name string) (system, error) {
	switch name {
	case "mosquitto":
		return &stack{}, nil
	case "stack":
		return &stack{telegraf: o.telegraf}, nil
	case "fettle":
		return &fettle{program: o.fettle, detectors: o.detectors, profile: o.profile}, nil
	}
	return nil, fmt.Errorf("-systems: mosquitto, stack or fettle, not %q", name)
}

// row is a line of the report.
type row struct {
	system           string
	connections      int
	load             string
	acked            int
	stores           bool
	lost             int
	ackRate          float64 // acknowledged a second
	storeRate        float64 // until the last was stored
	evaluateRate     float64 // until the last was evaluated; 0: nothing is
	cpuAcked         float64 // microseconds of processor for each message acknowledged
	cpuStored        float64 // and for each stored
	peak             int64   // memory, bytes
	ackTook, storing time.Duration
}

// report prints the table, and the comparison as its last line: the worse one
// of all the bursts that both went through.
func report(rows []row) error {
	w := tabwriter.NewWriter(os.Stdout, 2, 8, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "connections\tload\tsystem\tacknowledged/s\tstored/s\tevaluated/s\tCPU us a message\tCPU us a stored message\tpeak MiB\tacknowledged\tlost\t")
	for i := range rows {
		r := &rows[i]
		stored, evaluated, each, lost := "-", "-", "-", "-"
		if r.stores {
			stored, each, lost = fmt.Sprintf("%.0f", r.storeRate), fmt.Sprintf("%.1f", r.cpuStored), strconv.Itoa(r.lost)
		}
		if r.evaluateRate > 0 {
			evaluated = fmt.Sprintf("%.0f", r.evaluateRate)
		}
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%.0f\t%s\t%s\t%.1f\t%s\t%d\t%d\t%s\t\n", r.connections, r.load, r.system,
			r.ackRate, stored, evaluated, r.cpuAcked, each, r.peak>>20, r.acked, lost)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	cheaper, faster := 0.0, 0.0
	worst := func(was *float64, now float64) {
		if *was == 0 || now < *was {
			*was = now
		}
	}
	for i := range rows {
		f := &rows[i]
		if f.system != "fettle" || f.load != "burst" {
			continue
		}
		for j := range rows {
			other := &rows[j]
			if other.load != f.load || other.connections != f.connections {
				continue
			}
			switch other.system {
			case "stack":
				worst(&cheaper, other.cpuStored/f.cpuStored)
			case "mosquitto":
				worst(&faster, f.ackRate/other.ackRate)
			}
		}
	}
	fmt.Fprintf(os.Stdout, "bench-ingest: %.1fx fewer CPU us a stored message, %.1fx bare mosquitto\n", cheaper, faster)
	return nil
}
