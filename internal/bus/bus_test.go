package bus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"fettle.dev/fettle/internal/peer/disk"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/bus/bustest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/peer/natsd"
	"fettle.dev/fettle/internal/telemetry"
)

var quiet = slog.New(slog.DiscardHandler)

func TestEmbedded(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t *testing.T) bustest.Server {
		t.Helper()
		return bustest.Server{Config: bus.Config{Dir: t.TempDir()}}
	})
}

func TestServerProcess(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(t *testing.T) bustest.Server {
		t.Helper()
		s := natsd.Start(t)
		return bustest.Server{Config: bus.Config{URL: s.URL}, Restart: s.Restart}
	})
}

// A consumer and a publisher live through the death of the server.
func TestServerProcessDies(t *testing.T) {
	t.Parallel()
	s := natsd.Start(t)
	b := open(t, bus.Config{URL: s.URL, Timeout: time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	require.NoError(t, b.Publish(ctx, one(0)))
	got := make(chan uint64, 100)
	go func() {
		_ = b.Consume(ctx, 0, 10, func(_ context.Context, batches []telemetry.Sequenced) error {
			for _, e := range batches {
				got <- e.Seq
			}
			return nil
		})
	}()
	require.EqualValues(t, 1, <-got)
	s.Kill()
	err := b.Publish(ctx, one(1))
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	s.Restart(t)
	for b.Publish(ctx, one(2)) != nil {
		require.NoError(t, ctx.Err())
	}
	select {
	case seq := <-got:
		require.EqualValues(t, 2, seq)
	case <-ctx.Done():
		t.Fatal("nothing came after the restart")
	}
}

func TestTwoProcessesDoNotShareADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, bus.Config{Dir: dir})
	_, err := bus.Open(t.Context(), bus.Config{Dir: dir}, quiet)
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	_, err = bus.Open(t.Context(), bus.Config{}, quiet)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = bus.Open(t.Context(), bus.Config{URL: "nats://127.0.0.1:1"}, quiet)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
}

func TestCloseEndsConsume(t *testing.T) {
	t.Parallel()
	b := open(t, bus.Config{Dir: t.TempDir()})
	ended := make(chan error, 1)
	go func() {
		ended <- b.Consume(t.Context(), 0, 10, func(context.Context, []telemetry.Sequenced) error { return nil })
	}()
	time.Sleep(100 * time.Millisecond)
	require.NoError(t, b.Close())
	require.Equal(t, fault.Unavailable, fault.KindOf(<-ended))
}

// An idle consumer leaves the processor alone. Not parallel, so that the
// processor's time is its own.
// The server keeps a consumer that was left for minutes, and has room for so many.
func TestConsumersAreLeft(t *testing.T) {
	t.Parallel()
	b := open(t, bus.Config{Dir: t.TempDir()})
	ctx := t.Context()
	require.NoError(t, b.Publish(ctx, one(1)))
	require.NoError(t, b.Publish(ctx, one(1)))
	enough := errors.New("enough")
	for range 20 {
		err := b.Consume(ctx, 0, 1, func(context.Context, []telemetry.Sequenced) error { return enough })
		require.ErrorIs(t, err, enough)
	}
	left, err := b.Consumers(ctx)
	require.NoError(t, err)
	require.Zero(t, left)
}

func TestIdleIsIdle(t *testing.T) {
	b := open(t, bus.Config{Dir: t.TempDir()})
	require.NoError(t, b.Publish(t.Context(), one(1)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Consume(ctx, 0, 10, func(context.Context, []telemetry.Sequenced) error { return nil })
	}()
	time.Sleep(500 * time.Millisecond)
	before := processorTime(t)
	time.Sleep(2 * time.Second)
	require.Less(t, processorTime(t)-before, 500*time.Millisecond) // one that turns takes 2 s
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestKilled publishes in a child process, kills it, and looks for everything
// that it had acknowledged.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	next := 0
	for round := range 3 {
		acknowledged := publishAndKill(t, dir, next, 40+60*round)
		b := open(t, bus.Config{Dir: dir})
		last, err := b.Last(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, last, acknowledged)
		enough := errors.New("enough")
		seen := uint64(0)
		err = b.Consume(t.Context(), 0, 100, func(_ context.Context, batches []telemetry.Sequenced) error {
			for _, e := range batches {
				if seen++; e.Seq != seen || e.Batch.Rows[0].Unit != int64(seen-1) {
					return fmt.Errorf("entry %d holds %d", e.Seq, e.Batch.Rows[0].Unit)
				}
			}
			if seen == last {
				return enough
			}
			return nil
		})
		require.ErrorIs(t, err, enough)
		require.NoError(t, b.Close())
		next = int(last)
	}
}

// publishAndKill runs a child that publishes units from next on, and kills it
// when n entries were acknowledged. It gives the last sequence acknowledged.
func publishAndKill(t *testing.T, dir string, next, n int) uint64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildPublishes$")
	cmd.Env = append(os.Environ(), "BUS_CHILD_DIR="+dir, "BUS_CHILD_NEXT="+strconv.Itoa(next))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var last uint64
	lines := bufio.NewScanner(out)
	for range n {
		require.True(t, lines.Scan(), "the child ended early")
		last, err = strconv.ParseUint(lines.Text(), 10, 64)
		require.NoError(t, err, lines.Text())
	}
	require.NoError(t, cmd.Process.Kill())
	for lines.Scan() { // acknowledged before it died
		if seq, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
			last = seq
		}
	}
	require.Error(t, cmd.Wait())
	return last
}

