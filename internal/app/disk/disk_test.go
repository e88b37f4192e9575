package disk

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	peerdisk "fettle.dev/fettle/internal/peer/disk"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/telemetry"
)

func TestDiskQuota(t *testing.T) {
	t.Parallel()
	dir := peerdisk.Small(t, "64m") // of its own: how full the machine's is does not matter
	d, err := New(dir, 10<<20, 1, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	put := func(name string, mb int) {
		t.Helper()
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "deep"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "deep", name), make([]byte, mb<<20), 0o600))
		require.NoError(t, d.look(true))
	}
	require.NoError(t, d.Room())
	put("a", 4)
	require.NoError(t, d.Room())
	put("b", 4)
	require.NoError(t, d.Room())
	require.Contains(t, d.Warning(), "8 MiB of the quota of 10 MiB are used")
	require.NoError(t, d.Fits(2<<20))
	require.ErrorContains(t, d.Fits(3<<20), "no room for 3 MiB more")
	put("c", 4)
	require.ErrorIs(t, d.Room(), telemetry.ErrFull)
	require.ErrorContains(t, d.Ready(t.Context()), "holds 12 MiB of the 10 MiB it may (disk-quota)")
	require.Empty(t, d.Warning())
	require.NoError(t, os.Remove(filepath.Join(dir, "deep", "c")))
	require.NoError(t, d.look(true))
	require.NoError(t, d.Room())
	require.NotEmpty(t, d.Warning())
}

func TestDiskMinFree(t *testing.T) {
	t.Parallel()
	dir := peerdisk.Small(t, "20m")
	d, err := New(dir, 0, 4<<20, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, d.Room())
	require.Empty(t, d.Warning())
	fill := filepath.Join(dir, "fill")
	require.NoError(t, os.WriteFile(fill, make([]byte, 13<<20), 0o600))
	require.NoError(t, d.look(false))
	require.NoError(t, d.Room())
	require.Contains(t, d.Warning(), "the disk has 7 MiB free of 20; below 4 MiB nothing is taken from units")
	require.NoError(t, os.WriteFile(fill, make([]byte, 17<<20), 0o600))
	require.NoError(t, d.look(false))
	require.ErrorIs(t, d.Room(), telemetry.ErrFull)
	require.NoError(t, os.Remove(fill))
	require.NoError(t, d.look(false))
	require.NoError(t, d.Room())
	require.Empty(t, d.Warning())
}
