package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/bench/child"
	"fettle.dev/fettle/bench/load"
	"fettle.dev/fettle/sim/client"
)

// fettle is a `fettle serve` as users start it: units with tokens whose owners
// have consented, detectors, a sync before each acknowledgement.
type fettle struct {
	program   string
	detectors int
	profile   string // file; "": no profiles

	server         *child.Process
	mqtt, profiles string
	op             client.Caller
	units          []load.Unit
}

func (f *fettle) name() string { return "fettle" }

func (f *fettle) start(dir string, units int) error {
	data := filepath.Join(dir, "data")
	addresses := make([]string, 3)
	for i := range addresses {
		var err error
		if addresses[i], err = child.FreeAddress(); err != nil {
			return err
		}
	}
	f.mqtt, f.profiles = addresses[1], addresses[2]
	args := []string{"serve", "--data", data, "--listen", addresses[0], "--mqtt", f.mqtt, "--log-level", "warn"}
	if f.profile != "" {
		args = append(args, "--profiles", f.profiles)
	}
	var err error
	if f.server, err = child.Start(dir, "fettle", f.program, args...); err != nil {
		return err
	}
	f.op = client.Caller{HTTP: client.HTTP(4), Base: "http://" + addresses[0]}
	if err := f.server.Await(func() error { return child.Answers(f.op.Base + "/readyz") }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := f.signIn(ctx, data); err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	return f.declare(ctx, units)
}

func (f *fettle) signIn(ctx context.Context, data string) error {
	link, err := os.ReadFile(filepath.Join(data, "first-operator-link"))
	if err != nil {
		return err
	}
	_, secret, _ := strings.Cut(strings.TrimSpace(string(link)), "#")
	session := f.op
	if session.Cookie, err = f.op.Do(ctx, http.MethodPost, "/v1/sign-in", map[string]string{"token": secret}, nil); err != nil {
		return err
	}
	var out struct{ Token string }
	_, err = session.Do(ctx, http.MethodPost, "/v1/tokens", map[string]any{"name": "bench", "scope": "admin", "expires": "1d"}, &out)
	f.op.Bearer = out.Token
	return err
}

// declare applies the product, its detectors and the units, and issues tokens.
func (f *fettle) declare(ctx context.Context, units int) error {
	docs := append([]document{declaredProduct()}, declaredDetectors(f.detectors)...)
	if err := f.apply(ctx, docs); err != nil {
		return err
	}
	const atOnce = 1000
	for from := 0; from < units; from += atOnce {
		docs = docs[:0]
		var ids []string
		for i := from; i < min(from+atOnce, units); i++ {
			docs, ids = append(docs, declaredUnit(i)), append(ids, unitID(i))
		}
		if err := f.apply(ctx, docs); err != nil {
			return err
		}
		var out struct {
			Items []struct{ UnitID, Token string }
		}
		if _, err := f.op.Do(ctx, http.MethodPost, "/v1/unit-tokens", map[string]any{"units": ids}, &out); err != nil {
			return err
		}
		for _, t := range out.Items {
			f.units = append(f.units, load.Unit{ID: t.UnitID, Token: t.Token, Topic: "fettle/v1/telemetry"})
		}
	}
	return nil
}

func (f *fettle) apply(ctx context.Context, docs []document) error {
	_, err := f.op.Do(ctx, http.MethodPost, "/v1/apply", map[string]any{"documents": docs}, nil)
	return err
}

func (f *fettle) target() target               { return target{f.mqtt, f.units} }
func (f *fettle) processes() []*child.Process { return []*child.Process{f.server} }
func (f *fettle) settle() time.Duration       { return 5 * time.Second }

// progress reads the server's counters of rows: one message is one row.
func (f *fettle) progress() (stored, evaluated int, err error) {
	res, err := http.Get(f.op.Base + "/metrics") //nolint:noctx // a local server that we started
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		for name, to := range map[string]*int{"fettle_history_rows_total ": &stored, "fettle_detectors_rows_total ": &evaluated} {
			if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
				v, err := strconv.ParseFloat(rest, 64)
				if err != nil {
					return 0, 0, err
				}
				*to = int(v)
			}
		}
	}
	return stored, evaluated, lines.Err()
}

// exact adds the accounts of all units up: history is asked, and every sample
// must be stored.
func (f *fettle) exact() (int, error) {
	samples := 0
	err := client.All(context.Background(), &f.op, "/v1/accounting?product="+product, func(a struct{ Acknowledged, Stored int }) error {
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
			res, err := http.Get("http://" + f.profiles + "/debug/pprof/profile?seconds=12") //nolint:noctx // a local server that we started
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
