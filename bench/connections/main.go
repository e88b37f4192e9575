// Command connections shows what a connected unit costs that says nothing, over
// plain MQTT and over TLS, and how long it takes until units that all come back
// at once after an outage are served. Run it by `make bench-connections`;
// docs/benchmarks.md says what was seen.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"fettle.dev/fettle/bench/child"
	"fettle.dev/fettle/bench/served"
)

func main() {
	program := flag.String("fettle", "bin/fettle", "Fettle's program")
	idle := flag.Int("idle", 15_000, "idle connections")
	again := flag.Int("again", 10_000, "units that connect at once after an outage")
	steps := flag.Int("steps", 5, "steps in which idle connections are opened")
	processes := flag.Int("processes", 0, "0: one process does all; else so many of role ingest at one address, beside PostgreSQL and a NATS server")
	held := flag.String("hold", "", "for this program's own processes of clients")
	flag.Parse()
	err := error(nil)
	switch {
	case *held != "":
		err = holding(*held)
	case *processes > 0:
		err = spread(*program, *idle, *processes)
	default:
		err = run(*program, *idle, *again, *steps)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-connections:", err)
		os.Exit(1)
	}
}

func run(program string, idle, again, steps int) (err error) {
	dir, err := os.MkdirTemp("", "bench-connections")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cert, key, pool, err := certificate(dir)
	if err != nil {
		return err
	}
	mqtts, err := child.FreeAddress()
	if err != nil {
		return err
	}
	f, err := served.Start(program, dir, 20, max(idle, again), "--mqtts", mqtts, "--tls-cert", cert, "--tls-key", key)
	if f != nil && f.Process != nil {
		defer func() { f.Stop() }()
	}
	if err != nil {
		return err
	}
	c := &clients{units: f.Units, roots: pool}

	plain, err := slope(f, "plain", idle, steps, func(i int) (func() error, error) { return c.open(f.MQTT, i, false) })
	if err != nil {
		return err
	}
	encrypted, err := slope(f, "TLS", idle, steps, func(i int) (func() error, error) { return c.open(mqtts, i, true) })
	if err != nil {
		return err
	}
	last, err := outage(f, c, again)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "bench-connections: %.1f KiB an idle connection plain, %.1f KiB over TLS, %d units back in %.1f s\n",
		plain/1024, encrypted/1024, again, last.Seconds())
	return nil
}

// used is what the server's heap and stacks take after a garbage collection,
// and what the process holds resident.
func used(f *served.Fettle) (inUse, resident float64, err error) {
	for range 3 { // what is pooled goes with the second
		res, err := http.Get("http://" + f.Profiles + "/debug/pprof/heap?gc=1") //nolint:noctx // a local server that we started
		if err != nil {
			return 0, 0, err
		}
		_ = res.Body.Close()
		time.Sleep(100 * time.Millisecond)
	}
	m, err := f.Metrics()
	if err != nil {
		return 0, 0, err
	}
	now, _, err := f.Memory()
	return m["go_memstats_heap_inuse_bytes"] + m["go_memstats_stack_inuse_bytes"], float64(now), err
}

// slope opens idle connections step by step, prints what the server uses at
// each, closes them, and gives the bytes a connection: the slope of the line
// that fits best.
func slope(f *served.Fettle, kind string, n, steps int, open func(i int) (func() error, error)) (perConnection float64, err error) {
	var closers []func() error
	defer func() {
		for _, c := range closers {
			_ = c()
		}
		time.Sleep(time.Second)
	}()
	if err := parallel(0, min(n, 500), 64, open, &closers); err != nil { // what the first ones cost is no connection's
		return 0, err
	}
	for _, c := range closers {
		_ = c()
	}
	closers = nil
	time.Sleep(time.Second)
	var xs, inUses, residents []float64
	for step := 0; step <= steps; step++ {
		if err := parallel(len(closers), n*step/steps, 64, open, &closers); err != nil {
			return 0, err
		}
		time.Sleep(500 * time.Millisecond)
		inUse, resident, err := used(f)
		if err != nil {
			return 0, err
		}
		fmt.Fprintf(os.Stdout, "%-5s %6d connections: %6.1f MiB heap and stacks, %6.1f MiB resident\n", kind, len(closers), inUse/(1<<20), resident/(1<<20))
		xs, inUses, residents = append(xs, float64(len(closers))), append(inUses, inUse), append(residents, resident)
	}
	perConnection = fit(xs, inUses)
	fmt.Fprintf(os.Stdout, "%-5s slope: %.0f bytes of heap and stacks, %.0f bytes resident a connection\n", kind, perConnection, fit(xs, residents))
	return perConnection, nil
}

// fit is the slope by least squares.
func fit(xs, ys []float64) float64 {
	var sx, sy, sxx, sxy float64
	for i := range xs {
		sx, sy, sxx, sxy = sx+xs[i], sy+ys[i], sxx+xs[i]*xs[i], sxy+xs[i]*ys[i]
	}
	n := float64(len(xs))
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

// outage kills the server, lets all units connect at once while it starts
// again, and gives the time from its start until the last has an
// acknowledgement of a message.
func outage(f *served.Fettle, c *clients, n int) (time.Duration, error) {
	f.Kill()
	begin := time.Now()
	done := make(chan error, 1)
	go func() { done <- c.again(f.MQTT, n) }()
	if err := f.Run(); err != nil {
		return 0, err
	}
	up := time.Since(begin)
	err := <-done
	last := time.Since(begin)
	fmt.Fprintf(os.Stdout, "outage: the server was ready after %.1f s; %d units had connected and had a message acknowledged after %.1f s\n", up.Seconds(), n, last.Seconds())
	return last, err
}
