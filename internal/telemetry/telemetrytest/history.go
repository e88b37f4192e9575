// Package telemetrytest is the suite that every history must pass.
package telemetrytest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// Open opens the history in a directory, which may be empty, may hold a
// history that was closed, or a backup.
type Open func(t *testing.T, dir string) telemetry.History

// History runs the suite.
func History(t *testing.T, open Open) {
	t.Helper()
	tests := map[string]func(t *testing.T, open Open){
		"empty":       empty,
		"replay":      replay,
		"filters":     filters,
		"many units":  manyUnits,
		"pages":       pages,
		"apart":       apart,
		"positions":   positions,
		"duplicates":  duplicates,
		"odd names":   oddNames,
		"types":       types,
		"numbers":     numbers,
		"latest":      latest,
		"series":      series,
		"accounts":    accounts,
		"erase":       erase,
		"expire":      expire,
		"backup":      backup,
		"snapshot":    snapshot,
		"stop":        replayStops,
		"model":       model,
		"many signal": manySignals,

		"events":           events,
		"many events":      manyEvents,
		"event duplicates": eventDuplicates,
		"events expire":    eventsExpire,
		"events leave":     eventsErasedAndBackedUp,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open)
		})
	}
}

const product = "wall-charger"

var declared = map[string]string{"current": "number", "plug": "number", "charging": "boolean", "state": "text"}

func at(seconds int) int64 { return 1_400_000_000_000 + int64(seconds)*1000 }

func num(signal string, n float64) telemetry.Value {
	return telemetry.Value{Signal: signal, Number: n}
}

func txt(signal, s string) telemetry.Value {
	return telemetry.Value{Signal: signal, Text: s, IsText: true}
}

func row(unit int64, seconds int, values ...telemetry.Value) telemetry.Row {
	return telemetry.Row{Unit: unit, Event: at(seconds), Received: at(seconds) + 100, Values: values}
}

func batch(rows ...telemetry.Row) *telemetry.Batch {
	return &telemetry.Batch{Product: product, Rows: rows}
}

// store is a history that counts sequences on.
type store struct {
	telemetry.History
	t   *testing.T
	seq uint64
}

func start(t *testing.T, open Open) *store {
	t.Helper()
	h := open(t, t.TempDir())
	t.Cleanup(func() { _ = h.Close() })
	require.NoError(t, h.EnsureProduct(t.Context(), product, declared))
	return &store{History: h, t: t}
}

func (s *store) append(batches ...*telemetry.Batch) {
	s.t.Helper()
	var list []telemetry.Sequenced
	for _, b := range batches {
		s.seq++
		list = append(list, telemetry.Sequenced{Seq: s.seq, Batch: b})
	}
	require.NoError(s.t, s.Append(s.t.Context(), list))
	applied, err := s.Applied(s.t.Context())
	require.NoError(s.t, err)
	require.Equal(s.t, s.seq, applied)
}

// all replays into copies.
func all(t *testing.T, h telemetry.History, q telemetry.Query) (rows []telemetry.Stored, marks []telemetry.StoredMark) {
	t.Helper()
	var last telemetry.Position
	err := h.Replay(t.Context(), q, func(r *telemetry.Stored, m *telemetry.StoredMark) error {
		var p telemetry.Position
		if r != nil {
			require.Nil(t, m)
			p = r.Position
			c := *r
			c.Values = append([]telemetry.Value(nil), r.Values...)
			rows = append(rows, c)
		} else {
			p = m.Position
			marks = append(marks, *m)
		}
		require.True(t, p.Seq > last.Seq || p.Seq == last.Seq && p.Index > last.Index || len(rows)+len(marks) == 1, "%v after %v", p, last)
		last = p
		return nil
	})
	require.NoError(t, err)
	return rows, marks
}

func (s *store) account(unit int64) telemetry.Account {
	s.t.Helper()
	list, err := s.Accounts(s.t.Context(), []int64{unit})
	require.NoError(s.t, err)
	require.Len(s.t, list, 1)
	a := list[0]
	require.Equal(s.t, a.Acknowledged, a.Stored+a.NotConsented+a.Undeclared+a.Duplicate+a.Invalid)
	return a
}

