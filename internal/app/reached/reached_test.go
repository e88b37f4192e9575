package reached

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func reopened(t *testing.T, path string) *File {
	t.Helper()
	r, err := Open(path, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestReached(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "reached")
	r := reopened(t, path)
	require.Zero(t, r.at)
	for seq := uint64(1); seq <= 7; seq++ {
		r.Stream(seq)
		r.History(seq / 2)
		require.Equal(t, r.at, reopened(t, path).at, "killed now")
	}
	r.Stream(3) // two commits may be noted the other way round
	r.Records(1<<31 - 2)
	r.Records(1<<31 - 1)
	r.Records(1) // after the last number comes the first
	r.Records(1<<31 - 1)
	want := Positions{Stream: 7, Records: 1, History: 3}
	require.Equal(t, want, reopened(t, path).at)

	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Len(t, whole, 2*half)
	for at := range whole { // one half is always right
		data := append([]byte{}, whole...)
		data[at] ^= 1
		other := filepath.Join(t.TempDir(), "reached")
		require.NoError(t, os.WriteFile(other, data, 0o600))
		got := reopened(t, other)
		require.Equal(t, uint64(7), got.at.Stream)
		require.GreaterOrEqual(t, got.generation, r.generation-1)
	}
	for name, data := range map[string][]byte{"short": whole[:20], "garbage": make([]byte, 3000), "empty": {}} {
		other := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(other, data, 0o600))
		got := reopened(t, other)
		require.Zero(t, got.at, name)
		got.Stream(9)
		require.Equal(t, Positions{Stream: 9}, reopened(t, other).at)
	}
}

// What each commit pays for being noted.
func BenchmarkReached(b *testing.B) {
	r, err := Open(filepath.Join(b.TempDir(), "reached"), slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	seq := uint64(0)
	for b.Loop() {
		seq++
		r.Stream(seq)
	}
	require.NoError(b, r.Close())
}
