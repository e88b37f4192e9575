// Command history fills a history with what a fleet sends in a month and asks
// it what people ask: one unit's signal over all of it, and which units a
// condition holds for. It prints how long that took, and what storing a
// message cost while history was small and when it was large. Run it by
// `make bench-history`; docs/benchmarks.md says what was seen.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"

	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/telemetry"
)

type options struct {
	values  int
	units   int
	signals int
	days    int
	hot     float64
	memory  int
	dir     string
	keep    bool
}

func main() {
	var o options
	flag.IntVar(&o.values, "values", 1_000_000_000, "values stored")
	flag.IntVar(&o.units, "units", 10_000, "units that send them, in turn")
	flag.IntVar(&o.signals, "signals", 10, "values a message, at least 2")
	flag.IntVar(&o.days, "days", 30, "days that the messages span")
	flag.Float64Var(&o.hot, "hot", 0.005, "share of units whose plug gets hot for an hour a day")
	flag.IntVar(&o.memory, "memory", 1024, "MiB that history may take")
	flag.StringVar(&o.dir, "dir", "", "directory for data; if history is there already it is asked as it is (default: a temporary one)")
	flag.BoolVar(&o.keep, "keep", false, "keep the data")
	flag.Parse()
	if err := run(context.Background(), &o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench-history:", err)
		os.Exit(1)
	}
}

const product = "wall-charger"

var begin = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)

func (o *options) end() time.Time { return begin.AddDate(0, 0, o.days) }

