package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fettle.dev/fettle/internal/peer/disk"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/sim/client"
)

// logs are the files that take what is acknowledged.
func logs(t *testing.T, dir string) map[string]string {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "stream", "jetstream", "$G", "streams", "fettle", "msgs", "*.blk"))
	require.NoError(t, err)
	require.NotEmpty(t, blocks)
	slices.Sort(blocks)
	stream, err := filepath.Rel(dir, blocks[len(blocks)-1])
	require.NoError(t, err)
	return map[string]string{"stream": stream, "records": "records.db-wal", "history": "history/history.duckdb.wal"}
}

// opens starts a server on a data directory; it gives what it says when it
// refuses, or nothing when it serves.
func (s *server) opens() (refusal string) {
	s.t.Helper()
	var errs lines
	s.cmd = exec.Command(binary, "serve", "--data", s.dir, "--listen", s.http, "--mqtt", s.mqtt, "--public-url", s.url(""), "--log-format", "json")
	s.cmd.Stdout, s.cmd.Stderr = &errs, &errs
	s.cmd.Env = os.Environ()
	require.NoError(s.t, s.cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	s.t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	for range 600 {
		select {
		case err := <-ended:
			require.Error(s.t, err, "a server that refuses says so by its status")
			return errs.String()
		case <-time.After(50 * time.Millisecond):
		}
		if r, err := http.Get(s.url("/healthz")); err == nil {
			_ = r.Body.Close()
			return ""
		}
	}
	s.t.Fatalf("the server neither serves nor ends:\n%s", errs.String())
	return ""
}

// on is a server on a copy of a data directory, for the same operator.
func (s *server) on(t *testing.T, dir string) *server {
	t.Helper()
	return &server{t: t, dir: dir, http: freeAddress(t), mqtt: freeAddress(t), token: s.token}
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// refuses looks whether a refusal names what is damaged and what to do.
func refuses(t *testing.T, refusal, what string) {
	t.Helper()
	require.Contains(t, refusal, "damaged")
	require.Contains(t, refusal, "fettle restore")
	require.Contains(t, refusal, what)
}

// TestDisksThatLie damages a data directory, as a killed process under load
// leaves it, in many ways. Either everything acknowledged is there, value by
// value, or the server refuses and says what is damaged and how to restore.
func TestDisksThatLie(t *testing.T) {
	t.Parallel()
	s := serve(t)
	d := s.drive(load{units: 8, most: 1 << 20, every: 3 * time.Millisecond, seed: 5})
	d.served(1500)
	s.kill()
	d.fleet.Stop()
	verified := func(t *testing.T, s *server) {
		t.Helper()
		s.settled()
		report, err := d.fleet.Verify(t.Context(), &client.Caller{HTTP: http.DefaultClient, Base: s.url(""), Bearer: s.token})
		require.NoError(t, err)
		require.Positive(t, report.Values)
	}
	tail := map[string][]byte{
		"nothing": {}, "zeros": make([]byte, 5000), "a few zeros": make([]byte, 3),
		"garbage": disk.Damages["garbled"](make([]byte, 5000), 0),
	}
	for log, file := range logs(t, s.dir) {
		path := filepath.Join(s.dir, file)
		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NotEmpty(t, whole, file)

		// After the last sync.
		for name, more := range tail {
			t.Run(log+"/then "+name, func(t *testing.T) {
				t.Parallel()
				c := s.on(t, copied(t, s.dir))
				require.NoError(t, os.WriteFile(filepath.Join(c.dir, file), append(slices.Clone(whole), more...), 0o600))
				require.Empty(t, c.opens())
				verified(t, c)
			})
		}
		// Before.
		for name, damage := range disk.Damages {
			for _, part := range []float64{0.01, 0.5, 0.97} {
				t.Run(fmt.Sprintf("%s/%s at %g", log, name, part), func(t *testing.T) {
					t.Parallel()
					c := s.on(t, copied(t, s.dir))
					data := damage(slices.Clone(whole), int(part*float64(len(whole))))
					require.NoError(t, os.WriteFile(filepath.Join(c.dir, file), data, 0o600))
					if refusal := c.opens(); refusal != "" {
						t.Log(strings.TrimSpace(refusal))
						refuses(t, refusal, log)
						require.NotEmpty(t, c.opens(), "the second start too")
						return
					}
					verified(t, c)
				})
			}
		}
	}
	for _, gone := range []string{"records.db", "records.db-wal", "history/history.duckdb", "history/history.duckdb.wal", "stream/jetstream", "history"} {
		t.Run("without "+gone, func(t *testing.T) {
			t.Parallel()
			c := s.on(t, copied(t, s.dir))
			require.NoError(t, os.RemoveAll(filepath.Join(c.dir, gone)))
			refusal := c.opens()
			require.NotEmpty(t, refusal)
			refuses(t, refusal, strings.SplitN(gone, ".", 2)[0][:6])
		})
	}
	t.Run("without what was reached", func(t *testing.T) {
		t.Parallel()
		c := s.on(t, copied(t, s.dir))
		require.NoError(t, os.WriteFile(filepath.Join(c.dir, "reached"), bytes.Repeat([]byte{7}, 1024), 0o600))
		require.Empty(t, c.opens())
		verified(t, c)
	})
}

// The way out that a refusal names leads back to everything the backup holds.
func TestRestoredAfterDamage(t *testing.T) {
	t.Parallel()
	s := serve(t)
	d := s.drive(load{units: 5, most: 200, every: time.Millisecond, seed: 6})
	d.finish()
	d.checked()
	file := filepath.Join(t.TempDir(), "b.fettle")
	s.fettle("backup", "--file", file)
	s.stop()

	history := filepath.Join(s.dir, "history", "history.duckdb")
	data, err := os.ReadFile(history)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(history, disk.Damages["zeroed"](data, len(data)/2), 0o600))
	refuses(t, s.opens(), "history")

	c := s.on(t, filepath.Join(t.TempDir(), "new"))
	s.fettle("restore", "--data", c.dir, file)
	require.Empty(t, c.opens())
	c.settled()
	report, err := d.fleet.Verify(t.Context(), &client.Caller{HTTP: http.DefaultClient, Base: c.url(""), Bearer: c.token})
	require.NoError(t, err)
	require.Zero(t, report.Uncertain)
}

// TestSoakDisksThatLie damages one random file of a killed server's stream and
// history, or the records' log, at a random place in a random way, 300 times.
func TestSoakDisksThatLie(t *testing.T) {
	soak(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 3))
	passed, refused := 0, 0
	for range 3 { // images
		s := serve(t, "--stream-bytes", "4194304")
		d := s.drive(load{units: 8, most: 1 << 20, every: 2 * time.Millisecond, seed: seed})
		d.killed(random, 2, time.Second)
		d.served(2000 + random.IntN(4000))
		s.kill()
		d.fleet.Stop()
		var files []string
		require.NoError(t, filepath.WalkDir(s.dir, func(path string, e os.DirEntry, err error) error {
			name, _ := filepath.Rel(s.dir, path)
			if err == nil && e.Type().IsRegular() && (strings.HasPrefix(name, "stream/") || strings.HasPrefix(name, "history/") || name == "records.db-wal") {
				files = append(files, name)
			}
			return err
		}))
		for range 100 {
			file := files[random.IntN(len(files))]
			data, err := os.ReadFile(filepath.Join(s.dir, file))
			require.NoError(t, err)
			if len(data) == 0 {
				continue
			}
			ways := slices.Sorted(maps.Keys(disk.Damages))
			way, at := ways[random.IntN(len(ways))], random.IntN(len(data))
			c := s.on(t, copied(t, s.dir))
			require.NoError(t, os.WriteFile(filepath.Join(c.dir, file), disk.Damages[way](data, at), 0o600))
			if refusal := c.opens(); refusal != "" {
				refuses(t, refusal, "damaged")
				refused++
			} else {
				c.settled()
				_, err := d.fleet.Verify(t.Context(), &client.Caller{HTTP: http.DefaultClient, Base: c.url(""), Bearer: c.token})
				require.NoError(t, err, "seed %d: %s %s at %d", seed, file, way, at)
				require.NoError(t, c.cmd.Process.Kill())
				passed++
			}
			require.NoError(t, os.RemoveAll(c.dir))
		}
	}
	t.Logf("seed %d: %d refused by name, %d whole", seed, refused, passed)
}
