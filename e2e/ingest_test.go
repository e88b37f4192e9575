package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestIngestProcesses has two processes of role ingest at one address beside
// the one that does all else. What an owner or an operator changes holds in all
// of them when it is answered; any of them may be killed.
func TestIngestProcesses(t *testing.T) {
	t.Parallel()
	s, _, _ := outgrown(t)
	shared := freeAddress(t)
	ingest := func() *server {
		i := &server{t: t, dir: t.TempDir(), http: freeAddress(t), mqtt: shared, args: append(slices.Clone(s.args), "--role", "ingest")}
		i.start()
		until(t, 30*time.Second, "ready", func() bool { return i.status("GET", "/readyz", "", nil) == 200 })
		return i
	}
	doors := []*server{ingest(), ingest()}
	ids := unitIDs(21)
	tokens := s.units(ids)
	asked := ids[20]
	var all []*meter
	for _, id := range ids[:20] {
		all = append(all, newMeter(id, tokens[id], shared, time.Now().Add(-3*time.Hour), 4000, time.Millisecond))
	}
	fleet := startMeters(t, all)
	until(t, 30*time.Second, "load", func() bool { return fleet.acked() > 500 })
	for _, d := range doors {
		require.Positive(t, d.metrics()[`fettle_ingest_connections{protocol="mqtt"}`], "the kernel spreads connections")
	}

	// A new owner has consented to nothing.
	moved := ids[0]
	file := filepath.Join(t.TempDir(), "moved.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "apiVersion: fettle.dev/v1\nkind: Unit\nmetadata:\n  name: %s\nspec:\n  product: wall-charger\n  serial: S-%s\n  batch: A-14\n  owner:\n    email: new@example.com\n    name: New\n", moved, moved), 0o600))
	s.fettle("apply", "-f", file)
	before := s.accounting(moved)
	at := fleet.acked()
	until(t, 30*time.Second, "more load", func() bool { return fleet.acked() > at+2000 })
	after := s.accounting(moved)
	require.Equal(t, before.Stored, after.Stored, "nothing is kept against the choice that holds")
	require.Greater(t, after.NotConsented, before.NotConsented)

	// A token that was replaced is refused by all.
	post := func(d *server, token string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url("/fettle/v1/telemetry"), strings.NewReader(fmt.Sprintf(`{"ts":%d,"values":{"current":1}}`, time.Now().UnixMilli())))
		require.NoError(t, err)
		req.SetBasicAuth(asked, token)
		r, err := d.do(req)
		require.NoError(t, err)
		_ = r.Body.Close()
		return r.StatusCode
	}
	for _, d := range doors {
		require.Equal(t, 200, post(d, tokens[asked]))
	}
	var fresh struct{ Items []struct{ Token string } }
	s.post("/v1/unit-tokens", map[string]any{"units": []string{asked}}, &fresh)
	for _, d := range doors {
		require.Equal(t, 401, post(d, tokens[asked]))
		require.Equal(t, 200, post(d, fresh.Items[0].Token))
	}

	// Without the process that keeps the order of changes units wait.
	s.kill()
	until(t, 30*time.Second, "units wait", func() bool {
		return !slices.ContainsFunc(doors, func(d *server) bool { return d.status("GET", "/readyz", "", nil) != 503 })
	})
	at = fleet.acked()
	time.Sleep(time.Second)
	require.InDelta(t, at, fleet.acked(), 20*16)
	s.start()
	until(t, 30*time.Second, "units are served again", func() bool { return fleet.acked() > at+500 })

	// One of two is gone: the other takes its units, and owners' choices are not
	// kept waiting for long.
	doors[0].kill()
	s.fettle("apply", "-f", file)
	fleet.wait(t, 60*time.Second)
	for _, m := range all[1:] {
		require.Len(t, m.acked, m.made, m.id)
		require.EqualValues(t, m.made, s.accounting(m.id).Stored, m.id)
		m.stored(t, s)
	}
	doors[1].stop()
	s.stop()
}
