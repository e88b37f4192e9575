package duckdb_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/telemetry"
)

// What was erased is not in the file any more, either.
func TestErasedBytesAreOverwritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h, err := duckdb.Open(t.Context(), duckdb.Config{Dir: dir, MemoryMB: 128, Threads: 1, Manual: true}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx := t.Context()
	require.NoError(t, h.EnsureProduct(ctx, "p", map[string]string{"note": "text"}))
	seq := uint64(0)
	for i := range 50 {
		b := &telemetry.Batch{Product: "p"}
		for unit, text := range map[int64]string{1: "Ada Marker the first", 2: "Bob Other the second"} {
			for j := range 200 {
				at := int64(i*200 + j)
				b.Rows = append(b.Rows, telemetry.Row{Unit: unit, Event: at, Received: at, Values: []telemetry.Value{{Signal: "note", IsText: true, Text: text}}})
			}
		}
		seq++
		require.NoError(t, h.Append(ctx, []telemetry.Sequenced{{Seq: seq, Batch: b}}))
	}
	held := func(text string) bool {
		found := false
		for _, name := range []string{duckdb.File, duckdb.File + ".wal"} {
			raw, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil {
				found = found || bytes.Contains(raw, []byte(text))
			}
		}
		return found
	}
	require.NoError(t, h.Scrub(ctx)) // into the file
	require.True(t, held("Ada Marker"), "the search finds what is there")
	require.NoError(t, h.EraseUnits(ctx, []int64{1}, nil))
	require.NoError(t, h.Scrub(ctx))
	require.False(t, held("Ada Marker"))
	require.True(t, held("Bob Other"))
	require.NoError(t, h.Close())
	require.False(t, held("Ada Marker"))
}
