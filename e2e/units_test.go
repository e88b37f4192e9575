package e2e

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/sim/mqttc"
)

// patience is the least that anything is waited for: how long a step takes on a
// machine that does much else says nothing about it.
const patience = 3 * time.Minute

// until polls what a server says until it is so.
func until(t *testing.T, within time.Duration, what string, so func() bool) {
	t.Helper()
	require.Eventually(t, so, max(within, patience), 50*time.Millisecond, what)
}

// awakeZone is a time zone in which it is noon or so: nobody is disturbed at night.
func awakeZone() string {
	hours := 12 - time.Now().UTC().Hour() // Etc/GMT-1 is an hour ahead of UTC
	return fmt.Sprintf("Etc/GMT%+d", -hours)
}

// units declares wall chargers and gives their tokens. Those in silent have
// given no consent.
func (s *server) units(ids []string, silent ...string) map[string]string {
	s.t.Helper()
	return s.unitsOf("e2e/testdata/charger/product.yaml", ids, silent...)
}

// unitsOf is units of what a file declares: consents are to what it collects.
func (s *server) unitsOf(product string, ids []string, silent ...string) map[string]string {
	s.t.Helper()
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, "---\napiVersion: fettle.dev/v1\nkind: Unit\nmetadata:\n  name: %s\nspec:\n  product: wall-charger\n  serial: S-%s\n  batch: A-14\n  owner:\n    email: %s@example.com\n    name: Owner of %s\n",
			id, id, strings.ToLower(id), id)
		if !slices.Contains(silent, id) {
			b.WriteString("  consents: [care]\n")
		}
	}
	dir := s.t.TempDir()
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, "units.yaml"), []byte(b.String()), 0o600))
	s.fettle("apply", "-f", product, "-f", dir)
	var out struct {
		Items []struct {
			UnitID string `json:"unitId"`
			Token  string `json:"token"`
		} `json:"items"`
	}
	s.post("/v1/unit-tokens", map[string]any{"units": ids}, &out)
	tokens := map[string]string{}
	for _, i := range out.Items {
		tokens[i.UnitID] = i.Token
	}
	require.Len(s.t, tokens, len(ids))
	return tokens
}

// post calls an operation of the operators' API.
func (s *server) post(path string, in, out any) {
	s.t.Helper()
	r := s.request(http.MethodPost, path, s.token, in)
	defer r.Body.Close()
	raw, _ := io.ReadAll(r.Body)
	require.Less(s.t, r.StatusCode, 300, "%s: %s", path, raw)
	if out != nil {
		require.NoError(s.t, json.Unmarshal(raw, out), string(raw))
	}
}

// account is a unit's samples, counted.
type account struct {
	UnitID                                                             string
	Acknowledged, Stored, NotConsented, Undeclared, Duplicate, Invalid int64
}

func (a account) exact() bool {
	return a.Acknowledged == a.Stored+a.NotConsented+a.Undeclared+a.Duplicate+a.Invalid
}

// accounting waits until history has taken what was acknowledged, then reads a
// unit's account.
func (s *server) accounting(id string) (a account) {
	s.t.Helper()
	s.settled()
	s.get("/v1/units/"+id+"/accounting", &a)
	require.True(s.t, a.exact(), "%+v", a)
	return a
}

// settled waits until history has taken the stream up to where it ends now.
func (s *server) settled() {
	s.t.Helper()
	end := s.metrics()["fettle_stream_position"]
	require.Positive(s.t, end)
	until(s.t, 60*time.Second, "history has not taken the stream", func() bool {
		return s.metrics()["fettle_history_position"] >= end
	})
}

func (s *server) metrics() map[string]float64 {
	s.t.Helper()
	r := s.request(http.MethodGet, "/metrics", "", nil)
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	require.NoError(s.t, err)
	out := map[string]float64{}
	for line := range strings.Lines(string(raw)) {
		var name string
		var v float64
		if n, _ := fmt.Sscanf(line, "%s %g", &name, &v); n == 2 && !strings.HasPrefix(line, "#") {
			out[name] = v
		}
	}
	return out
}

// point is a bucket of a series.
type point struct {
	At       time.Time
	Min, Max float64
	Count    int64
}

func (s *server) series(id, signal string, from, to time.Time, buckets int) []point {
	s.t.Helper()
	q := url.Values{"signal": {signal}, "from": {from.UTC().Format(time.RFC3339Nano)}, "to": {to.UTC().Format(time.RFC3339Nano)}, "buckets": {fmt.Sprint(buckets)}}
	var out struct{ Points []point }
	s.get("/v1/units/"+id+"/series?"+q.Encode(), &out)
	return out.Points
}

// meter is a unit that publishes a current each second of its own time at QoS
// 1, and sends again what was not acknowledged, over as many connections as it takes.
type meter struct {
	id, token, addr string
	first           time.Time     // event time of the first sample
	most            int           // samples made at most
	every           time.Duration // between two, at least

	mu    sync.Mutex
	made  int
	next  uint16
	open  map[uint16]int // sample by packet id
	acked map[int]bool
	wake  chan struct{}
}

func newMeter(id, token, addr string, first time.Time, most int, every time.Duration) *meter {
	return &meter{
		id: id, token: token, addr: addr, first: first.Truncate(time.Second), most: most, every: every,
		open: map[uint16]int{}, acked: map[int]bool{}, wake: make(chan struct{}, 1),
	}
}

// value is the n-th sample of a unit.
func (m *meter) value(n int) float64 { return float64(n%997) + float64(len(m.id))/8 }

