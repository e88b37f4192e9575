package condition_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/telemetry"
)

// What is found over the real history, which drops duplicates in its own way,
// is what was found live.
func TestBacktestOverRealHistory(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	h, err := duckdb.Open(ctx, duckdb.Config{Dir: t.TempDir()}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	columns := map[string]string{}
	for _, s := range charger().Signals {
		columns[s.Name] = string(s.Type)
	}
	require.NoError(t, h.EnsureProduct(ctx, "wall-charger", columns))

	e, err := condition.NewEvaluator(directory, []condition.Definition{{Product: charger(), Detectors: detectors()}})
	require.NoError(t, err)
	var batches []telemetry.Sequenced
	for i, b := range example(11) {
		batches = append(batches, telemetry.Sequenced{Seq: uint64(i + 1), Batch: b})
		for j := range b.Rows {
			require.NoError(t, e.Row(ctx, &b.Rows[j]))
		}
		for j := range b.Marks {
			require.NoError(t, e.Mark(ctx, &b.Marks[j]))
		}
	}
	require.NoError(t, h.Append(ctx, batches))
	live := map[string]condition.Finding{}
	c, err := e.Take(ctx)
	require.NoError(t, err)
	for _, f := range c.Findings {
		live[f.ID] = f
	}
	found := 0
	for _, d := range detectors() {
		trial := condition.Trial{History: h, Product: charger(), Detector: d, Units: units()}
		got, err := trial.Run(ctx)
		require.NoError(t, err)
		for _, f := range got.Findings {
			require.Equal(t, live[f.ID], f)
			found++
		}
	}
	require.Len(t, live, found)
	require.Greater(t, found, 20)
}
