package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// TestMakeDataDirectory makes testdata/datadir-VERSION.tar.zst, once for a
// release, with the program of that release:
//
//	FETTLE_DATADIR=0.1 go test ./e2e -run TestMakeDataDirectory
//
// The present one is made anew while its version is not released.
func TestMakeDataDirectory(t *testing.T) {
	version := os.Getenv("FETTLE_DATADIR")
	if version == "" {
		t.Skip("FETTLE_DATADIR names no version to make a data directory for")
	}
	s := serve(t)
	_, finding := s.watched()
	s.remedied(finding)
	until(t, 30*time.Second, "offered", func() bool { return s.task() == "offered" })
	s.stop()

	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	require.NoError(t, err)
	w := tar.NewWriter(z)
	require.NoError(t, w.AddFS(os.DirFS(s.dir)))
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	require.Less(t, b.Len(), 300<<10, "kept in the repository for ever")
	require.NoError(t, os.WriteFile(filepath.Join(root(), "e2e", "testdata", "datadir-"+version+".tar.zst"), b.Bytes(), 0o644))
}

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer f.Close()
	z, err := zstd.NewReader(f)
	require.NoError(t, err)
	defer z.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		path := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if h.Typeflag == tar.TypeDir {
			require.NoError(t, os.MkdirAll(path, 0o700))
			continue
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		body, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, body, 0o600))
	}
}

// TestDataDirectoriesOfReleases opens a data directory of each release with
// the present program.
func TestDataDirectoriesOfReleases(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob(filepath.Join(root(), "e2e", "testdata", "datadir-*.tar.zst"))
	require.NoError(t, err)
	require.NotEmpty(t, archives)
	for _, archive := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(archive), ".tar.zst"), func(t *testing.T) {
			t.Parallel()
			s := &server{t: t, dir: filepath.Join(t.TempDir(), "data"), http: freeAddress(t), mqtt: freeAddress(t)}
			unpack(t, archive, s.dir)
			s.start() // which brings the records up to date
			text, err := exec.CommandContext(t.Context(), binary, "admin", "reset", "--data", s.dir).CombinedOutput()
			require.NoError(t, err, string(text))
			s.signIn()

			require.Contains(t, s.fettle("get", "products"), "wall-charger")
			require.Contains(t, s.fettle("get", "detectors"), "plug-overheat")
			units := s.fettle("get", "units")
			for _, id := range []string{hot, cool, unseen} {
				require.Contains(t, units, id)
			}
			var f findings
			s.get("/v1/findings?product=wall-charger&detector=plug-overheat", &f)
			require.Len(t, f.Items, 1)
			require.Equal(t, hot, f.Items[0].UnitID)
			var cohorts struct {
				Items []struct{ In, Out, NotJudgeable int }
			}
			s.get("/v1/cohorts", &cohorts)
			require.Len(t, cohorts.Items, 1)
			require.Equal(t, [3]int{1, 1, 1}, [3]int{cohorts.Items[0].In, cohorts.Items[0].Out, cohorts.Items[0].NotJudgeable})
			require.NotEmpty(t, s.task(), "the campaign has the unit's task")

			onset := f.Items[0].Onset
			count := int64(0)
			for _, p := range s.series(hot, "plug_temperature", onset.Add(-time.Hour), onset.Add(12*time.Hour), 1000) {
				count += p.Count
				require.GreaterOrEqual(t, p.Min, 95.0)
				require.LessOrEqual(t, p.Max, 97.0)
			}
			require.EqualValues(t, 300, count)
			require.Equal(t, account{UnitID: unseen, Acknowledged: 900, Stored: 300, NotConsented: 600}, s.accounting(unseen))

			// And it goes on from there.
			token := strings.TrimSpace(s.fettle("unit", "token", cool))
			s.publish(cool, token, "fettle/v1/telemetry", map[string]any{"ts": time.Now().UnixMilli(), "values": map[string]any{"current": 7, "charging": true}})
			require.EqualValues(t, 902, s.accounting(cool).Stored)
			s.stop()
		})
	}
}
