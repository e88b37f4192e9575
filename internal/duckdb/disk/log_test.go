package disk

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A fake is a database's headers with a log, of which what is kept is looked at.
type fake struct {
	tb       testing.TB
	database string
	kept     *Log
}

func newFake(tb testing.TB) *fake {
	tb.Helper()
	f := &fake{tb: tb, database: filepath.Join(tb.TempDir(), "history")}
	f.checkpoint(0)
	f.write(logBegins)
	var err error
	f.kept, err = OpenLog(f.database, slog.New(slog.DiscardHandler))
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = f.kept.Close() })
	return f
}

// checkpoint writes headers as of a checkpoint's end, before the log goes.
func (f *fake) checkpoint(number uint64) {
	f.tb.Helper()
	b := make([]byte, blocksBegin)
	for i := range uint64(2) {
		header := b[4096*(1+(number+i)%2):][:4096]
		binary.LittleEndian.PutUint64(header[8:], max(number, i)-i)
		binary.LittleEndian.PutUint64(header, checksum(header[8:]))
	}
	require.NoError(f.tb, os.WriteFile(f.database, b, 0o600))
}

// write appends to the log.
func (f *fake) write(bytes ...[]byte) {
	f.tb.Helper()
	file, err := os.OpenFile(f.database+".wal", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(f.tb, err)
	for _, b := range bytes {
		_, err := file.Write(b)
		require.NoError(f.tb, err)
	}
	require.NoError(f.tb, file.Close())
}

// replace puts another log in the log's place.
func (f *fake) replace(bytes ...[]byte) {
	f.tb.Helper()
	require.NoError(f.tb, os.Remove(f.database+".wal"))
	f.write(bytes...)
}

// damaged flips a bit of the log and reports whether that is found.
func (f *fake) damaged(at int) bool {
	f.tb.Helper()
	flip := func() {
		log, err := os.ReadFile(f.database + ".wal")
		require.NoError(f.tb, err)
		log[at] ^= 1
		require.NoError(f.tb, os.WriteFile(f.database+".wal", log, 0o600))
	}
	require.NoError(f.tb, CheckLog(f.database), "it is sound")
	flip()
	err := CheckLog(f.database)
	flip()
	if err != nil {
		require.ErrorIs(f.tb, err, ErrDamaged)
	}
	return err != nil
}

func entry(payload ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(payload)))
	b = binary.LittleEndian.AppendUint64(b, 77) // DuckDB's checksum, which is not looked at
	return append(b, payload...)
}

var (
	row  = entry(bytes.Repeat([]byte{100, 0, 26}, 50_000)...)
	end  = entry(commitEnds...)
	mark = entry(append(bytes.Clone(checkpoint), 1, 2, 3)...)
)

// Commits of others may be under way while one is noted: they are kept when
// they are whole.
func TestLogKeepsWholeCommits(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.kept.Committed()
	require.False(t, f.damaged(0), "nothing is committed")
	f.write(row, end)
	f.kept.Committed()
	whole := len(logBegins) + len(row) + len(end)
	for _, at := range []int{0, 9, 30, 70_000, whole - 1} {
		require.True(t, f.damaged(at), at)
	}
	next := append(bytes.Clone(row), end...)
	for cut := 0; cut < len(next); cut += 4099 {
		f.write(next[:cut])
		f.kept.Committed()
		require.True(t, f.damaged(whole-1))
		require.NoError(t, os.Truncate(f.database+".wal", int64(whole)), "it failed")
		require.NoError(t, CheckLog(f.database))
	}
	f.write(next)
	require.False(t, f.damaged(whole+50), "killed before it is noted")
	f.kept.Committed()
	require.True(t, f.damaged(whole+50))
	require.NoError(t, os.Truncate(f.database+".wal", int64(whole)))
	require.ErrorIs(t, CheckLog(f.database), ErrDamaged)
	require.NoError(t, os.Remove(f.database+".wal"))
	require.ErrorIs(t, CheckLog(f.database), ErrDamaged)
	require.NoError(t, os.WriteFile(f.database+".wal.sum", make([]byte, logRecord), 0o600))
	require.NoError(t, CheckLog(f.database), "what is kept cannot be read")
}

// TestLogThroughACheckpoint notes a commit, and is killed, at each step of a
// checkpoint: no log of these is refused.
func TestLogThroughACheckpoint(t *testing.T) {
	t.Parallel()
	for _, noted := range []bool{false, true} {
		f := newFake(t)
		step := func(do func()) {
			t.Helper()
			do()
			require.NoError(t, CheckLog(f.database))
			if noted {
				f.kept.Committed()
			}
			require.NoError(t, CheckLog(f.database))
		}
		first, others := [][]byte{logBegins, row, end}, [][]byte{logBegins, end, row, row, end}
		step(func() { f.write(first[1:]...) })
		step(func() { f.write(mark, end) })
		step(func() { // it failed: the mark is gone, and what was committed meanwhile follows
			f.kept.Forget()
			f.replace(append(first, others[1:]...)...)
		})
		step(func() { f.write(mark, end) })
		step(func() { f.checkpoint(1) })
		step(func() { f.replace(others...) })
		step(func() { f.write(row, end) })
		step(func() { f.write(mark, end) })
		step(func() { f.checkpoint(2) })
		step(func() { require.NoError(t, os.Remove(f.database+".wal")) })
		step(func() { f.write(first...) })
		require.Equal(t, noted, f.damaged(50))
		step(func() { // an older Fettle was here
			f.checkpoint(3)
			f.replace(first...)
		})
	}
}

// A log in a form that is not known is not kept.
func TestLogOfAnotherVersion(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.replace([]byte{100, 0, 98, 101, 0, 3, 0xff, 0xff}, row, end)
	f.kept.Committed()
	require.False(t, f.damaged(50))
}

// What a commit of half a MiB pays for being kept.
func BenchmarkCommitted(b *testing.B) {
	f := newFake(b)
	row := entry(make([]byte, 64<<10)...)
	for b.Loop() {
		b.StopTimer()
		f.write(row, row, row, row, row, row, row, row, end)
		b.StartTimer()
		f.kept.Committed()
	}
}
