package duckdb_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"fettle.dev/fettle/internal/peer/disk"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/telemetry"
)

const historyFile, historyLog = "history.duckdb", "history.duckdb.wal"

// logged appends batches and gives the directory as kill -9 leaves it before the
// last is noted, with the length of the log after each.
func logged(t *testing.T, batches uint64) (dir string, length []int) {
	t.Helper()
	home := t.TempDir()
	h := open(t, home)
	var noted []byte
	for seq := uint64(1); seq <= batches; seq++ {
		var err error
		noted, err = os.ReadFile(filepath.Join(home, historyLog+".sum"))
		require.NoError(t, err)
		require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{crashBatch(seq)}))
		info, err := os.Stat(filepath.Join(home, historyLog))
		require.NoError(t, err)
		length = append(length, int(info.Size()))
	}
	dir = filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.CopyFS(dir, os.DirFS(home)))
	require.NoError(t, os.WriteFile(filepath.Join(dir, historyLog+".sum"), noted, 0o600))
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

// TestHolesInTheLog has values in the log become zeros: DuckDB's checksum does
// not see it where an even number of equal words do. FETTLE_SOAK makes more, at
// random.
func TestHolesInTheLog(t *testing.T) {
	t.Parallel()
	home, from := t.TempDir(), filepath.Join(t.TempDir(), "image")
	h := open(t, home)
	f := newFleet(50)
	const batches, rows = 3, 5000
	for range batches {
		b := f.batch(rows)
		for i := range b.Batch.Rows {
			b.Batch.Rows[i].Values[0].Number = math.Pi
		}
		require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{b}))
	}
	require.NoError(t, os.CopyFS(from, os.DirFS(home)))
	require.NoError(t, h.Close())
	log, err := os.ReadFile(filepath.Join(from, historyLog))
	require.NoError(t, err)
	hole := func(dir string, at, size int) bool {
		t.Helper()
		data := bytes.Clone(log)
		clear(data[at:min(at+size, len(data))])
		require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, historyLog), data, 0o600))
		return !bytes.Equal(data, log)
	}
	open := func(dir string) (*duckdb.History, error) {
		return duckdb.OpenWhole(t.Context(), duckdb.Config{Dir: dir, MemoryMB: 128, Threads: 1}, quiet, batches)
	}
	seed, holes := uint64(1), 40
	if os.Getenv("FETTLE_SOAK") != "" {
		seed, holes = rand.Uint64(), 2000
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for range holes {
		dir := filepath.Join(t.TempDir(), "x")
		at, size := random.IntN(len(log)), 1<<random.IntN(14)
		if !hole(dir, at, size) {
			continue
		}
		_, err := open(dir)
		require.ErrorIs(t, err, duckdb.ErrDamaged, "seed %d: %d bytes at %d", seed, size, at)
		require.NoError(t, os.RemoveAll(dir))
	}

	// One of eight neighbours begins with a word: nothing else sees that one.
	run := bytes.Index(log, bytes.Repeat(binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.Pi)), 200))
	require.Positive(t, run)
	unseen := 0
	for at := run; at < run+8; at++ {
		dir := filepath.Join(t.TempDir(), "x")
		require.True(t, hole(dir, at, 512))
		_, err := open(dir)
		require.ErrorIs(t, err, duckdb.ErrDamaged)
		require.NoError(t, os.Remove(filepath.Join(dir, historyLog+".sum"))) // as an older Fettle leaves it
		h, err := open(dir)
		if err != nil {
			require.ErrorIs(t, err, duckdb.ErrDamaged)
			continue
		}
		unseen++
		require.Equal(t, batches*rows, countRows(t, h, "wall-charger"))
		require.NoError(t, h.Close())
	}
	require.Equal(t, 1, unseen)
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
