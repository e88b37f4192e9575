package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fettle.dev/fettle/internal/peer/disk"

	"github.com/stretchr/testify/require"
)

// tmpfs gives a data directory that holds so many MiB.
func tmpfs(t *testing.T, mib int) string {
	t.Helper()
	return disk.Small(t, fmt.Sprintf("%dm", mib))
}

// fill takes all the room there is.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		block := make([]byte, size)
		for err == nil {
			_, err = f.Write(block)
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		err = nil
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := tmpfs(t, 256)
	s := &server{t: t, dir: dir, http: freeAddress(t), mqtt: freeAddress(t)}
	s.start()
	s.signIn()
	ids := unitIDs(5)
	tokens := s.units(ids)
	var all []*meter
	for _, id := range ids {
		all = append(all, newMeter(id, tokens[id], s.mqtt, time.Now().Add(-3*time.Hour), 3000, time.Millisecond))
	}
	fleet := startMeters(t, all)
	until(t, 30*time.Second, "load", func() bool { return fleet.acked() > 500 })

	filler := filepath.Join(dir, "somebody else's file")
	post := func() int {
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url("/fettle/v1/telemetry"),
			strings.NewReader(fmt.Sprintf(`{"ts":%d,"values":{"charging":true}}`, time.Now().UnixMilli())))
		require.NoError(t, err)
		req.SetBasicAuth(ids[0], tokens[ids[0]])
		r, err := s.do(req)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		return r.StatusCode
	}
	taken := 0 // by HTTPS
	until(t, 60*time.Second, "a unit is refused", func() bool {
		fill(t, filler)
		code := post()
		if code == 200 {
			taken++
		} else {
			require.Contains(t, []int{429, 503}, code, "asked to come again")
		}
		return code != 200
	})
	full := fleet.acked()
	require.Equal(t, 200, s.status("GET", "/healthz", "", nil))
	upload := func() int {
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url("/v1/artifacts?filename=image.swu"), bytes.NewReader(make([]byte, 4<<20)))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+s.token)
		req.Header.Set("Content-Type", "application/octet-stream")
		r, err := s.do(req)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
		return r.StatusCode
	}
	require.Equal(t, 503, upload(), "an image that does not fit is refused")
	fill(t, filler)
	_, errs, err := s.try("backup", "--file", filepath.Join(t.TempDir(), "b"))
	require.Error(t, err)
	require.Contains(t, errs, "full", "a backup is copied in the data directory first")
	until(t, 30*time.Second, "an operation that changes is refused", func() bool {
		fill(t, filler)
		code := s.status("POST", "/v1/tokens", s.token, map[string]any{"name": strings.Repeat("while full ", 8), "scope": "read"})
		require.Contains(t, []int{200, 201, 503}, code)
		return code == 503
	})
	require.Equal(t, 200, s.status("GET", "/v1/units", s.token, nil), "what there is can be read")

	require.NoError(t, os.Remove(filler))
	until(t, 60*time.Second, "units are served again without a restart", func() bool { return fleet.acked() > full+100 })
	until(t, 60*time.Second, "https too", func() bool {
		code := post()
		if code == 200 {
			taken++
		}
		return code == 200
	})
	fleet.wait(t, 60*time.Second)
	check := func() {
		for _, m := range all {
			require.Len(t, m.acked, m.made, m.id)
			a := s.accounting(m.id)
			want := int64(m.made)
			if m.id == ids[0] {
				require.GreaterOrEqual(t, a.Stored, want+int64(taken), "%+v", a)
			} else {
				require.Equal(t, want, a.Stored, "%s: %+v", m.id, a)
			}
			m.stored(t, s)
		}
	}
	check()
	until(t, 30*time.Second, "ready", func() bool { return s.status("GET", "/readyz", "", nil) == 200 })
	s.kill()
	s.start()
	check()

	// Killed while the disk is full, it opens again when there is room.
	until(t, 60*time.Second, "a unit is refused again", func() bool {
		fill(t, filler)
		code := post()
		if code == 200 {
			taken++
		}
		return code != 200
	})
	s.kill()
	require.NoError(t, os.Remove(filler))
	s.start()
	check()
	s.stop()
}
