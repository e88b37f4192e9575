// Command download lets 1,000 units fetch one artifact at once, each by its own
// signed address, from the download door over real records and a directory of
// artifacts, in a process of its own whose memory is read afterwards. Beside
// it, in the same run, a bare net/http server sends the same file from the disk
// (http.ServeFile, which uses sendfile): what is left is the loopback.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"fettle.dev/fettle/internal/blob"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device/download"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/link"
)

const product = "wall-charger"

func main() {
	units := flag.Int("units", 1000, "units that fetch at once")
	size := flag.Int64("size", 16<<20, "bytes of the artifact")
	serve := flag.String("serve", "", "for the program itself: serve door or bare")
	dir := flag.String("dir", "", "for the program itself")
	flag.Parse()
	var err error
	if *serve != "" {
		err = server(*serve, *dir, *units, *size)
	} else {
		err = bench(*units, *size)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-download:", err)
		os.Exit(1)
	}
}

func bench(units int, size int64) error {
	dir, err := os.MkdirTemp("", "bench-download-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var rate [2]float64
	for i, kind := range []string{"bare", "door"} {
		m, err := measure(kind, dir, units, size)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		rate[i] = float64(units) * float64(size) / m.took.Seconds() / 1e6
		fmt.Printf("%-5s %d units, %d MiB each: %.1f s, %.0f MB/s; slowest %.1f s, fastest %.1f s; server %d MiB resident before, %d MiB at most, of which %d MiB heap and stacks\n",
			kind, units, size>>20, m.took.Seconds(), rate[i], m.slowest.Seconds(), m.fastest.Seconds(), m.before>>10, m.most>>10, m.anon>>10)
		if kind == "door" {
			fmt.Printf("bench-download: %.0f MB/s to %d units at once, %.2fx a bare net/http file server, %d MiB of server memory at most\n", rate[1], units, rate[1]/rate[0], m.most>>10)
		}
	}
	return nil
}

type measured struct {
	took, slowest, fastest time.Duration
	before, most, anon     int64 // KiB
}

func measure(kind, dir string, units int, size int64) (m measured, err error) {
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	cmd := exec.Command(self, "-serve", kind, "-dir", filepath.Join(dir, kind), "-units", fmt.Sprint(units), "-size", fmt.Sprint(size)) //nolint:gosec,noctx // this program
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return m, err
	}
	if err := cmd.Start(); err != nil {
		return m, err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	lines := bufio.NewScanner(out)
	urls := make([]string, 0, units)
	for len(urls) < units && lines.Scan() {
		urls = append(urls, lines.Text())
	}
	if len(urls) < units {
		return m, errors.New("the server did not start")
	}
	if m.before, err = status(cmd.Process.Pid, "VmRSS"); err != nil {
		return m, err
	}
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	took := make([]time.Duration, units)
	transport := &http.Transport{MaxIdleConnsPerHost: -1, DisableKeepAlives: true, ReadBufferSize: 64 << 10, DisableCompression: true}
	client := http.Client{Transport: transport}
	began := time.Now()
	for i, url := range urls {
		wg.Go(func() {
			if err := fetch(&client, url, size); err != nil {
				failed.Store(&err)
			}
			took[i] = time.Since(began)
		})
	}
	wg.Wait()
	m.took, m.fastest = time.Since(began), took[0]
	for _, t := range took {
		m.slowest, m.fastest = max(m.slowest, t), min(m.fastest, t)
	}
	if e := failed.Load(); e != nil {
		return m, *e
	}
	if m.most, err = status(cmd.Process.Pid, "VmHWM"); err != nil {
		return m, err
	}
	m.anon, err = status(cmd.Process.Pid, "RssAnon")
	return m, err
}

func fetch(c *http.Client, url string, size int64) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, res.Body, make([]byte, 64<<10))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || n != size {
		return fmt.Errorf("status %d, %d bytes of %d", res.StatusCode, n, size)
	}
	return nil
}

func status(pid int, name string) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			var n int64
			_, err := fmt.Sscan(rest, &n)
			return n, err
		}
	}
	return 0, fmt.Errorf("no %s", name)
}

// server serves one kind and prints an address for each unit.
func server(kind, dir string, units int, size int64) error {
	ctx := context.Background()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	base := "http://" + l.Addr().String()
	var handler http.Handler
	var paths []string
	switch kind {
	case "bare":
		path := filepath.Join(dir, "image")
		if err := os.WriteFile(path, random(size), 0o600); err != nil {
			return err
		}
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			http.ServeFile(w, r, path)
		})
		for range units {
			paths = append(paths, "/image")
		}
	default:
		if handler, paths, err = door(ctx, dir, units, size); err != nil {
			return err
		}
	}
	w := bufio.NewWriter(os.Stdout)
	for _, p := range paths {
		fmt.Fprintln(w, base+p)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return (&http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}).Serve(l)
}

func random(size int64) []byte {
	b := make([]byte, size)
	_, _ = rand.Read(b) // never fails
	return b
}

// door is the real one, with an assignment for each unit that it may fetch.
func door(ctx context.Context, dir string, units int, size int64) (http.Handler, []string, error) {
	db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(dir, "records.db"))
	if err != nil {
		return nil, nil, err
	}
	blobs, err := blob.Open(ctx, filepath.Join(dir, "artifacts"))
	if err != nil {
		return nil, nil, err
	}
	clk, log := clock.Real{}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	updates, err := update.NewService(ctx, update.Config{
		Store: db.Update(), Ledger: release.New(db), Blobs: blobs, Fleet: db.Fleet(), Tx: db, Clock: clk, Log: log, Dir: filepath.Join(dir, "uploads"),
	})
	if err != nil {
		return nil, nil, err
	}
	if err := db.Fleet().PutProduct(ctx, fleet.Product{Name: product, Title: "Wall charger"}); err != nil {
		return nil, nil, err
	}
	all := make([]fleet.Unit, units)
	for i := range all {
		id := fmt.Sprintf("WC-%06d", i)
		all[i] = fleet.Unit{ID: id, Key: int64(i + 1), Product: product, Serial: id, State: fleet.UnitActive, CreatedAt: clk.Now()}
	}
	if err := db.Fleet().PutUnits(ctx, all); err != nil {
		return nil, nil, err
	}
	a, err := updates.PutArtifact(ctx, strings.NewReader(string(random(size))), "charger-2.0.0.swu")
	if err != nil {
		return nil, nil, err
	}
	r := update.Release{
		Name: "charger-2.0.0", Product: product, Version: "2.0.0", Kind: update.Fix, Minutes: 5,
		Notes: map[string]string{"en": "Better."}, Artifact: "sha256:" + a.SHA256,
	}
	if err := updates.Put(ctx, r); err != nil {
		return nil, nil, err
	}
	links, err := link.New(random(link.KeySize), clk)
	if err != nil {
		return nil, nil, err
	}
	paths := make([]string, units)
	for i := range all {
		as, err := updates.Assign(ctx, all[i].ID, r.Name, fmt.Sprint("task-", i))
		if err != nil {
			return nil, nil, err
		}
		if _, err := updates.Offer(ctx, as.ID, clk.Now()); err != nil {
			return nil, nil, err
		}
		paths[i] = links.Path(link.Claims{Assignment: as.ID, SHA256: a.SHA256, Filename: a.Filename})
	}
	return download.New(download.Config{Updates: updates, Blobs: blobs, Links: links, Clock: clk, Log: log}), paths, nil
}
