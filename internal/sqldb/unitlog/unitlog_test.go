package unitlog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/sqldb/unitlog"
	"fettle.dev/fettle/internal/update"
)

func TestLog(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		s, ctx, at := unitlog.New(db), t.Context(), time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
		none, err := s.Log(ctx, 7)
		require.NoError(t, err)
		require.Empty(t, none)
		require.NoError(t, s.PutLog(ctx, 7, []update.LogLine{{Text: "first"}}, at))
		lines := []update.LogLine{{At: at, Level: "error", Text: "no space left: 3 ≥ 2"}, {Text: "end"}}
		require.NoError(t, s.PutLog(ctx, 7, lines, at))
		got, err := s.Log(ctx, 7)
		require.NoError(t, err)
		require.Equal(t, lines, got, "the last one counts")
	})
}
