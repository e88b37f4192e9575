// Command query loads what trucks report (as in the IoT case of the Time
// Series Benchmark Suite: where a truck is and how it drives, and how it is, a
// message of each every 10 s for a day) into Fettle's history and into
// InfluxDB, asks both the same, compares the answers, and prints the medians.
// Run it by `make bench-query`; docs/benchmarks.md says what was seen.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"fettle.dev/fettle/bench/influxdb"
)

type options struct {
	units   string
	hours   int
	repeats int
	patient time.Duration
	dir     string
}

func main() {
	var o options
	flag.StringVar(&o.units, "units", "100,4000", "numbers of trucks")
	flag.IntVar(&o.hours, "hours", 24, "hours that they report")
	flag.IntVar(&o.repeats, "repeats", 7, "how often each question is asked")
	flag.DurationVar(&o.patient, "patience", 2*time.Minute, "a question is not asked again once this much time has gone into it")
	flag.StringVar(&o.dir, "dir", "", "directory for data (default: a temporary one, removed at the end)")
	flag.Parse()
	if err := run(context.Background(), &o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-query:", err)
		os.Exit(1)
	}
}

// An answer is text by name: of a truck, a model, a fleet.
type answer map[string]string

// A question has a name, and how each system answers it. The slow ones are
// those that read the whole day.
type question struct {
	name   string
	slow   bool
	fettle func(ctx context.Context) (answer, error)
	influx func(ctx context.Context) (answer, error)
}

func run(ctx context.Context, o *options) (err error) {
	dir := o.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "fettle-bench-query-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	ahead, factor := true, 0.0
	for number := range strings.SplitSeq(o.units, ",") {
		var units int
		if _, err := fmt.Sscan(number, &units); err != nil || units < 1 {
			return fmt.Errorf("-units: expected numbers, got %q", o.units)
		}
		a, f, err := compare(ctx, o, filepath.Join(dir, number), units)
		if err != nil {
			return err
		}
		ahead = ahead && a
		if factor == 0 || f < factor {
			factor = f
		}
	}
	word := "ahead in each"
	if !ahead {
		word = "not ahead in each"
	}
	fmt.Printf("bench-query: %s, at least %.1fx in the two slow ones\n", word, factor)
	return nil
}

// compare loads and asks; it reports whether Fettle was ahead in each question,
// and the least factor of the slow ones.
func compare(ctx context.Context, o *options, dir string, units int) (ahead bool, least float64, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, 0, err
	}
	f := newFleet(units, o.hours)
	server, err := influxdb.Start(ctx, dir)
	if err != nil {
		return false, 0, err
	}
	defer server.Stop()
	db := influx{server}
	began := time.Now()
	if err := db.load(ctx, f); err != nil {
		return false, 0, err
	}
	loaded := time.Since(began)
	began = time.Now()
	history, err := openHistory(ctx, dir, f)
	if err != nil {
		return false, 0, err
	}
	defer func() { err = errors.Join(err, history.Close()) }()
	fmt.Printf("%d trucks, %d hours, %d messages: loaded into InfluxDB in %s, into Fettle in %s\n",
		units, o.hours, 2*f.rounds()*units, loaded.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))

	ahead = true
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "question\tFettle, ms\tInfluxDB, ms\tx\tanswers\t")
	for _, q := range questions(f, history, db) {
		ours, a, err := ask(ctx, o, q.fettle)
		if err != nil {
			return false, 0, fmt.Errorf("%s: Fettle: %w", q.name, err)
		}
		theirs, b, err := ask(ctx, o, q.influx)
		if err != nil {
			return false, 0, fmt.Errorf("%s: InfluxDB: %w", q.name, err)
		}
		same := fmt.Sprintf("%d, the same", len(a))
		if d := differ(a, b); d != "" {
			same = "DIFFER: " + d
		}
		x := float64(theirs) / float64(ours)
		ahead = ahead && x > 1
		if q.slow && (least == 0 || x < least) {
			least = x
		}
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%s\t\n", q.name, ours.Seconds()*1000, theirs.Seconds()*1000, x, same)
	}
	return ahead, least, w.Flush()
}

// ask is the median time of an answer, and the answer.
func ask(ctx context.Context, o *options, f func(ctx context.Context) (answer, error)) (time.Duration, answer, error) {
	var took []time.Duration
	var a answer
	for first := time.Now(); len(took) == 0 || len(took) < o.repeats && time.Since(first) < o.patient; {
		began := time.Now()
		var err error
		if a, err = f(ctx); err != nil {
			return 0, nil, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2], a, nil
}

func differ(a, b answer) string {
	for k, v := range a {
		if b[k] != v {
			return fmt.Sprintf("%s: %q, %q", k, v, b[k])
		}
	}
	for k, v := range b {
		if _, ok := a[k]; !ok {
			return fmt.Sprintf("%s: \"\", %q", k, v)
		}
	}
	return ""
}