func (m *meter) Acked(id uint16) {
	m.mu.Lock()
	if n, ok := m.open[id]; ok {
		delete(m.open, id)
		m.acked[n] = true
	}
	m.mu.Unlock()
	m.rouse()
}

func (m *meter) Message(string, []byte) {}
func (m *meter) Closed(error)           { m.rouse() }

func (m *meter) rouse() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *meter) packet(id uint16, n int, dup bool) []byte {
	payload := fmt.Appendf(nil, `{"ts":%d,"values":{"current":%g}}`, m.first.Add(time.Duration(n)*time.Second).UnixMilli(), m.value(n))
	return mqttc.AppendPublish(nil, "fettle/v1/telemetry", id, dup, payload)
}

// run publishes until ctx ends or, once quiet is closed or all is made, until
// everything is acknowledged.
func (m *meter) run(ctx context.Context, quiet <-chan struct{}) {
	for ctx.Err() == nil {
		conn, err := mqttc.Dial(ctx, mqttc.Options{Addr: m.addr, UnitID: m.id, Token: m.token, KeepAlive: 30, Timeout: patience}, m)
		if err != nil {
			pause(ctx, 50*time.Millisecond)
			continue
		}
		if m.publish(ctx, conn, quiet) {
			conn.Close()
			return
		}
		conn.Drop()
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// publish says whether nothing is left to do.
func (m *meter) publish(ctx context.Context, conn *mqttc.Conn, quiet <-chan struct{}) bool {
	m.mu.Lock()
	var again []byte
	for _, id := range slices.SortedFunc(maps.Keys(m.open), func(a, b uint16) int { return cmp.Compare(m.open[a], m.open[b]) }) {
		again = append(again, m.packet(id, m.open[id], true)...)
	}
	m.mu.Unlock()
	if len(again) > 0 && conn.Write(again) != nil {
		return false
	}
	for {
		silent := false
		select {
		case <-ctx.Done():
			return false
		case <-conn.Done():
			return false
		case <-quiet:
			silent = true
		default:
		}
		m.mu.Lock()
		left := m.made < m.most && !silent
		done := !left && len(m.open) == 0
		var p []byte
		if left && len(m.open) < 16 {
			if m.next++; m.next == 0 {
				m.next = 1
			}
			m.open[m.next] = m.made
			p = m.packet(m.next, m.made, false)
			m.made++
		}
		m.mu.Unlock()
		switch {
		case done:
			return true
		case p != nil:
			if conn.Write(p) != nil {
				return false
			}
			pause(ctx, m.every)
		default:
			select {
			case <-ctx.Done():
			case <-conn.Done():
			case <-quiet:
				pause(ctx, 5*time.Millisecond)
			case <-m.wake:
			}
		}
	}
}

// stored holds a unit's history against what it saw acknowledged, value by value.
func (m *meter) stored(t *testing.T, s *server) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.made == 0 {
		return
	}
	s.settled()
	to := m.first.Add(time.Duration(m.made) * time.Second)
	got := map[int64]float64{}
	for _, p := range s.series(m.id, "current", m.first, to, m.made) {
		require.EqualValues(t, 1, p.Count, "%s: a sample a second, stored once", m.id)
		got[(p.At.UnixMilli()+999)/1000] = p.Min // a bucket begins less than a second before its sample
	}
	for n := range m.acked {
		at := m.first.Add(time.Duration(n) * time.Second)
		v, ok := got[at.Unix()]
		require.True(t, ok, "%s: sample %d of %s was acknowledged and is not in history", m.id, n, at)
		require.InDelta(t, m.value(n), v, 1e-9, "%s: sample %d", m.id, n)
	}
}

// fleet runs meters until the test stops them.
type meters struct {
	all    []*meter
	quiet  chan struct{}
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func startMeters(t *testing.T, all []*meter) *meters {
	ctx, cancel := context.WithCancel(t.Context())
	f := &meters{all: all, quiet: make(chan struct{}), cancel: cancel}
	for _, m := range all {
		f.wg.Go(func() { m.run(ctx, f.quiet) })
	}
	t.Cleanup(f.cut)
	return f
}

func (f *meters) acked() (n int) {
	for _, m := range f.all {
		m.mu.Lock()
		n += len(m.acked)
		m.mu.Unlock()
	}
	return n
}

// finish lets every meter end with all acknowledged.
func (f *meters) finish(t *testing.T, within time.Duration) {
	t.Helper()
	close(f.quiet)
	f.wait(t, within)
}

// wait waits until the meters have made all they make and have it acknowledged.
func (f *meters) wait(t *testing.T, within time.Duration) {
	t.Helper()
	done := make(chan struct{})
	go func() { f.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(max(within, patience)):
		t.Fatalf("after %s not everything is acknowledged: %d samples are", within, f.acked())
	}
}

// cut ends the meters where they are.
func (f *meters) cut() {
	f.cancel()
	f.wg.Wait()
}

// lines is what a process writes, read while it runs.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// denyDatabase cuts every connection to a database and lets nobody in until
// the function it gives is called, as when its machine is gone.
func denyDatabase(t *testing.T, dsn string) (back func()) {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	admin, err := sql.Open("pgx", u.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = admin.Close() })
	allow := func(yes bool) {
		_, err := admin.ExecContext(context.Background(), fmt.Sprintf(`ALTER DATABASE %s ALLOW_CONNECTIONS %t`, name, yes))
		require.NoError(t, err)
	}
	allow(false)
	_, err = admin.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, name)
	require.NoError(t, err)
	return func() { allow(true) }
}
