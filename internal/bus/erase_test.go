package bus_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// holds reports whether any file of a directory holds text.
func holds(t *testing.T, dir, text string) (in []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, []byte(text)) {
			in = append(in, path)
		}
		return err
	}))
	return in
}

func TestErasedBytesAreOnNoDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, bus.Config{Dir: dir})
	ctx := t.Context()
	said := func(text string) *telemetry.Batch {
		return &telemetry.Batch{Product: "p", Rows: []telemetry.Row{{Unit: 7, Event: 1, Received: 1, Values: []telemetry.Value{{Signal: "note", IsText: true, Text: text}}}}}
	}
	for range 30 {
		require.NoError(t, b.Publish(ctx, said("Ada Marker")))
	}
	require.NotEmpty(t, holds(t, dir, "Ada Marker"), "the search finds what is there")
	require.Equal(t, fault.Unavailable, fault.KindOf(b.Erase(ctx, 30)), "nothing has come after")
	require.NoError(t, b.Publish(ctx, said("Bea Other")))
	require.NoError(t, b.Erase(ctx, 30))
	require.NoError(t, b.Erase(ctx, 30), "again")
	require.Empty(t, holds(t, dir, "Ada Marker"))
	require.NotEmpty(t, holds(t, dir, "Bea Other"))

	require.NoError(t, b.Close())
	require.Empty(t, holds(t, dir, "Ada Marker"))
	again := open(t, bus.Config{Dir: dir, Reached: 31}) // it is not taken for damage
	var got []uint64
	reading, stop := context.WithCancel(ctx)
	err := again.Consume(reading, 30, 10, func(_ context.Context, batches []telemetry.Sequenced) error {
		for _, e := range batches {
			got = append(got, e.Seq)
		}
		stop()
		return nil
	})
	if err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Equal(t, []uint64{31}, got)
}

// What was trimmed stands in the files before what was erased: a kill leaves
// both, and neither is taken for damage.
func TestKilledAfterATrimAndAnErasure(t *testing.T) {
	t.Parallel()
	dir, cfg := t.TempDir(), bus.Config{MaxBytes: 120 << 10, MaxAge: 1}
	live := cfg
	live.Dir = dir
	b := open(t, live)
	for n := range 20 {
		require.NoError(t, b.Publish(t.Context(), one(n)))
	}
	for _, upTo := range []uint64{5, 12} {
		_, err := b.Trim(t.Context(), upTo-2)
		require.NoError(t, err)
		require.NoError(t, b.Erase(t.Context(), upTo))
		killed := cfg
		killed.Dir, killed.Reached = filepath.Join(t.TempDir(), "stream"), 20
		require.NoError(t, os.CopyFS(killed.Dir, os.DirFS(dir)))
		got, err := held(t, killed, 15)
		require.NoError(t, err)
		require.Len(t, got, 5)
	}
}
