package journal_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/send/journal"
)

func TestJournal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sent")
	open := func() *journal.Journal {
		j, err := journal.Open(path)
		require.NoError(t, err)
		t.Cleanup(func() { _ = j.Close() })
		return j
	}
	j := open()
	require.Empty(t, j.Left())
	require.NoError(t, j.Sent("a", "<x@y>"))
	require.NoError(t, j.Sent("b", "two\nlines"))
	require.NoError(t, j.Sent("c", ""))
	require.NoError(t, j.Known([]string{"b"}))

	// The process dies while it writes a line.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("d\thalf")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	j = open()
	require.Equal(t, map[string]string{"a": "<x@y>", "b": "two lines", "c": ""}, j.Left(), "what is known already is told once more")
	require.NoError(t, j.Sent("e", "e"))
	require.NoError(t, j.Known([]string{"a", "b", "c"}))
	require.Equal(t, map[string]string{"a": "<x@y>", "b": "two lines", "c": "", "e": "e"}, open().Left(), "d's half line spoils nothing")
	require.NoError(t, j.Known([]string{"e"}))
	require.Empty(t, open().Left())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Zero(t, info.Size())
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// A journal that cannot be read is no journal that was cut off: to take it for
// one would send again what was sent.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sent"), 0o700))
	_, err := journal.Open(filepath.Join(dir, "sent"))
	require.ErrorContains(t, err, "journal of sent messages")
}
