package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"fettle.dev/fettle/bench/child"
	"fettle.dev/fettle/bench/load"
	"fettle.dev/fettle/bench/served"
	"fettle.dev/fettle/internal/peer/natsd"
	"fettle.dev/fettle/internal/peer/postgres"
)

// spread holds idle connections to several processes of role ingest at one
// address, from as many processes of clients, each with 127.0.0.0/8 addresses
// of its own, and prints what each server process has and takes.
func spread(program string, n, processes int) (err error) {
	dir, err := os.MkdirTemp("", "bench-connections")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	records, err := postgres.Open()
	if err != nil {
		return err
	}
	if err := records.Create(context.Background(), "bench", ""); err != nil {
		return err
	}
	stream, err := natsd.Open(dir)
	if err != nil {
		return err
	}
	defer stream.Kill()
	engines := []string{"--records", records.DSN("bench"), "--bus", stream.URL}
	begun := time.Now()
	all, err := served.Start(program, dir, 20, n, engines...)
	if all != nil && all.Process != nil {
		defer func() { all.Stop() }()
	}
	if err != nil {
		return err
	}
	fmt.Printf("%d units declared in %s\n", n, time.Since(begun).Round(time.Second))
	units, err := json.Marshal(all.Units)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "units.json")
	if err := os.WriteFile(file, units, 0o600); err != nil {
		return err
	}

	address, err := child.FreeAddress()
	if err != nil {
		return err
	}
	servers := make([]*served.Fettle, processes)
	before := make([]float64, processes)
	for i := range servers {
		f, err := served.Ingest(program, dir, fmt.Sprintf("ingest-%d", i), address, engines...)
		if f != nil && f.Process != nil {
			defer f.Stop()
		}
		if err != nil {
			return err
		}
		servers[i] = f
		if _, before[i], err = used(f); err != nil {
			return err
		}
	}

	begun = time.Now()
	var holders []*holder
	defer func() {
		for _, h := range holders {
			h.end()
		}
	}()
	for i := range processes {
		h, err := hold(address, file, n*i/processes, n*(i+1)/processes)
		if err != nil {
			return err
		}
		holders = append(holders, h)
	}
	for _, h := range holders {
		if err := h.ready(); err != nil {
			return err
		}
	}
	fmt.Printf("%d connected in %s\n", n, time.Since(begun).Round(100*time.Millisecond))
	time.Sleep(10 * time.Second)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "process\tconnections\tMiB of heap and stacks\tMiB resident\tKiB resident a connection\t")
	connected, grown := 0.0, 0.0
	for i, f := range servers {
		inUse, resident, err := used(f)
		if err != nil {
			return err
		}
		m, err := f.Metrics()
		if err != nil {
			return err
		}
		here := m[`fettle_ingest_connections{protocol="mqtt"}`]
		connected, grown = connected+here, grown+resident-before[i]
		fmt.Fprintf(w, "%d\t%.0f\t%.1f\t%.1f\t%.1f\t\n", i, here, inUse/(1<<20), resident/(1<<20), (resident-before[i])/here/1024)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if int(connected) != n {
		return fmt.Errorf("%d of %d connections are open", int(connected), n)
	}
	fmt.Printf("bench-connections: %d idle connections in %d processes at one address, %.1f KiB resident each\n", n, processes, grown/connected/1024)
	return nil
}

// holder is a process that holds connections until its standard input ends.
type holder struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func hold(address, file string, from, to int) (*holder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &holder{cmd: exec.Command(self, "-hold", fmt.Sprintf("%s %d %d %s", address, from, to, file))} //nolint:gosec,noctx // this program
	h.cmd.Stderr = os.Stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.out = bufio.NewReader(out)
	return h, h.cmd.Start()
}

func (h *holder) ready() error {
	line, err := h.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready" {
		return fmt.Errorf("a process of clients: %q: %w", line, err)
	}
	return nil
}

func (h *holder) end() {
	_ = h.in.Close()
	_ = h.cmd.Wait()
}

// holding is what such a process does.
func holding(what string) error {
	var address, file string
	var from, to int
	if _, err := fmt.Sscan(what, &address, &from, &to, &file); err != nil {
		return err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	c := &clients{}
	if err := json.Unmarshal(raw, &c.units); err != nil {
		return err
	}
	load.SourcesFrom((2*from + 4999) / 5000 * 5000) // addresses of its own
	var open []func() error
	if err := parallel(from, to, 64, func(i int) (func() error, error) { return c.open(address, i, false) }, &open); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
