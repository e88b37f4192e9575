package telemetrytest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/telemetry"
)

func oddNames(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	names := []string{
		"current", "Current", "CURRENT", `quo"te`, "quo'te", "seq", "unit", "select", "ä ö/ü", "a;b--", "v0", "rows_1",
		`x"); DROP TABLE marks; --`, `x'); DROP TABLE marks; --`, " ",
	}
	for i, p := range names {
		signals := map[string]string{}
		r := row(int64(i+1), i)
		for j, name := range names {
			signals[name] = "number"
			r.Values = append(r.Values, num(name, float64(j)))
		}
		if i%2 == 0 { // the others are made when they come
			require.NoError(t, s.EnsureProduct(t.Context(), p, signals))
		}
		s.append(&telemetry.Batch{Product: p, Rows: []telemetry.Row{r}})
	}
	for i, p := range names {
		rows, _ := all(t, s, telemetry.Query{Product: p})
		require.Len(t, rows, 1, p)
		require.Len(t, rows[0].Values, len(names))
		for _, v := range rows[0].Values {
			require.Equal(t, v.Signal, names[int(v.Number)])
		}
		l, err := s.Latest(t.Context(), p, int64(i+1))
		require.NoError(t, err)
		for j, name := range names {
			require.InDelta(t, float64(j), l[name].Number, 0)
			points, err := s.Series(t.Context(), p, int64(i+1), name, time.Time{}, time.Time{}, 1)
			require.NoError(t, err)
			require.Len(t, points, 1)
			require.InDelta(t, float64(j), points[0].Mean, 0)
		}
	}
}

// A signal whose declared type changes keeps what was stored before.
func types(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	s.append(batch(row(1, 1, num("state", 5))))
	require.NoError(t, s.EnsureProduct(t.Context(), product, map[string]string{"state": "number", "plug": "text"}))
	s.append(batch(row(1, 2, txt("state", "ready"), txt("plug", "in"))), batch(row(1, 3, num("plug", 7))))
	rows, _ := all(t, s, telemetry.Query{Product: product})
	require.Equal(t, []telemetry.Value{num("state", 5)}, rows[0].Values)
	require.ElementsMatch(t, []telemetry.Value{txt("state", "ready"), txt("plug", "in")}, rows[1].Values)
	require.Equal(t, []telemetry.Value{num("plug", 7)}, rows[2].Values)
	l, err := s.Latest(t.Context(), product, 1)
	require.NoError(t, err)
	require.Equal(t, "ready", l["state"].Text)
	require.Equal(t, telemetry.Sample{At: time.UnixMilli(at(3)).UTC(), Number: 7}, l["plug"])
}

func numbers(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	values := []float64{0, math.Copysign(0, -1), 1, -1, 0.1, math.MaxFloat64, math.SmallestNonzeroFloat64, -1e300, 1 << 53}
	b := batch()
	for i, v := range values {
		b.Rows = append(b.Rows, row(math.MaxInt64, i, num("current", v), txt("state", "ä\n'\"\\ö")))
	}
	far := telemetry.Row{Unit: -1, Event: math.MinInt64 / 4, Received: math.MaxInt64, Sequence: math.MinInt64, Values: []telemetry.Value{num("current", 1)}}
	b.Rows = append(b.Rows, far, far)
	s.append(b)
	rows, _ := all(t, s, telemetry.Query{Product: product})
	for i, v := range values {
		for _, got := range rows[i].Values {
			if got.IsText {
				require.Equal(t, "ä\n'\"\\ö", got.Text)
			} else {
				require.Equal(t, math.Float64bits(v), math.Float64bits(got.Number))
			}
		}
	}
	require.Equal(t, far, rows[len(values)].Row)
	require.Empty(t, rows[len(values)+1].Values)
}

func manySignals(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	const n = 200
	r := row(1, 1)
	for i := range n {
		r.Values = append(r.Values, num(fmt.Sprintf("signal %d", i), float64(i)))
	}
	half := row(1, 2)
	half.Values = r.Values[:n/2]
	rest := row(1, 2)
	rest.Values = r.Values
	s.append(batch(r), batch(half), batch(rest), batch(r))
	a := s.account(1)
	require.EqualValues(t, 2*n, a.Stored)
	require.EqualValues(t, n+n/2, a.Duplicate)
	rows, _ := all(t, s, telemetry.Query{Product: product, Signals: []string{"signal 150"}})
	require.Equal(t, []telemetry.Value{num("signal 150", 150)}, rows[0].Values)
}
