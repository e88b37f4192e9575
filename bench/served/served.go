// Package served runs a `fettle serve` as users start it, for benchmarks: units
// with tokens whose owners have consented, detectors, a sync before each
// acknowledgement.
package served

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/bench/child"
	"fettle.dev/fettle/bench/load"
	"fettle.dev/fettle/sim/client"
)

// Fettle is a server and what was declared in it.
type Fettle struct {
	*child.Process
	MQTT, MQTTS, Profiles string // addresses
	Op                    client.Caller
	Units                 []load.Unit

	dir, program, name string
	args               []string
}

// Start starts a server with its data in dir, and declares detectors (at most
// 20) and units.
func Start(program, dir string, detectors, units int, more ...string) (*Fettle, error) {
	addresses := make([]string, 4)
	for i := range addresses {
		var err error
		if addresses[i], err = child.FreeAddress(); err != nil {
			return nil, err
		}
	}
	f := &Fettle{MQTT: addresses[1], MQTTS: addresses[2], Profiles: addresses[3], dir: dir, program: program, name: "fettle"}
	f.args = append([]string{
		"serve", "--data", filepath.Join(dir, "data"), "--listen", addresses[0], "--mqtt", f.MQTT, "--profiles", f.Profiles, "--log-level", "warn",
	}, more...)
	f.Op = client.Caller{HTTP: client.HTTP(4), Base: "http://" + addresses[0]}
	if slices.Contains(more, "--tls-cert") {
		f.Op.Base = "https://" + addresses[0]
		f.Op.HTTP.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the benchmark's own server
	}
	if err := f.Run(); err != nil {
		return f, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := f.signIn(ctx); err != nil {
		return f, fmt.Errorf("sign in: %w", err)
	}
	return f, f.declare(ctx, detectors, units)
}

// Ingest starts a process of role ingest whose MQTT door is at an address that
// it may share.
func Ingest(program, dir, name, mqtt string, engines ...string) (*Fettle, error) {
	f := &Fettle{MQTT: mqtt, dir: dir, program: program, name: name}
	listen, err := child.FreeAddress()
	if err != nil {
		return nil, err
	}
	if f.Profiles, err = child.FreeAddress(); err != nil {
		return nil, err
	}
	f.args = append([]string{"serve", "--role", "ingest", "--listen", listen, "--mqtt", mqtt, "--profiles", f.Profiles, "--log-level", "warn"}, engines...)
	f.Op = client.Caller{HTTP: client.HTTP(4), Base: "http://" + listen}
	return f, f.Run()
}

// Run starts the process, for the first time or again.
func (f *Fettle) Run() (err error) {
	if f.Process, err = child.Start(f.dir, f.name, f.program, f.args...); err != nil {
		return err
	}
	return f.Await(func() error { return child.Answers(f.Op.HTTP, f.Op.Base+"/readyz") })
}

func (f *Fettle) signIn(ctx context.Context) error {
	link, err := os.ReadFile(filepath.Join(f.dir, "data", "first-operator-link"))
	if err != nil {
		return err
	}
	_, secret, _ := strings.Cut(strings.TrimSpace(string(link)), "#")
	session := f.Op
	if session.Cookie, err = f.Op.Do(ctx, http.MethodPost, "/v1/sign-in", map[string]string{"token": secret}, nil); err != nil {
		return err
	}
	var out struct{ Token string }
	_, err = session.Do(ctx, http.MethodPost, "/v1/tokens", map[string]any{"name": "bench", "scope": "admin", "expires": "1d"}, &out)
	f.Op.Bearer = out.Token
	return err
}

// declare applies the product, its detectors and the units, and issues tokens.
func (f *Fettle) declare(ctx context.Context, detectors, units int) error {
	docs := append([]document{declaredProduct()}, declaredDetectors(detectors)...)
	if err := f.apply(ctx, docs); err != nil {
		return err
	}
	const atOnce = 1000
	for from := 0; from < units; from += atOnce {
		docs = docs[:0]
		var ids []string
		for i := from; i < min(from+atOnce, units); i++ {
			docs, ids = append(docs, declaredUnit(i)), append(ids, UnitID(i))
		}
		if err := f.apply(ctx, docs); err != nil {
			return err
		}
		var out struct {
			Items []struct{ UnitID, Token string }
		}
		if _, err := f.Op.Do(ctx, http.MethodPost, "/v1/unit-tokens", map[string]any{"units": ids}, &out); err != nil {
			return err
		}
		for _, t := range out.Items {
			f.Units = append(f.Units, load.Unit{ID: t.UnitID, Token: t.Token, Topic: "fettle/v1/telemetry"})
		}
	}
	return nil
}

func (f *Fettle) apply(ctx context.Context, docs []document) error {
	_, err := f.Op.Do(ctx, http.MethodPost, "/v1/apply", map[string]any{"documents": docs}, nil)
	return err
}

// Metrics reads figures that have no labels, by name.
func (f *Fettle) Metrics() (map[string]float64, error) {
	res, err := f.Op.HTTP.Get(f.Op.Base + "/metrics") //nolint:noctx // a local server that we started
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	out := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				out[name] = v
			}
		}
	}
	return out, lines.Err()
}

// UnitID is the id of unit i.
func UnitID(i int) string { return fmt.Sprintf("B-%06d", i) }
