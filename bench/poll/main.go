// Command poll shows how many idle polls of DDI clients a second one process
// answers with a million units registered, beside a bare net/http handler that
// sends the same bytes, under the same load on the same cores; and what a
// registered unit takes in memory. Run it by `make bench-poll`;
// docs/benchmarks.md says what was seen.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"fettle.dev/fettle/bench/child"
)

// answer is what an idle poll is answered, as `fettle serve` does by default.
const answer = `{"config":{"polling":{"sleep":"00:05:00"}}}`

func main() {
	program := flag.String("fettle", "bin/fettle", "Fettle's program")
	units := flag.Int("units", 1_000_000, "units registered")
	length := flag.Duration("for", 8*time.Second, "length of each measurement")
	pairs := flag.Int("pairs", 3, "how often bare handler and Fettle are measured in turns")
	connections := flag.Int("connections", 64, "connections that are kept busy")
	data := flag.String("write", "", "only write the fleet's records to a new data directory, for a closer look at a server on it")
	bare := flag.String("bare", "", "for this program's own process: serve the bare handler at an address")
	flag.Parse()
	err := error(nil)
	switch {
	case *bare != "":
		err = serveBare(*bare)
	case *data != "":
		err = fleetOf{units: *units}.write(context.Background(), *data)
	default:
		err = run(*program, *units, *pairs, *connections, *length)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-poll:", err)
		os.Exit(1)
	}
}

// serveBare answers every request with the bytes that Fettle answers.
func serveBare(address string) error {
	body := []byte(answer)
	kind, kept, size := []string{"application/json"}, []string{"no-store"}, []string{strconv.Itoa(len(body))}
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:gosec // bare: no timeouts either
		h := w.Header()
		h["Content-Type"], h["Cache-Control"], h["Content-Length"] = kind, kept, size
		_, _ = w.Write(body)
	}))
}

// bench is one run of the program.
type bench struct {
	program, dir string
	load         load
}

func run(program string, units, pairs, connections int, length time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "bench-poll")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{program: program, dir: dir, load: load{dir: dir, connections: connections, length: length}}
	if err := b.load.write(); err != nil {
		return err
	}

	empty, err := b.start("empty", fleetOf{})
	if err != nil {
		return err
	}
	before, err := resident(empty.Process)
	empty.Stop()
	if err != nil {
		return err
	}

	self, err := os.Executable()
	if err != nil {
		return err
	}
	address, err := child.FreeAddress()
	if err != nil {
		return err
	}
	bare, err := child.Start(dir, "bare", self, "-bare", address)
	if err != nil {
		return err
	}
	defer bare.Stop()
	if err := bare.Await(func() error { return child.Answers(http.DefaultClient, "http://"+address) }); err != nil {
		return err
	}

	f, err := b.start("fleet", fleetOf{units: units})
	if err != nil {
		return err
	}
	defer f.Stop()
	loaded, err := resident(f.Process)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "%d units registered: %.1f s to write them, %.1f s from start to ready\n", units, f.wrote.Seconds(), f.ready.Seconds())

	var ratios, rates, p99s []float64
	for i := range pairs {
		one, err := b.load.run(address, units, i)
		if err != nil {
			return fmt.Errorf("bare: %w", err)
		}
		two, err := b.load.run(f.address, units, i)
		if err != nil {
			return fmt.Errorf("fettle: %w", err)
		}
		fmt.Fprintf(os.Stdout, "bare net/http %s\nfettle        %s  %.2fx\n", one, two, two.rate/one.rate)
		ratios, rates, p99s = append(ratios, two.rate/one.rate), append(rates, two.rate), append(p99s, two.p99)
	}
	after, err := resident(f.Process)
	if err != nil {
		return err
	}
	f.Stop()
	each := func(now int64) float64 { return float64(now-before) / float64(units) }
	fmt.Fprintf(os.Stdout, "resident: %d MiB with no unit, %d MiB with %d (%.0f bytes a unit), %d MiB after the polls (%.0f bytes a unit)\n",
		before>>20, loaded>>20, units, each(loaded), after>>20, each(after))

	// The same poll in a small fleet, and where campaigns have been.
	for _, of := range []fleetOf{{units: 10_000}, {units: 10_000, campaigns: 20}} {
		if err := b.beside(of); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stdout, "p99 %.1f ms\nbench-poll: %.0f polls/s, %.2fx bare net/http\n", slices.Max(p99s), median(rates), median(ratios))
	return nil
}

// beside measures a fleet that is not the large one.
func (b *bench) beside(of fleetOf) error {
	f, err := b.start(fmt.Sprintf("beside-%d", of.campaigns), of)
	if err != nil {
		return err
	}
	defer f.Stop()
	if of.campaigns > 0 { // each unit's first poll reads the records
		if _, err := b.load.run(f.address, of.units, 0); err != nil {
			return err
		}
	}
	r, err := b.load.run(f.address, of.units, 0)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "%d units, %d updates of each behind it: %s\n", of.units, of.campaigns, r)
	return nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// server is a `fettle serve` with units registered.
type server struct {
	*child.Process
	address      string
	wrote, ready time.Duration
}

// start runs a server on new records. Its settings are the defaults, but for
// the load generator, which is one address, and a small fleet, of which each
// unit polls some times a second: the limits are on and count, at rates that
// are not reached.
func (b *bench) start(name string, of fleetOf) (*server, error) {
	s := &server{}
	data := filepath.Join(b.dir, name)
	began := time.Now()
	if err := of.write(context.Background(), data); err != nil {
		return nil, err
	}
	s.wrote = time.Since(began)
	http8080, err := child.FreeAddress()
	if err != nil {
		return nil, err
	}
	mqtt, err := child.FreeAddress()
	if err != nil {
		return nil, err
	}
	s.address = http8080
	began = time.Now()
	s.Process, err = child.Start(b.dir, name, b.program, "serve", "--data", data, "--listen", http8080, "--mqtt", mqtt,
		"--poll-address-exempt", "", "--poll-address-rate", "1000000", "--poll-unit-rate", "100")
	if err != nil {
		return nil, err
	}
	if err := s.Await(func() error { return child.Answers(http.DefaultClient, "http://"+s.address+"/readyz") }); err != nil {
		return nil, err
	}
	s.ready = time.Since(began)
	if of.units == 0 {
		return s, nil
	}
	return s, of.check(s.address)
}

// resident is what a process holds in memory once it is at rest, in bytes.
func resident(p *child.Process) (now int64, err error) {
	time.Sleep(4 * time.Second)
	now, _, err = p.Memory()
	return now, err
}
