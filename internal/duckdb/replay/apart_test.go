package replay_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/duckdb/replay"
	"fettle.dev/fettle/internal/telemetry"
)

// asked notes the queries that go by.
type asked struct {
	replay.Queryer
	queries []string
}

func (a *asked) QueryContext(ctx context.Context, query string, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	a.queries = append(a.queries, query)
	return a.Queryer.QueryContext(ctx, query, args)
}

// A part of more rows than are gone through at once: each unit's first rows are
// told once and in order, and units further on are not looked at twice where
// those before needed as much.
func TestFirstRowsOfManyUnits(t *testing.T) {
	t.Parallel()
	const units, each, enough = 800, 4000, 150
	ctx := t.Context()
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = db.ExecContext(ctx, fmt.Sprintf(`CREATE TABLE part_1_1 AS SELECT n %% %[1]d + 1 AS seq, 0 AS idx, n // %[1]d + 1 AS unit,
		n %% %[1]d AS event, 0::BIGINT AS received, 0.5::DOUBLE AS v0 FROM range(%[2]d) r(n)`, each, units*each))
	require.NoError(t, err)
	part := layout.NewSegment(layout.NewProduct(1, "charger"), 1, true)
	part.Has, part.Rows, part.FirstSeq, part.LastSeq, part.LastEvent = []bool{true}, units*each, 1, each, each
	p := layout.NewProduct(1, "charger")
	p.Columns, p.Segments = []layout.Column{{Signal: "current"}}, []*layout.Segment{part}

	q := telemetry.Query{Product: p.Name, Apart: true, NoMarks: true}
	for unit := range int64(units) {
		q.Units = append(q.Units, unit+1)
	}
	told := map[int64]int64{}
	q.Enough = func(unit int64) bool { return told[unit] == enough }
	conn, err := db.Conn(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	var a asked
	require.NoError(t, conn.Raw(func(c any) error {
		a.Queryer = c.(replay.Queryer)
		return replay.Run(ctx, &a, p, q, func(row *telemetry.Stored, _ *telemetry.StoredMark) error {
			require.Equal(t, told[row.Unit], row.Event)
			told[row.Unit]++
			return nil
		})
	}))
	require.Len(t, told, units)
	for unit, rows := range told {
		require.EqualValues(t, enough, rows, "unit %d", unit)
	}
	var looks []string
	for _, query := range a.queries {
		if strings.Contains(query, "ORDER BY unit, seq, idx") {
			looks = append(looks, query)
		}
	}
	require.Len(t, looks, 5, "four chunks, and the first twice:\n%s", strings.Join(looks, "\n"))
}