func empty(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	for _, p := range []string{product, "unknown"} {
		rows, marks := all(t, s, telemetry.Query{Product: p})
		require.Empty(t, rows)
		require.Empty(t, marks)
		l, err := s.Latest(t.Context(), p, 1)
		require.NoError(t, err)
		require.Empty(t, l)
		points, err := s.Series(t.Context(), p, 1, "current", time.UnixMilli(0), time.UnixMilli(1000), 10)
		require.NoError(t, err)
		require.Empty(t, points)
		from, to, err := s.Extent(t.Context(), p)
		require.NoError(t, err)
		require.True(t, from.IsZero() && to.IsZero())
		require.NoError(t, s.Expire(t.Context(), p, map[string]time.Time{"current": time.UnixMilli(0)}))
	}
	list, err := s.Accounts(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, list)
	applied, err := s.Applied(t.Context())
	require.NoError(t, err)
	require.Zero(t, applied)
	require.NoError(t, s.Append(t.Context(), nil))
	require.NoError(t, s.EraseUnits(t.Context(), []int64{1}, nil))
	require.NoError(t, s.EraseUnits(t.Context(), nil, nil))
}

func replay(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	r1 := row(1, 10, num("current", 16.25), num("charging", 1), txt("state", "ready"))
	r1.Sequence = 7
	r2 := row(2, 5, num("current", 1))
	r2.NotConsented, r2.Undeclared, r2.Invalid = 1, 2, 3
	r3 := row(1, 11)
	tick := telemetry.Mark{Kind: telemetry.MarkTick, At: at(20), Text: "1000"}
	version := telemetry.Mark{Kind: telemetry.MarkVersion, Unit: 2, At: at(21), Text: "software=2.0.0"}
	other := &telemetry.Batch{Product: "other", Rows: []telemetry.Row{row(9, 1, num("x", 1))}}
	s.append(
		&telemetry.Batch{Product: product, Rows: []telemetry.Row{r1, r2}, Marks: []telemetry.Mark{tick}},
		other,
		&telemetry.Batch{Marks: []telemetry.Mark{version, tick}},
	)
	s.append(batch(r3))
	var got []any
	err := s.Replay(t.Context(), telemetry.Query{Product: product}, func(r *telemetry.Stored, m *telemetry.StoredMark) error {
		if r != nil {
			c := *r
			c.Values = append([]telemetry.Value(nil), r.Values...)
			got = append(got, c)
		} else {
			got = append(got, *m)
		}
		return nil
	})
	require.NoError(t, err)
	require.ElementsMatch(t, r1.Values, got[0].(telemetry.Stored).Values)
	first := got[0].(telemetry.Stored)
	first.Values = r1.Values // in whatever order
	got[0] = first
	require.Equal(t, []any{
		telemetry.Stored{Position: telemetry.Position{Seq: 1, Index: 0}, Row: r1},
		telemetry.Stored{Position: telemetry.Position{Seq: 1, Index: 1}, Row: r2},
		telemetry.StoredMark{Position: telemetry.Position{Seq: 1, Index: 2}, Mark: tick},
		telemetry.StoredMark{Position: telemetry.Position{Seq: 3, Index: 0}, Mark: version},
		telemetry.StoredMark{Position: telemetry.Position{Seq: 3, Index: 1}, Mark: tick},
		telemetry.Stored{Position: telemetry.Position{Seq: 4, Index: 0}, Row: r3},
	}, got)
}

