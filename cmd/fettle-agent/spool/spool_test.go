package spool_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/cmd/fettle-agent/spool"
)

type box struct {
	t *testing.T
	s *spool.Spool
}

var clock = func() time.Time { return time.Unix(1e9, 0) }

func open(t *testing.T, dir string, most int64) box {
	t.Helper()
	s, err := spool.Open(dir, most, clock)
	require.NoError(t, err)
	return box{t, s}
}

func (b box) put(kind, text string) {
	b.t.Helper()
	require.NoError(b.t, b.s.Put(kind, func(seq uint64) (json.RawMessage, error) {
		return json.Marshal(map[string]any{"seq": seq, "text": text})
	}))
}

func (b box) next(n, size int) []spool.Message {
	b.t.Helper()
	list, err := b.s.Next(n, size)
	require.NoError(b.t, err)
	return list
}

// drain sends everything and gives the numbers.
func (b box) drain() (seqs []uint64) {
	b.t.Helper()
	for {
		list := b.next(7, 1<<20)
		if len(list) == 0 {
			return seqs
		}
		for _, m := range list {
			seqs = append(seqs, m.Seq)
		}
		require.NoError(b.t, b.s.Sent(list[len(list)-1].Seq))
	}
}

func TestInOrderOverRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir, 64<<10)
	for i := range 20 {
		b.put(spool.Telemetry, fmt.Sprint(i))
	}
	b.put(spool.Events, "an event")
	b.put(spool.Telemetry, "last")
	require.Len(t, b.next(5, 1<<20), 5)
	require.Len(t, b.next(5, 1), 1, "one at least")
	require.Len(t, b.next(100, 1<<20), 20, "of one kind")
	require.NoError(t, b.s.Sent(20))
	require.Equal(t, spool.Events, b.next(100, 1<<20)[0].Kind)
	require.NoError(t, b.s.Close())

	b = open(t, dir, 64<<10)
	n, _ := b.s.Waiting()
	require.EqualValues(t, 22, n, "what was sent of a file that is not done is sent again")
	b.put(spool.Telemetry, "after")
	seqs := b.drain()
	require.Len(t, seqs, 23)
	for i, seq := range seqs {
		require.EqualValues(t, i+1, seq, "numbers go on")
	}
	require.Zero(t, b.s.Dropped())
}

func TestTheOldestAreDroppedAndCounted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir, 16<<10)
	text := strings.Repeat("x", 200)
	for range 500 {
		b.put(spool.Telemetry, text)
	}
	n, size := b.s.Waiting()
	require.LessOrEqual(t, size, int64(16<<10))
	require.EqualValues(t, 500, n+b.s.Dropped())
	require.Greater(t, n, uint64(40))
	require.NoError(t, b.s.Close())
	var used int64
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range list {
		info, err := e.Info()
		require.NoError(t, err)
		used += info.Size()
	}
	require.LessOrEqual(t, used, int64(16<<10)+20)

	b = open(t, dir, 16<<10)
	dropped := b.s.Dropped()
	require.EqualValues(t, 500, n+dropped, "the count survives")
	seqs := b.drain()
	require.Len(t, seqs, int(n))
	require.EqualValues(t, 500, seqs[len(seqs)-1], "the newest are kept")
	require.NoError(t, b.s.Told(dropped))
	require.Zero(t, open(t, dir, 16<<10).s.Dropped())
	// What was sent is not counted as dropped.
	for range 500 {
		b.put(spool.Telemetry, text)
		b.drain()
	}
	require.Zero(t, b.s.Dropped())
}

func TestTornLinesArePassedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir, 64<<10)
	for i := range 5 {
		b.put(spool.Telemetry, fmt.Sprint(i))
	}
	require.NoError(t, b.s.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	raw, err := os.ReadFile(files[0])
	require.NoError(t, err)
	lines := strings.SplitAfter(string(raw), "\n")
	lines[1] = strings.Repeat("\x00", len(lines[1])-1) + "\n"
	lines[4] = lines[4][:10]
	require.NoError(t, os.WriteFile(files[0], []byte(strings.Join(lines, "")), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "00000000000000000099.jsonl"), []byte("torn"), 0o600))
	b = open(t, dir, 64<<10)
	b.put(spool.Telemetry, "after")
	require.Equal(t, []uint64{1, 3, 4, 5}, b.drain())
}

func TestWhatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), 16<<10)
	err := b.s.Put(spool.Telemetry, func(uint64) (json.RawMessage, error) {
		return json.Marshal(strings.Repeat("x", 4000))
	})
	require.ErrorContains(t, err, "too long")
	b.put(spool.Telemetry, "small")
	require.Len(t, b.drain(), 1)
	_, err = spool.Open(t.TempDir(), 100, clock)
	require.ErrorContains(t, err, "too small")
}

func TestLines(t *testing.T) {
	t.Parallel()
	list, bad := spool.Lines([]byte("{\"a\":1}\n\n  {\"b\":2} \r\nnoise\n[1]\n{\"torn\n"))
	require.Len(t, list, 2)
	require.ErrorContains(t, bad, "is no JSON object")
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"seq":1,"kind":"telemetry","body":{}}` + "\n"))
	f.Add([]byte(`{"seq":18446744073709551615,"kind":"events","body":{}}` + "\n{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "00000000000000000001.jsonl"), b, 0o600))
		s, err := spool.Open(dir, 64<<10, clock)
		require.NoError(t, err)
		require.NoError(t, s.Put(spool.Events, func(uint64) (json.RawMessage, error) { return []byte("{}"), nil }))
		for range 10_000 {
			list, err := s.Next(100, 1<<20)
			require.NoError(t, err)
			if len(list) == 0 {
				return
			}
			require.NoError(t, s.Sent(list[len(list)-1].Seq))
		}
		t.Fatal("it is never empty")
	})
}
