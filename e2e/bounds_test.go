package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// alive reports whether a path is answered with 200.
func (s *server) alive(path string) bool {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url(path), nil)
	require.NoError(s.t, err)
	r, err := s.do(req)
	if err != nil {
		return false
	}
	_ = r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// put sends one sample by HTTPS and gives the status and Retry-After.
func (s *server) put(unit, token string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "POST", s.url("/fettle/v1/telemetry"),
		strings.NewReader(fmt.Sprintf(`{"ts":%d,"values":{"charging":true}}`, time.Now().UnixMilli())))
	require.NoError(s.t, err)
	req.SetBasicAuth(unit, token)
	r, err := s.do(req)
	require.NoError(s.t, err)
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	return r.StatusCode, r.Header.Get("Retry-After")
}

func (s *server) readiness() string {
	s.t.Helper()
	r := s.request(http.MethodGet, "/readyz", "", nil)
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	require.NoError(s.t, err)
	return string(raw)
}

// stuck waits until nobody is acknowledged any more, and looks whether that is
// by waiting: HTTP says when to come again, and memory stays where it is.
func (d *driven) stuck(says, token string) {
	d.t.Helper()
	until(d.t, 60*time.Second, "nobody is acknowledged", func() bool {
		before := d.fleet.Acked()
		pause(d.t.Context(), 700*time.Millisecond)
		return d.fleet.Acked() == before && strings.Contains(d.readiness(), says)
	})
	code, again := d.put(polite, token)
	require.Equal(d.t, http.StatusTooManyRequests, code)
	require.NotEmpty(d.t, again)
	before := d.metrics()
	pause(d.t.Context(), 2*time.Second)
	after := d.metrics()
	require.Less(d.t, after["process_resident_memory_bytes"], before["process_resident_memory_bytes"]+64e6, "what waits is bounded")
	require.InDelta(d.t, before["fettle_ingest_connections"], after["fettle_ingest_connections"], 0)
}

// polite is a unit that comes by HTTPS, once.
const polite = "WC-900001"

// Above its quota the service takes nothing, says so, and goes on when there
// is room again, without a restart.
func TestDiskQuota(t *testing.T) {
	t.Parallel()
	s := serve(t, "--disk-quota", "200MiB")
	token := s.units([]string{polite})[polite]
	d := s.drive(load{units: 10, most: 1 << 20, every: 2 * time.Millisecond, seed: 12})
	d.served(300)
	ballast := filepath.Join(s.dir, "ballast")
	hold := func(mib int) { require.NoError(t, os.WriteFile(ballast, make([]byte, mib<<20), 0o600)) }
	hold(165)
	until(t, 30*time.Second, "a warning", func() bool { return strings.Contains(s.readiness(), "of the quota of 200 MiB are used") })
	require.True(t, s.alive("/readyz"))
	d.served(100)
	for range 2 {
		hold(210)
		d.stuck("disk-quota", token)
		require.False(t, s.alive("/readyz"))
		require.InDelta(t, 1, s.metrics()["fettle_disk_full"], 0)
		require.InDelta(t, 1, s.metrics()["fettle_ingest_full"], 0)
		require.NoError(t, os.Remove(ballast))
		d.served(300)
	}
	require.True(t, s.alive("/readyz"))
	d.finish()
	d.checked()
	s.stop()
}

// Without its consumer the stream fills up; then units wait, and none of it is
// dropped to make room. History goes on when it can, and so do units.
func TestAStoppedConsumer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	small := tmpfs(t, 48)
	require.NoError(t, os.Symlink(small, filepath.Join(dir, "history")))
	s := &server{t: t, dir: dir, http: freeAddress(t), mqtt: freeAddress(t), args: []string{"--stream-bytes", "4194304"}}
	s.start()
	s.signIn()
	token := s.units([]string{polite})[polite]
	d := s.drive(load{units: 20, most: 1 << 20, every: time.Millisecond, seed: 13})
	d.served(300)
	filler := filepath.Join(small, "somebody else's file")
	fill(t, filler)
	d.stuck("the stream is full", token)
	require.NoError(t, os.Remove(filler))
	d.served(2000)
	d.finish()
	d.checked()
	s.stop()
}