func filters(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	for i := range 10 {
		b := batch(row(int64(1+i%2), i, num("current", float64(i)), num("plug", 1)))
		b.Marks = []telemetry.Mark{{Kind: telemetry.MarkContact, Unit: int64(1 + i%2), At: at(i)}, {Kind: telemetry.MarkTick, At: at(i)}}
		s.append(b)
	}
	ms := func(seconds int) time.Time { return time.UnixMilli(at(seconds)) }
	tests := map[string]struct {
		q     telemetry.Query
		rows  []float64
		marks int
	}{
		"all":             {telemetry.Query{}, []float64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 20},
		"one unit":        {telemetry.Query{Units: []int64{1}}, []float64{0, 2, 4, 6, 8}, 15},
		"unknown unit":    {telemetry.Query{Units: []int64{77}}, nil, 10},
		"no unit":         {telemetry.Query{Units: []int64{}}, nil, 10},
		"from":            {telemetry.Query{From: ms(7)}, []float64{7, 8, 9}, 20},
		"a little later":  {telemetry.Query{From: ms(7).Add(time.Microsecond)}, []float64{8, 9}, 20},
		"to":              {telemetry.Query{To: ms(2)}, []float64{0, 1}, 20},
		"a little longer": {telemetry.Query{To: ms(2).Add(time.Microsecond)}, []float64{0, 1, 2}, 20},
		"up to":           {telemetry.Query{UpTo: 4}, []float64{0, 1, 2, 3}, 8},
		"everything":      {telemetry.Query{Units: []int64{2}, From: ms(2), To: ms(8), UpTo: 7}, []float64{3, 5}, 10},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.q.Product = product
			test.q.Signals = []string{"current"}
			rows, marks := all(t, s, test.q)
			var got []float64
			for _, r := range rows {
				require.Len(t, r.Values, 1)
				require.Equal(t, "current", r.Values[0].Signal)
				got = append(got, r.Values[0].Number)
			}
			require.Equal(t, test.rows, got)
			require.Len(t, marks, test.marks)
		})
	}
	rows, _ := all(t, s, telemetry.Query{Product: product, Signals: []string{}})
	require.Len(t, rows, 10, "rows count, whatever is asked of them")
	require.Empty(t, rows[0].Values)
}

func manyUnits(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	const units = 3000
	b := batch()
	var asked []int64
	for i := range units {
		unit := int64(i+1) << 40
		b.Rows = append(b.Rows, row(unit, i, num("current", float64(i))))
		b.Marks = append(b.Marks, telemetry.Mark{Kind: telemetry.MarkContact, Unit: unit, At: at(i)})
		if i%2 == 0 {
			asked = append(asked, unit)
		}
	}
	s.append(b)
	rows, marks := all(t, s, telemetry.Query{Product: product, Units: asked})
	require.Len(t, rows, units/2)
	require.Len(t, marks, units/2)
	list, err := s.Accounts(t.Context(), asked)
	require.NoError(t, err)
	require.Len(t, list, units/2)
}

