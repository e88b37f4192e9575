package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"fettle.dev/fettle/bench/child"
	"fettle.dev/fettle/bench/load"
	"fettle.dev/fettle/bench/served"
	"fettle.dev/fettle/sim/client"
)

// fettle is the system that this program is about.
type fettle struct {
	program   string
	detectors int
	profile   string // file; "": no profiles

	*served.Fettle
}

func (f *fettle) name() string { return "fettle" }

func (f *fettle) start(dir string, units int) (err error) {
	f.Fettle, err = served.Start(f.program, dir, f.detectors, units)
	return err
}

func (f *fettle) target() target        { return target{f.MQTT, f.Units} }
func (f *fettle) settle() time.Duration { return 5 * time.Second }

func (f *fettle) processes() []*child.Process {
	if f.Fettle == nil || f.Process == nil {
		return nil
	}
	return []*child.Process{f.Process}
}

// progress reads the server's counters of rows: one message is one row.
func (f *fettle) progress() (stored, evaluated int, err error) {
	m, err := f.Metrics()
	return int(m["fettle_history_rows_total"]), int(m["fettle_detectors_rows_total"]), err
}

// exact adds the accounts of all units up: history is asked, and every sample
// must be stored.
func (f *fettle) exact() (int, error) {
	samples := 0
	err := client.All(context.Background(), &f.Op, "/v1/accounting?product="+served.Product, func(a struct{ Acknowledged, Stored int }) error {
		samples += a.Stored
		if a.Stored != a.Acknowledged {
			return fmt.Errorf("of %d samples of a unit %d are stored", a.Acknowledged, a.Stored)
		}
		return nil
	})
	return samples / len(load.Signals), err
}

// record takes a processor profile until what it gives is called.
func (f *fettle) record() (stop func()) {
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			res, err := http.Get("http://" + f.Profiles + "/debug/pprof/profile?seconds=12") //nolint:noctx // a local server that we started
			if err != nil {
				return err
			}
			defer func() { _ = res.Body.Close() }()
			file, err := os.Create(f.profile)
			if err != nil {
				return err
			}
			_, err = io.Copy(file, res.Body)
			return errors.Join(err, file.Close())
		}()
	}()
	return func() {
		if err := <-done; err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
		}
	}
}
