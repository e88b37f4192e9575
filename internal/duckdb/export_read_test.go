package duckdb_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/telemetry"
)

// What is exported is read back by DuckDB itself: types, odd names, parts and
// rows that stand in none, and nothing of what may not be given.
func TestExportIsReadByDuckDB(t *testing.T) {
	t.Parallel()
	h, err := duckdb.Open(t.Context(), duckdb.Config{Dir: t.TempDir(), Manual: true, SealRows: 20}, quiet)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	const n = 90
	for i := range n {
		row := telemetry.Row{Unit: int64(1 + i%3), Event: int64(i) * 1000, Received: int64(i)*1000 + 7, Sequence: int64(i), Values: []telemetry.Value{
			{Signal: `a "b"; --`, Number: float64(i) / 4}, {Signal: "on", Number: float64(i % 2)}, {Signal: "state", Text: "ä'\n", IsText: true}, {Signal: "secret", Number: 1},
		}}
		require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{{Seq: uint64(i + 1), Batch: &telemetry.Batch{Product: "p", Rows: []telemetry.Row{row}}}}))
		if i == n/2 {
			require.NoError(t, h.Compact(t.Context()))
		}
	}
	file := filepath.Join(t.TempDir(), "it's.parquet")
	may := []string{`a "b"; --`, "on", "state"}
	rows, err := h.Export(t.Context(), telemetry.ExportQuery{
		Product: "p", From: time.UnixMilli(3000),
		Signals: []telemetry.ExportSignal{{Name: `a "b"; --`, Type: "number"}, {Name: "on", Type: "boolean"}, {Name: "state", Type: "text"}},
		Units:   []telemetry.ExportUnit{{Key: 1, ID: "WC-1", Signals: may}, {Key: 2, ID: "WC-2", Signals: may[:1]}},
	}, file)
	require.NoError(t, err)
	require.EqualValues(t, 2*(n/3-1), rows)

	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	found, err := db.QueryContext(t.Context(), `SELECT unit_id, epoch_ms(event_time), epoch_ms(receive_time), sequence, "a ""b""; --", "on", state FROM read_parquet(?) ORDER BY event_time`, file)
	require.NoError(t, err)
	defer found.Close()
	seen := 0
	for found.Next() {
		var id string
		var event, received, sequence int64
		var number float64
		var on sql.NullBool
		var state sql.NullString
		require.NoError(t, found.Scan(&id, &event, &received, &sequence, &number, &on, &state))
		i := event / 1000
		require.GreaterOrEqual(t, i, int64(3))
		require.Equal(t, []any{event + 7, i, float64(i) / 4}, []any{received, sequence, number})
		if id == "WC-1" {
			require.Zero(t, i%3)
			require.Equal(t, sql.NullBool{Bool: i%2 == 1, Valid: true}, on)
			require.Equal(t, "ä'\n", state.String)
		} else {
			require.Equal(t, "WC-2", id)
			require.False(t, on.Valid || state.Valid, "its owner does not permit these")
		}
		seen++
	}
	require.NoError(t, found.Err())
	require.EqualValues(t, rows, seen)
	var columns, secret int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*), count(*) FILTER (name = 'secret') FROM parquet_schema(?) WHERE type IS NOT NULL", file).Scan(&columns, &secret))
	require.Equal(t, []int{7, 0}, []int{columns, secret})
}
