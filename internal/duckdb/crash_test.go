package duckdb_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"fettle.dev/fettle/internal/peer/disk"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/telemetry/telemetrytest"
)

// crashBatch is the batch of a sequence: how many rows it has, and what they
// hold, follows from the sequence.
func crashBatch(seq uint64) telemetry.Sequenced {
	b := &telemetry.Batch{Product: fmt.Sprintf("product %d", seq%3)}
	for i := range int(seq%7)*50 + 1 {
		b.Rows = append(b.Rows, telemetry.Row{
			Unit: int64(i%5 + 1), Event: int64(seq)*1000 + int64(i), Received: int64(seq), Invalid: 1,
			Values: []telemetry.Value{{Signal: fmt.Sprintf("signal %d", seq%40), Number: float64(i)}, {Signal: "text", Text: "x", IsText: true}},
		})
	}
	for i := range int(seq % 4) {
		b.Events = append(b.Events, telemetry.Event{
			Unit: 99, Event: int64(seq/8)*8000 + int64(i), Received: int64(seq), Sequence: int64(seq),
			Kind: telemetry.EventFault, Name: "E1", State: telemetry.StateSet,
		})
	}
	b.Marks = []telemetry.Mark{{Kind: telemetry.MarkTick, At: int64(seq)}}
	return telemetry.Sequenced{Seq: seq, Batch: b}
}

// requireWhole looks whether exactly the batches up to the position are
// stored: each whole, with its accounting.
func requireWhole(t *testing.T, h telemetry.History) uint64 {
	t.Helper()
	applied, err := h.Applied(t.Context())
	require.NoError(t, err)
	want, events := map[string]int{}, map[string]int{}
	total := int64(0)
	for seq := uint64(1); seq <= applied; seq++ {
		b := crashBatch(seq).Batch
		want[b.Product] += len(b.Rows)
		events[b.Product] += len(b.Events)
		total += int64(3*len(b.Rows) + len(b.Events))
	}
	for product, n := range want {
		rows, marks := 0, 0
		err := h.Replay(t.Context(), telemetry.Query{Product: product}, func(r *telemetry.Stored, m *telemetry.StoredMark) error {
			if m != nil {
				marks++
				return nil
			}
			if rows++; len(r.Values) != 2 {
				return fmt.Errorf("row %v", r)
			}
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, n, rows, product)
		require.EqualValues(t, applied, marks)
		found, err := h.Events(t.Context(), telemetry.EventQuery{Product: product, Unit: 99, Limit: 1 << 20})
		require.NoError(t, err)
		require.Len(t, found, events[product])

		var signals []string
		for i := range 40 {
			signals = append(signals, fmt.Sprintf("signal %d", i))
		}
		counted := int64(0)
		require.NoError(t, h.Windows(t.Context(), telemetry.WindowQuery{Product: product, Signals: signals}, func(w *telemetry.Window) error {
			for _, s := range w.Stats {
				counted += s.Count
			}
			return nil
		}))
		require.EqualValues(t, n, counted, "rollups are of the same rows")
	}
	list, err := h.Accounts(t.Context(), nil)
	require.NoError(t, err)
	acknowledged := int64(0)
	for _, a := range list {
		acknowledged += a.Acknowledged
		require.Zero(t, a.Duplicate)
	}
	require.Equal(t, total, acknowledged)
	return applied
}

// TestKilled appends in a child process, kills it at some moment, and looks
// whether rows, marks, accounting and position are of one transaction.
func TestKilled(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]telemetrytest.Open{"as it is": open, "in parts": openParts} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killed(t, name, open)
		})
	}
}

func killed(t *testing.T, name string, open telemetrytest.Open) {
	t.Helper()
	dir := t.TempDir()
	for round := range 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildAppends$")
		cmd.Env = append(os.Environ(), "DUCKDB_CHILD_DIR="+dir, "DUCKDB_CHILD="+name)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		var last uint64
		for range 5 + 13*round {
			require.True(t, lines.Scan(), "the child ended early")
			last, err = strconv.ParseUint(lines.Text(), 10, 64)
			require.NoError(t, err, lines.Text())
		}
		time.Sleep(time.Duration(round) * 700 * time.Microsecond)
		require.NoError(t, cmd.Process.Kill())
		for lines.Scan() {
			if seq, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				last = seq
			}
		}
		require.Error(t, cmd.Wait())

		image := filepath.Join(t.TempDir(), "image")
		require.NoError(t, os.CopyFS(image, os.DirFS(dir)))
		whole, err := duckdb.OpenWhole(t.Context(), duckdb.Config{Dir: image, MemoryMB: 128, Threads: 1}, quiet, last)
		require.NoError(t, err, "what was kept of the log is right")
		require.NoError(t, whole.Close())
		h := open(t, dir)
		require.GreaterOrEqual(t, requireWhole(t, h), last, "what was stored is there")
		require.NoError(t, h.Close())
	}
}

