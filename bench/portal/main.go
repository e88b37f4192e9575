// Command portal measures how long the owners' portal waits for its server with
// a million units registered: each read of the API, by owners drawn at random,
// some at a time. Run it by `make bench-portal`; docs/benchmarks.md says what
// was seen. It ends with the line
//
//	bench-portal: worst p99 N ms, with N units
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/bench/child"
	"fettle.dev/fettle/internal/api/wire"
)

func main() {
	program := flag.String("fettle", "bin/fettle", "Fettle's program")
	units := flag.Int("units", 1_000_000, "units registered")
	sampled := flag.Int("sampled", 500, "of those, units that have a month of measurements and whose owners ask")
	asks := flag.Int("asks", 2000, "requests of each kind")
	atOnce := flag.Int("at-once", 4, "owners who ask at the same time")
	serve := flag.Bool("serve", false, "measure nothing: tell address, unit and session of an owner in a line of JSON, and serve until standard input ends")
	dsn := flag.String("records", "", "records to use, as postgres://…, empty (default: SQLite)")
	flag.Parse()
	if err := run(*program, *dsn, fleetOf{units: *units, sampled: min(*sampled, *units)}, *asks, *atOnce, *serve); err != nil {
		fmt.Fprintln(os.Stderr, "bench-portal:", err)
		os.Exit(1)
	}
}

func run(program, dsn string, f fleetOf, asks, atOnce int, serve bool) (err error) {
	dir, err := os.MkdirTemp("", "bench-portal")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	data := filepath.Join(dir, "data")
	began := time.Now()
	owners, err := f.write(context.Background(), data, dsn)
	if err != nil {
		return err
	}
	fmt.Printf("%d units of %d owners, %d findings, %d updates, %d visits written in %.1f s\n", f.units, f.owners(), f.findings(), f.units, f.visits(), time.Since(began).Seconds())

	address, err := child.FreeAddress()
	if err != nil {
		return err
	}
	args := []string{"serve", "--data", data, "--listen", address, "--mqtt", ""}
	if dsn != "" {
		args = append(args, "--records", dsn)
	}
	began = time.Now()
	server, err := child.Start(dir, "fettle", program, args...)
	if err != nil {
		return err
	}
	defer server.Stop()
	if err := server.Await(func() error { return child.Answers(http.DefaultClient, "http://"+address+"/readyz") }); err != nil {
		return err
	}
	fmt.Printf("ready in %.1f s\n", time.Since(began).Seconds())
	if err := f.measurements(address); err != nil {
		return fmt.Errorf("%w; the server's last words:\n%s", err, server.Tail())
	}
	if serve {
		fmt.Printf(`{"url":"http://%s","unit":%q,"cookie":"%s=%s"}`+"\n", address, owners[0].unit, wire.OwnerCookie, owners[0].secret)
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	now := time.Now().UTC()
	month := "&from=" + now.AddDate(0, 0, -7).Format(time.RFC3339) + "&to=" + now.Format(time.RFC3339)
	worst := time.Duration(0)
	fmt.Printf("%-44s %9s %9s %9s  %s\n", "read", "p50", "p99", "most", "bytes")
	for _, read := range []string{
		"me", "updates", "updates?unit={id}", "preferences", "units/{id}", "units/{id}/findings?state=open", "units/{id}/history?limit=20", "units/{id}/help",
		"units/{id}/series?signal=plug_temperature" + month,
	} {
		took, size, err := ask(address, read, owners, asks, atOnce)
		if err != nil {
			return fmt.Errorf("%s: %w", read, err)
		}
		slices.Sort(took)
		p99 := took[len(took)*99/100]
		worst = max(worst, p99)
		name, _, _ := strings.Cut(read, "&")
		fmt.Printf("%-44s %9s %9s %9s  %d\n", name, ms(took[len(took)/2]), ms(p99), ms(took[len(took)-1]), size)
	}
	fmt.Printf("bench-portal: worst p99 %s, with %d units\n", ms(worst), f.units)
	return nil
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// ask sends one read n times for owners drawn at random, and gives how long
// each answer took, whole, and how large the last one was.
func ask(address, read string, owners []owner, n, atOnce int) (took []time.Duration, size int, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	for worker := range atOnce {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(worker), 7))
			for i := range n/atOnce + 10 {
				o := owners[r.IntN(len(owners))]
				req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+address+"/owner/v1/"+strings.ReplaceAll(read, "{id}", o.unit), nil)
				req.AddCookie(&http.Cookie{Name: wire.OwnerCookie, Value: o.secret}) //nolint:gosec // sent, not set
				began := time.Now()
				res, e := client.Do(req)
				var body []byte
				if e == nil {
					body, e = io.ReadAll(res.Body)
					_ = res.Body.Close()
				}
				d := time.Since(began)
				if e == nil && res.StatusCode != http.StatusOK {
					e = fmt.Errorf("%s: %s", res.Status, body)
				}
				mu.Lock()
				if err = errors.Join(err, e); e == nil && i >= 10 { // the first ones make connections and warm caches
					took, size = append(took, d), len(body)
				}
				stop := err != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	return took, size, err
}
