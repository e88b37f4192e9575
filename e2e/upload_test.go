package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An upload whose server is killed in its midst goes on where it was, by the
// same command; no more of it is in memory than a buffer.
func TestAnUploadOutlivesAKill(t *testing.T) {
	t.Parallel()
	uploadThroughKills(t, 256<<20, 2)
}

func TestSoakAnUploadOfTenGigabytes(t *testing.T) {
	if os.Getenv("FETTLE_SOAK") == "" {
		t.Skip("FETTLE_SOAK is not set: minutes, and 10 GB of disk")
	}
	uploadThroughKills(t, 10<<30, 3)
}

func uploadThroughKills(t *testing.T, size int64, kills int) {
	t.Helper()
	s := serve(t)
	image := filepath.Join(t.TempDir(), "image.swu")
	f, err := os.Create(image)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(size)) // sparse
	for i := range int64(16) {
		_, err = f.WriteAt([]byte(fmt.Sprint("piece ", i)), i*size/16)
		require.NoError(t, err)
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	sum := hex.EncodeToString(h.Sum(nil))

	before := s.memory("VmRSS")
	put := make(chan error, 1)
	go func() {
		out, errs, err := s.try("artifact", "put", image)
		if err == nil && !strings.Contains(out, "sha256:"+sum) {
			err = errors.New("it printed " + out)
		}
		if err != nil {
			err = fmt.Errorf("%w: %s", err, errs)
		}
		put <- err
	}()
	for i := range kills {
		least := size * int64(i+1) / int64(kills+2)
		require.Eventually(t, func() bool { return s.arrived() > least }, 5*time.Minute, time.Millisecond, "kill %d", i)
		s.kill()
		s.start()
	}
	require.NoError(t, <-put)
	var a struct {
		Size     int64  `json:"size"`
		Filename string `json:"filename"`
	}
	s.get("/v1/artifacts/"+sum, &a)
	require.Equal(t, size, a.Size)
	require.Equal(t, "image.swu", a.Filename)
	kept, err := os.Stat(filepath.Join(s.dir, "artifacts", sum))
	require.NoError(t, err)
	require.Equal(t, size, kept.Size())
	require.Zero(t, s.arrived(), "nothing is left of the upload")
	most := s.memory("VmHWM")
	t.Logf("%d MiB uploaded; server: %d MiB before, %d MiB at most", size>>20, before>>10, most>>10)
	require.Less(t, most-before, int64(160<<10), "KiB: its own start, and a buffer")
	s.fettle("artifact", "put", image) // known
	s.stop()
}

// arrived is how many bytes there are of uploads that are not finished.
func (s *server) arrived() (n int64) {
	names, _ := filepath.Glob(filepath.Join(s.dir, "uploads", "upload-*.bytes"))
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			n += info.Size()
		}
	}
	return n
}

// memory reads a figure of the server's memory, in KiB.
func (s *server) memory(name string) int64 {
	s.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	require.NoError(s.t, err)
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			var n int64
			_, err := fmt.Sscan(rest, &n)
			require.NoError(s.t, err)
			return n
		}
	}
	s.t.Fatalf("no %s", name)
	return 0
}