// TestChildAppends is the child of TestKilled.
func TestChildAppends(t *testing.T) {
	dir := os.Getenv("DUCKDB_CHILD_DIR")
	if dir == "" {
		t.Skip("runs as the child of TestKilled only")
	}
	open := open
	if os.Getenv("DUCKDB_CHILD") == "in parts" {
		open = openParts
	}
	h := open(t, dir)
	seq, err := h.Applied(t.Context())
	require.NoError(t, err)
	for {
		seq++
		require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{crashBatch(seq)}))
		_, err := os.Stdout.WriteString(strconv.FormatUint(seq, 10) + "\n")
		require.NoError(t, err)
	}
}

// An append that is called off leaves nothing behind.
func TestCanceledAppend(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{crashBatch(1)}))
	seq := uint64(1)
	for i := range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
		if err := h.Append(ctx, []telemetry.Sequenced{crashBatch(seq + 1)}); err == nil {
			seq++
		}
		cancel()
		require.Equal(t, seq, requireWhole(t, h))
	}
}

// A full disk is an error; nothing that was stored is lost, and when there is
// room again appending goes on without a restart.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for name, free := range map[string]int{"in the log": 16 << 20, "in a checkpoint": 66 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			diskFull(t, free)
		})
	}
}

func diskFull(t *testing.T, free int) {
	t.Helper()
	disk := disk.Small(t, "128m")
	ballast := filepath.Join(disk, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 128<<20-free), 0o600))
	dir := filepath.Join(disk, "history")
	h := open(t, dir)
	f := newFleet(1000)
	total := 0
	var failed telemetry.Sequenced
	var err error
	for range 1000 {
		failed = f.batch(2000)
		if err = h.Append(t.Context(), []telemetry.Sequenced{failed}); err != nil {
			break
		}
		total += 2000
	}
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
	require.Greater(t, total, 2000)
	t.Logf("%d rows, then: %v", total, err)
	for range 3 { // it stays an error
		require.Error(t, h.Append(t.Context(), []telemetry.Sequenced{failed}))
	}

	require.NoError(t, os.Remove(ballast))
	require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{failed}))
	total += 2000
	for range 2 {
		require.Equal(t, total, countRows(t, h, "wall-charger"))
		list, err := h.Accounts(t.Context(), nil)
		require.NoError(t, err)
		sum := int64(0)
		for _, a := range list {
			sum += a.Stored
			require.Zero(t, a.Duplicate)
		}
		require.EqualValues(t, 5*total, sum)
		require.NoError(t, h.Close())
		h = open(t, dir)
	}
}

func countRows(t *testing.T, h telemetry.History, product string) int {
	t.Helper()
	n := 0
	require.NoError(t, h.Replay(t.Context(), telemetry.Query{Product: product}, func(r *telemetry.Stored, _ *telemetry.StoredMark) error {
		if r != nil {
			n++
		}
		return nil
	}))
	return n
}

// The accounting's size follows the units, not the commits.
func TestAccountsAreFolded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	f := newFleet(3000)
	for range 60 {
		require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{f.batch(3000)}))
	}
	list, err := h.Accounts(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, list, 3000)
	for _, a := range list {
		require.EqualValues(t, 60*5, a.Stored)
	}
	require.Less(t, duckdb.AccountRows(t, h.(*duckdb.History)), 110_000)
}

// Readers and the writer do not wait for one another, and closing waits for
// both.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	f := newFleet(100)
	require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{f.batch(1000)}))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				n := 0
				err := h.Replay(t.Context(), telemetry.Query{Product: "wall-charger"}, func(*telemetry.Stored, *telemetry.StoredMark) error {
					n++
					return nil
				})
				if err != nil || n%1000 != 0 {
					t.Errorf("%d rows: %v", n, err)
					return
				}
				if _, err := h.Latest(t.Context(), "wall-charger", f.units[0]); err != nil {
					t.Error(err)
				}
				if _, err := h.Accounts(t.Context(), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 30 {
		b := f.batch(1000)
		if i%10 == 0 { // tables change meanwhile
			b.Batch.Rows[0].Values = append(b.Batch.Rows[0].Values, telemetry.Value{Signal: fmt.Sprint("new ", i), Number: 1})
		}
		require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{b}))
		if i == 15 {
			require.NoError(t, h.EraseUnits(t.Context(), []int64{1}, nil))
			require.NoError(t, h.Expire(t.Context(), "wall-charger", map[string]time.Time{"current": time.UnixMilli(1)}))
		}
	}
	close(stop)
	wg.Wait()
	require.NoError(t, h.Close())
	require.NoError(t, h.Close())
	require.Equal(t, fault.Unavailable, fault.KindOf(h.Append(t.Context(), []telemetry.Sequenced{f.batch(1)})))
}
