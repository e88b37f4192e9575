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

func TestHistory(t *testing.T) {
	t.Parallel()
	telemetrytest.History(t, open)
}
