package telemetrytest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/telemetry"
)

// sample is what a value is known by.
type sample struct {
	unit, event, sequence int64
	signal                string
	isText                bool
}

// model compares the history with one that is obviously right, over random
// rows in any order, with duplicates, restarts and failing neighbours.
func model(t *testing.T, open Open) {
	t.Helper()
	dir := t.TempDir()
	h := open(t, dir)
	defer func() { _ = h.Close() }()
	seq := uint64(0)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		name := fmt.Sprintf("product %d", round)
		base := int64(round) * 100
		stored := map[sample]telemetry.Value{}
		accounts := map[int64]*telemetry.Account{}
		var want []telemetry.Stored

		signals := []telemetry.Value{num("a", 0), num("b", 0), txt("c", ""), txt("a", "")}
		drawRow := rapid.Custom(func(rt *rapid.T) telemetry.Row {
			r := telemetry.Row{
				Unit:         base + rapid.Int64Range(1, 3).Draw(rt, "unit"),
				Event:        rapid.Int64Range(0, 40).Draw(rt, "event"),
				Received:     rapid.Int64Range(0, 1000).Draw(rt, "received"),
				Sequence:     rapid.Int64Range(0, 1).Draw(rt, "sequence"),
				NotConsented: rapid.IntRange(0, 2).Draw(rt, "not consented"),
				Undeclared:   rapid.IntRange(0, 1).Draw(rt, "undeclared"),
				Invalid:      rapid.IntRange(0, 1).Draw(rt, "invalid"),
			}
			for range rapid.IntRange(0, 3).Draw(rt, "values") {
				v := rapid.SampledFrom(signals).Draw(rt, "signal")
				if v.IsText {
					v.Text = rapid.SampledFrom([]string{"", "x", "y"}).Draw(rt, "text")
				} else {
					v.Number = float64(rapid.IntRange(-2, 2).Draw(rt, "number"))
				}
				r.Values = append(r.Values, v)
			}
			return r
		})

		for range rapid.IntRange(1, 5).Draw(rt, "appends") {
			var batches []telemetry.Sequenced
			for range rapid.IntRange(1, 3).Draw(rt, "batches") {
				seq++
				b := &telemetry.Batch{Product: name, Rows: rapid.SliceOfN(drawRow, 0, 30).Draw(rt, "rows")}
				batches = append(batches, telemetry.Sequenced{Seq: seq, Batch: b})
				for i, r := range b.Rows {
					want = append(want, telemetry.Stored{Position: telemetry.Position{Seq: seq, Index: i}, Row: expected(r, stored, accounts)})
				}
			}
			require.NoError(rt, h.Append(t.Context(), batches))
			if rapid.IntRange(0, 9).Draw(rt, "restart") == 0 {
				require.NoError(rt, h.Close())
				h = open(t, dir)
			}
		}

		got, _ := all(t, h, telemetry.Query{Product: name})
		for i := range got {
			sortValues(got[i].Values)
		}
		if len(want) == 0 {
			require.Empty(rt, got)
		} else {
			require.Equal(rt, want, got)
		}
		list, err := h.Accounts(t.Context(), []int64{base + 1, base + 2, base + 3})
		require.NoError(rt, err)
		for _, a := range list {
			require.Equal(rt, *accounts[a.Unit], a)
			delete(accounts, a.Unit)
		}
		require.Empty(rt, accounts)
	})
}

// expected is what is kept of a row.
func expected(r telemetry.Row, stored map[sample]telemetry.Value, accounts map[int64]*telemetry.Account) telemetry.Row {
	a := accounts[r.Unit]
	if a == nil {
		a = &telemetry.Account{Unit: r.Unit}
		accounts[r.Unit] = a
	}
	a.NotConsented += int64(r.NotConsented)
	a.Undeclared += int64(r.Undeclared)
	a.Invalid += int64(r.Invalid)
	a.Acknowledged += int64(r.NotConsented + r.Undeclared + r.Invalid + len(r.Values))
	var kept []telemetry.Value
	for _, v := range r.Values {
		key := sample{r.Unit, r.Event, r.Sequence, v.Signal, v.IsText}
		if _, ok := stored[key]; ok {
			a.Duplicate++
			continue
		}
		stored[key] = v
		a.Stored++
		kept = append(kept, v)
	}
	sortValues(kept)
	r.Values = kept
	return r
}

func sortValues(values []telemetry.Value) {
	slices.SortFunc(values, func(a, b telemetry.Value) int {
		return strings.Compare(fmt.Sprint(a.Signal, a.IsText), fmt.Sprint(b.Signal, b.IsText))
	})
}