func run(ctx context.Context, o *options, out io.Writer) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "fettle-bench-history-"); err != nil {
			return err
		}
	}
	if !o.keep {
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	h, err := duckdb.Open(ctx, duckdb.Config{Dir: o.dir, MemoryMB: o.memory, Manual: true}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if err := fill(ctx, o, h, out); err != nil {
		return err
	}
	if err := ask(ctx, o, h, out); err != nil {
		return err
	}
	return judge(ctx, o, h, out)
}

// unit is the key of the nth unit: keys are random, as those of the records.
func unit(n int) int64 {
	z := uint64(n+1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int64((z ^ z>>31) >> 1)
}

// sender makes messages of all units in turn, in order of time.
type sender struct {
	o     *options
	names []string
	r     *rand.Rand
	next  int
	level []float64
}

func newSender(o *options) *sender {
	f := &sender{o: o, r: rand.New(rand.NewPCG(3, 4)), level: make([]float64, o.units)}
	for i := range o.signals {
		f.names = append(f.names, fmt.Sprintf("signal_%d", i))
	}
	f.names[0], f.names[1] = "plug_temperature", "current"
	return f
}

func (f *sender) total() int { return f.o.values / f.o.signals }

// batch is the next messages, at most n.
func (f *sender) batch(seq uint64, n int) telemetry.Sequenced {
	n = min(n, f.total()-f.next)
	b := &telemetry.Batch{Product: product, Rows: make([]telemetry.Row, n)}
	values := make([]telemetry.Value, n*f.o.signals)
	rounds := max(f.total()/f.o.units, 1)
	step := f.o.end().Sub(begin).Milliseconds() / int64(rounds)
	for i := range b.Rows {
		u, round := f.next%f.o.units, f.next/f.o.units
		at := begin.UnixMilli() + int64(round)*step + step*int64(u)/int64(f.o.units)
		v := values[i*f.o.signals : (i+1)*f.o.signals : (i+1)*f.o.signals]
		f.level[u] += float64(f.r.IntN(21)-10) / 10
		for j := range v {
			v[j] = telemetry.Value{Signal: f.names[j], Number: float64(int(f.level[u]*10)+j*f.r.IntN(8)) / 10}
		}
		hour := time.UnixMilli(at).UTC().Hour()
		v[1].Number = 16 * float64(min(1, max(0, (hour+u)%24-14)))   // charging for some hours a day
		v[0].Number = 20 + 2*v[1].Number + float64(f.r.IntN(100))/10 // at most 62
		if float64(u%1000) < f.o.hot*1000 && hour == 20 {
			v[0].Number += 60
		}
		b.Rows[i] = telemetry.Row{Unit: unit(u), Event: at, Received: at + int64(f.r.IntN(300)), Values: v}
		f.next++
	}
	return telemetry.Sequenced{Seq: seq, Batch: b}
}

const packed = 20_000 // rows a transaction, as the writer packs them when many wait

// fill stores the messages, a tenth at a time, with the parts made.
func fill(ctx context.Context, o *options, h *duckdb.History, out io.Writer) error {
	if applied, err := h.Applied(ctx); err != nil || applied > 0 {
		return err
	}
	f := newSender(o)
	signals := map[string]string{}
	for _, name := range f.names {
		signals[name] = "number"
	}
	if err := h.EnsureProduct(ctx, product, signals); err != nil {
		return err
	}
	making := made(o) // what making the messages costs
	began := time.Now()
	seq := uint64(0)
	var costs []float64
	for tenth := 1; tenth <= 10; tenth++ {
		first, spent := f.next, cpu()
		for f.next < f.total()*tenth/10 {
			seq++
			if err := h.Append(ctx, []telemetry.Sequenced{f.batch(seq, packed)}); err != nil {
				return err
			}
		}
		if err := h.Compact(ctx); err != nil {
			return err
		}
		cost := float64((cpu()-spent).Microseconds())/float64(f.next-first) - making
		costs = append(costs, cost)
		fmt.Fprintf(out, "%3d %%: %d messages stored, %.2f us of CPU each, parts and rollups included (%s)\n", 10*tenth, f.next, cost, time.Since(began).Round(time.Second))
	}
	fmt.Fprintf(out, "%d values in %d messages of %d units over %d days: %.1f bytes a value\n", o.values, f.next, o.units, o.days, size(o.dir)/float64(o.values))
	// Two tenths each, so that both have had parts merged.
	fmt.Fprintf(out, "history x5 to x10, against the first two tenths: %+.0f %% CPU a message\n", 100*((costs[8]+costs[9])/(costs[0]+costs[1])-1))
	return nil
}

// made is the CPU that making a message takes, in us.
func made(o *options) float64 {
	f := newSender(o)
	n := min(f.total(), 200_000)
	spent := cpu()
	for f.next < n {
		f.batch(1, packed)
	}
	return float64((cpu() - spent).Microseconds()) / float64(n)
}

// ask times what people look at of one unit.
func ask(ctx context.Context, o *options, h *duckdb.History, out io.Writer) error {
	r := rand.New(rand.NewPCG(5, 6))
	for _, question := range []struct {
		name string
		ask  func(unit int64) (int, error)
	}{
		{"one unit's signal over all days, 500 points", func(unit int64) (int, error) {
			points, err := h.Series(ctx, product, unit, "plug_temperature", begin, o.end(), 500)
			return len(points), err
		}},
		{"one unit's signal over all days, every value", func(unit int64) (int, error) {
			n := 0
			q := telemetry.Query{Product: product, Units: []int64{unit}, Signals: []string{"plug_temperature"}, From: begin, To: o.end(), NoMarks: true}
			return n, h.Replay(ctx, q, func(*telemetry.Stored, *telemetry.StoredMark) error {
				n++
				return nil
			})
		}},
		{"one unit's newest values", func(unit int64) (int, error) {
			latest, err := h.Latest(ctx, product, unit)
			return len(latest), err
		}},
	} {
		var took []time.Duration
		n := 0
		for range 21 {
			began := time.Now()
			var err error
			if n, err = question.ask(unit(r.IntN(o.units))); err != nil {
				return err
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		fmt.Fprintf(out, "%s: median %s, slowest of %d %s (%d)\n", question.name, milli(took[len(took)/2]), len(took), milli(took[len(took)-1]), n)
	}
	return nil
}

func milli(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func size(dir string) float64 {
	info, err := os.Stat(dir + "/" + duckdb.File)
	if err != nil {
		return 0
	}
	return float64(info.Size())
}
