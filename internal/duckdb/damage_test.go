package duckdb_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"fettle.dev/fettle/internal/peer/disk"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/telemetry"
)

const historyFile, historyLog = "history.duckdb", "history.duckdb.wal"

// logged appends batches and gives the directory as kill -9 leaves it, with
// the length of the log after each.
func logged(t *testing.T, batches uint64) (dir string, length []int) {
	t.Helper()
	home := t.TempDir()
	h := open(t, home)
	for seq := uint64(1); seq <= batches; seq++ {
		require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{crashBatch(seq)}))
		info, err := os.Stat(filepath.Join(home, historyLog))
		require.NoError(t, err)
		length = append(length, int(info.Size()))
	}
	dir = filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.CopyFS(dir, os.DirFS(home)))
	require.NoError(t, h.Close())
	return dir, length
}

func openWhole(t *testing.T, dir string, reached uint64) (uint64, error) {
	t.Helper()
	h, err := duckdb.OpenWhole(t.Context(), duckdb.Config{Dir: dir, MemoryMB: 256}, quiet, reached)
	if err != nil {
		return 0, err
	}
	defer func() { require.NoError(t, h.Close()) }()
	return requireWhole(t, h), nil
}

// The log's end may be anything: what was synced before it is there. Damage
// before that is named, the second time too.
func TestDamageOfTheLog(t *testing.T) {
	t.Parallel()
	const batches = 12
	from, length := logged(t, batches)
	log, err := os.ReadFile(filepath.Join(from, historyLog))
	require.NoError(t, err)
	synced := length[batches-2] // the last batch was never promised to anybody
	require.Len(t, log, length[batches-1])
	for _, at := range []int{0, 5, 60, 100, length[4] - 1, length[4], length[4] + 20, synced - 1, synced, synced + 1, synced + 8, synced + 16, synced + 300, len(log) - 1} {
		for name, damage := range disk.Damages {
			t.Run(fmt.Sprintf("%s at %d", name, at), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "x")
				require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
				path := filepath.Join(dir, historyLog)
				damaged := damage(append([]byte{}, log...), at)
				if bytes.Equal(damaged, log) { // what ends in zero, zeroed
					return
				}
				require.NoError(t, os.WriteFile(path, damaged, 0o600))
				for range 2 {
					applied, err := openWhole(t, dir, batches-1)
					if at < synced {
						require.ErrorIs(t, err, duckdb.ErrDamaged)
					} else {
						require.NoError(t, err)
						require.EqualValues(t, batches-1, applied)
						require.NoFileExists(t, path+".damaged")
					}
				}
			})
		}
	}
}

// Every block that holds rows is looked at when history is opened.
func TestDamageOfTheFile(t *testing.T) {
	t.Parallel()
	from := t.TempDir()
	h := open(t, from)
	f := newFleet(500)
	for range 12 {
		require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{f.batch(2000)}))
	}
	require.NoError(t, h.Close())
	whole, err := os.ReadFile(filepath.Join(from, historyFile))
	require.NoError(t, err)
	for block, at := range []int{-1, 0, 9, 4096 + 20, 2*4096 + 20} {
		damagedAt(t, whole, at, block)
	}
	const size = 256 << 10
	for block, at := 1, 3*4096; at < len(whole); block, at = block+1, at+size {
		damagedAt(t, whole, at+size/2, block)
		damagedAt(t, whole, at+7, block)
	}
}

func damagedAt(t *testing.T, whole []byte, at, block int) {
	t.Helper()
	for _, name := range []string{"one bit", "zeroed", "cut"} {
		t.Run(fmt.Sprintf("block %d/%s at %d", block, name, at), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			data := append([]byte{}, whole...)
			if at >= 0 {
				data = disk.Damages[name](data, at)
			}
			require.NoError(t, os.WriteFile(filepath.Join(dir, historyFile), data, 0o600))
			h, err := duckdb.OpenWhole(t.Context(), duckdb.Config{Dir: dir, MemoryMB: 256}, quiet, 12)
			if err == nil { // a block that holds nothing any more
				defer func() { require.NoError(t, h.Close()) }()
				require.Equal(t, 24_000, countRows(t, h, "wall-charger"))
				list, err := h.Accounts(t.Context(), nil)
				require.NoError(t, err)
				require.Len(t, list, 500)
				require.True(t, at < 0 || at == 4096+20 || at == 2*4096+20 || name == "one bit" || name == "zeroed", "found")
				return
			}
			require.ErrorIs(t, err, duckdb.ErrDamaged)
		})
	}
}

// Damage that comes later is named when it is read, and stays named.
func TestDamageWhileInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	f := newFleet(500)
	for range 60 {
		require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{f.batch(2000)}))
	}
	require.NoError(t, h.Close())
	opened, err := duckdb.OpenWhole(t.Context(), duckdb.Config{Dir: dir, MemoryMB: 256}, quiet, 60)
	require.NoError(t, err)
	defer func() { _ = opened.Close() }()
	require.NoError(t, opened.Ready(t.Context()))
	file, err := os.OpenFile(filepath.Join(dir, historyFile), os.O_RDWR, 0)
	require.NoError(t, err)
	for at := int64(3*4096 + 1000); ; at += 256 << 10 {
		if info, err := file.Stat(); err != nil || at > info.Size() {
			break
		}
		_, err := file.WriteAt([]byte("a disk lies"), at)
		require.NoError(t, err)
	}
	require.NoError(t, file.Close())
	err = opened.Replay(t.Context(), telemetry.Query{Product: "wall-charger"}, func(*telemetry.Stored, *telemetry.StoredMark) error { return nil })
	require.ErrorIs(t, err, duckdb.ErrDamaged)
	require.ErrorIs(t, opened.Ready(t.Context()), duckdb.ErrDamaged)
}