// TestChildPublishes is the child of TestKilled.
func TestChildPublishes(t *testing.T) {
	dir := os.Getenv("BUS_CHILD_DIR")
	if dir == "" {
		t.Skip("runs as the child of TestKilled only")
	}
	next, err := strconv.Atoi(os.Getenv("BUS_CHILD_NEXT"))
	require.NoError(t, err)
	b := open(t, bus.Config{Dir: dir})
	for i := next; ; i++ {
		require.NoError(t, b.Publish(t.Context(), one(i)))
		_, err := os.Stdout.WriteString(strconv.Itoa(i+1) + "\n")
		require.NoError(t, err)
	}
}

// A full disk refuses, keeps what it has acknowledged, and takes entries
// again when there is room: refused in time by MinFree, or when JetStream
// itself finds no room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for name, minFree := range map[string]int64{"in time": 2 << 20, "too late": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			diskFull(t, minFree)
		})
	}
}

func diskFull(t *testing.T, minFree int64) {
	t.Helper()
	dir := disk.Small(t, "16m")
	ballast := filepath.Join(dir, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 4<<20), 0o600))
	cfg := bus.Config{Dir: filepath.Join(dir, "bus"), Timeout: time.Second, MinFree: minFree}
	b := open(t, cfg)
	big := func(i int) *telemetry.Batch {
		batch := one(i)
		batch.Rows[0].Values = []telemetry.Value{{Signal: "log", Text: string(make([]byte, 100<<10)), IsText: true}}
		return batch
	}
	n := 0
	var err error
	for ; n < 1000; n++ {
		if err = b.Publish(t.Context(), big(n)); err != nil {
			break
		}
	}
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
	require.Greater(t, n, 10)
	if minFree > 1 {
		require.ErrorIs(t, err, bus.ErrFull)
		require.ErrorIs(t, b.Ready(t.Context()), bus.ErrFull)
	}

	// A consumer reads on meanwhile and sees all that was acknowledged.
	seen := make(chan int64, 2000)
	consumed := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		consumed <- b.Consume(ctx, 0, 10, func(_ context.Context, batches []telemetry.Sequenced) error {
			for _, e := range batches {
				seen <- e.Batch.Rows[0].Unit
			}
			return nil
		})
	}()
	require.NoError(t, os.Remove(ballast))
	require.Eventually(t, func() bool { return b.Publish(t.Context(), big(n)) == nil }, time.Minute, 100*time.Millisecond)
	got := map[int64]bool{}
	for i := 0; i <= n; {
		select {
		case unit := <-seen:
			got[unit] = true
		case <-time.After(time.Minute):
			t.Fatalf("%d of %d came", len(got), n+1)
		}
		for got[int64(i)] {
			i++
		}
	}
	cancel()
	require.ErrorIs(t, <-consumed, context.Canceled)
}

func open(t *testing.T, cfg bus.Config) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), cfg, quiet)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func one(i int) *telemetry.Batch {
	return &telemetry.Batch{Product: "charger", Rows: []telemetry.Row{{Unit: int64(i), Values: []telemetry.Value{{Signal: "current", Number: 1}}}}}
}

func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1, 512} {
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			s, err := bus.Open(b.Context(), bus.Config{Dir: b.TempDir()}, quiet)
			require.NoError(b, err)
			defer func() { _ = s.Close() }()
			batch := &telemetry.Batch{Product: "charger"}
			for i := range n {
				batch.Rows = append(batch.Rows, telemetry.Row{Unit: int64(i) << 40, Event: 1, Received: 2, Values: []telemetry.Value{
					{Signal: "current", Number: 16.25}, {Signal: "plug_temperature", Number: 61.23456789}, {Signal: "charging", Number: 1},
				}})
			}
			b.SetParallelism(2)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := s.Publish(b.Context(), batch); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkConsume(b *testing.B) {
	s, err := bus.Open(b.Context(), bus.Config{Dir: b.TempDir()}, quiet)
	require.NoError(b, err)
	defer func() { _ = s.Close() }()
	batch := &telemetry.Batch{Product: "charger"}
	for i := range 512 {
		batch.Rows = append(batch.Rows, telemetry.Row{Unit: int64(i), Values: []telemetry.Value{{Signal: "current", Number: 16.25}}})
	}
	const entries = 200
	for range entries {
		require.NoError(b, s.Publish(b.Context(), batch))
	}
	enough := errors.New("enough")
	for b.Loop() {
		n := 0
		err := s.Consume(b.Context(), 0, 64, func(_ context.Context, batches []telemetry.Sequenced) error {
			if n += len(batches); n == entries {
				return enough
			}
			return nil
		})
		require.ErrorIs(b, err, enough)
	}
	b.ReportMetric(float64(b.N*entries*512)/b.Elapsed().Seconds(), "rows/s")
}