// More rows than a store may hand out at once, of few units and of many.
func pages(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	const n, each = 250_000, 50_000
	for i := 0; i < n; i += each {
		b := batch()
		for j := range each {
			b.Rows = append(b.Rows, row(int64(1+j%2), i+j, num("current", float64(i+j))))
		}
		s.append(b)
	}
	inOrder := func(h telemetry.History, units []int64, first, step int) {
		next := first
		err := h.Replay(t.Context(), telemetry.Query{Product: product, Units: units}, func(r *telemetry.Stored, _ *telemetry.StoredMark) error {
			if len(r.Values) != 1 || r.Values[0].Number != float64(next) {
				return fmt.Errorf("%v came, not %d", r, next)
			}
			next += step
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, first+n, next)
	}
	inOrder(s, nil, 0, 1)
	inOrder(s, []int64{1, 2}, 0, 1)
	inOrder(s, []int64{1}, 0, 2)

	// The order outlives copying, erasing and closing.
	dir := t.TempDir()
	require.NoError(t, s.Backup(t.Context(), dir))
	copied := open(t, dir)
	inOrder(copied, nil, 0, 1)
	require.NoError(t, copied.EraseUnits(t.Context(), []int64{1}, nil))
	inOrder(copied, nil, 1, 2)
	require.NoError(t, copied.EraseUnits(t.Context(), []int64{2}, []string{"plug"}))
	require.NoError(t, copied.Expire(t.Context(), product, map[string]time.Time{"current": time.UnixMilli(at(0))}))
	inOrder(copied, nil, 1, 2)
	require.NoError(t, copied.Close())
	copied = open(t, dir)
	inOrder(copied, nil, 1, 2)
	require.NoError(t, copied.Close())
}

func positions(t *testing.T, open Open) {
	t.Helper()
	dir := t.TempDir()
	h := open(t, dir)
	one := telemetry.Sequenced{Seq: 5, Batch: batch(row(1, 1, num("current", 1)))}
	two := telemetry.Sequenced{Seq: 9, Batch: batch(row(1, 2, num("current", 2)))}
	require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{one}))
	require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{one}), "known already")
	require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{one, two}))
	require.NoError(t, h.Close())

	h = open(t, dir)
	defer func() { _ = h.Close() }()
	applied, err := h.Applied(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 9, applied)
	require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{one, two}))
	rows, _ := all(t, h, telemetry.Query{Product: product})
	require.Len(t, rows, 2)
	list, err := h.Accounts(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []telemetry.Account{{Unit: 1, Acknowledged: 2, Stored: 2}}, list)

	err = h.Append(t.Context(), []telemetry.Sequenced{{Seq: 11, Batch: batch()}, {Seq: 10, Batch: batch()}})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	err = h.EnsureProduct(t.Context(), product, map[string]string{"x": "colour"})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func duplicates(t *testing.T, open Open) {
	t.Helper()
	with := func(r telemetry.Row, seq int64) telemetry.Row {
		r.Sequence = seq
		return r
	}
	a := row(1, 100, num("current", 1), num("plug", 2))
	var backlog []telemetry.Row
	for i := range 200 {
		backlog = append(backlog, row(1, i, num("current", float64(i))))
	}
	tests := map[string]struct {
		batches           []*telemetry.Batch
		stored, duplicate int64
	}{
		"again in the next batch":           {[]*telemetry.Batch{batch(a), batch(a)}, 2, 2},
		"again in the same batch":           {[]*telemetry.Batch{batch(a, a)}, 2, 2},
		"again in the same row":             {[]*telemetry.Batch{batch(row(1, 1, num("current", 1), num("current", 1)))}, 1, 1},
		"another value of the same time":    {[]*telemetry.Batch{batch(row(1, 1, num("current", 1))), batch(row(1, 1, num("current", 2)))}, 1, 1},
		"another signal of the same time":   {[]*telemetry.Batch{batch(row(1, 1, num("current", 1))), batch(row(1, 1, num("plug", 2)))}, 2, 0},
		"another sequence of the same time": {[]*telemetry.Batch{batch(with(a, 1)), batch(with(a, 2), with(a, 1))}, 4, 2},
		"partly":                            {[]*telemetry.Batch{batch(row(1, 1, num("current", 1))), batch(row(1, 1, num("current", 1), num("plug", 1)))}, 2, 1},
		"text":                              {[]*telemetry.Batch{batch(row(1, 1, txt("state", "a"))), batch(row(1, 1, txt("state", "b"))), batch(row(1, 1, num("state", 1)))}, 2, 1},
		"out of order":                      {[]*telemetry.Batch{batch(row(1, 3, num("current", 1))), batch(row(1, 1, num("current", 1))), batch(row(1, 2, num("current", 1)))}, 3, 0},
		"another unit":                      {[]*telemetry.Batch{batch(a), batch(row(2, 100, num("current", 1)))}, 3, 0},
		"a backlog":                         {[]*telemetry.Batch{batch(backlog...)}, 200, 0},
		"a backlog again":                   {[]*telemetry.Batch{batch(backlog...), batch(backlog...)}, 200, 200},
		"a backlog twice in a batch":        {[]*telemetry.Batch{batch(append(append([]telemetry.Row{}, backlog...), backlog...)...)}, 200, 200},
		"an old row after a backlog":        {[]*telemetry.Batch{batch(backlog...), batch(backlog[50], row(1, -5, num("current", 1)), row(1, -5, num("current", 1)))}, 201, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, reopen := range []bool{false, true} {
				dir := t.TempDir()
				s := &store{History: open(t, dir), t: t}
				for _, b := range test.batches {
					s.append(b)
					if reopen { // nothing is known in memory
						require.NoError(t, s.Close())
						s.History = open(t, dir)
					}
				}
				list, err := s.Accounts(t.Context(), nil)
				require.NoError(t, err)
				var stored, duplicate int64
				for _, a := range list {
					stored += a.Stored
					duplicate += a.Duplicate
				}
				require.Equal(t, test.stored, stored, "reopen %t", reopen)
				require.Equal(t, test.duplicate, duplicate, "reopen %t", reopen)
				rows, _ := all(t, s, telemetry.Query{Product: product})
				values, sent := 0, 0
				for _, r := range rows {
					values += len(r.Values)
				}
				for _, b := range test.batches {
					sent += len(b.Rows)
				}
				require.EqualValues(t, test.stored, values)
				require.Len(t, rows, sent, "a row is kept even when nothing of it is new: the unit was heard of")
				require.NoError(t, s.Close())
			}
		})
	}
}
