package duckdb_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/telemetry/telemetrytest"
)

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, dir string) telemetry.History {
	t.Helper()
	h, err := duckdb.Open(t.Context(), duckdb.Config{Dir: dir, MemoryMB: 256}, quiet)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// openParts opens a history that sorts rows into parts, and merges parts, all
// the time: after every append when it is asked, and in the background.
func openParts(t *testing.T, dir string) telemetry.History {
	t.Helper()
	h, err := duckdb.Open(t.Context(), duckdb.Config{Dir: dir, MemoryMB: 256, SealRows: 7, MergeParts: 2}, quiet)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func TestHistory(t *testing.T) {
	t.Parallel()
	t.Run("as it is", func(t *testing.T) {
		t.Parallel()
		telemetrytest.History(t, open)
	})
	t.Run("in parts", func(t *testing.T) {
		t.Parallel()
		telemetrytest.History(t, openParts)
	})
}
