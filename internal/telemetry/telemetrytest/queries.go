package telemetrytest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

func latest(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	s.append(
		batch(row(1, 10, num("current", 16), num("charging", 1), txt("state", "busy")), row(2, 50, num("current", 99))),
		batch(row(1, 20, num("current", 8))),
		batch(row(1, 15, num("current", 12), txt("state", "ready"))), // late
		batch(row(1, 30)),
	)
	got, err := s.Latest(t.Context(), product, 1)
	require.NoError(t, err)
	require.Equal(t, map[string]telemetry.Sample{
		"current":  {At: time.UnixMilli(at(20)).UTC(), Number: 8},
		"charging": {At: time.UnixMilli(at(10)).UTC(), Number: 1},
		"state":    {At: time.UnixMilli(at(15)).UTC(), Text: "ready", IsText: true},
	}, got)
	from, to, err := s.Extent(t.Context(), product)
	require.NoError(t, err)
	require.Equal(t, time.UnixMilli(at(10)).UTC(), from)
	require.Equal(t, time.UnixMilli(at(50)).UTC(), to)

	// Of the same time, the one that came last.
	r := row(1, 20, num("current", 9))
	r.Sequence = 1
	s.append(batch(r))
	got, err = s.Latest(t.Context(), product, 1)
	require.NoError(t, err)
	require.InDelta(t, 9.0, got["current"].Number, 0)

	// Of some signals alone.
	for _, c := range []struct {
		signals []string
		want    int
	}{{[]string{"current"}, 1}, {[]string{"state", "current"}, 2}, {[]string{"state"}, 1}, {[]string{"nothing"}, 0}} {
		some, err := s.Latest(t.Context(), product, 1, c.signals...)
		require.NoError(t, err)
		require.Len(t, some, c.want)
		for name, sample := range some {
			require.Contains(t, c.signals, name)
			require.Equal(t, got[name], sample)
		}
	}
}

func series(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	b := batch(row(2, 50, num("current", 1000)))
	for i := range 100 {
		b.Rows = append(b.Rows, row(1, i, num("current", float64(i)), txt("state", "x")))
	}
	b.Rows = append(b.Rows, row(1, 200, num("current", 7)))
	s.append(b)
	ms := func(seconds int) time.Time { return time.UnixMilli(at(seconds)).UTC() }
	points, err := s.Series(t.Context(), product, 1, "current", ms(0), ms(100), 10)
	require.NoError(t, err)
	require.Len(t, points, 10)
	require.Equal(t, telemetry.Point{At: ms(30), Min: 30, Max: 39, Mean: 34.5, Count: 10}, points[3])

	points, err = s.Series(t.Context(), product, 1, "current", ms(90), ms(210), 12)
	require.NoError(t, err)
	require.Equal(t, []telemetry.Point{{At: ms(90), Min: 90, Max: 99, Mean: 94.5, Count: 10}, {At: ms(200), Min: 7, Max: 7, Mean: 7, Count: 1}}, points, "empty buckets have no point")

	for _, buckets := range []int{1, 3, 7, 1000, 1 << 30} {
		points, err = s.Series(t.Context(), product, 1, "current", time.Time{}, time.Time{}, buckets)
		require.NoError(t, err)
		require.LessOrEqual(t, len(points), buckets)
		n := int64(0)
		for _, p := range points {
			n += p.Count
		}
		require.EqualValues(t, 101, n, "no bounds: everything")
	}
	points, err = s.Series(t.Context(), product, 1, "state", ms(0), ms(100), 10)
	require.NoError(t, err)
	require.Empty(t, points, "texts have no course")
	points, err = s.Series(t.Context(), product, 1, "current", ms(100), ms(0), 10)
	require.NoError(t, err)
	require.Empty(t, points)
	_, err = s.Series(t.Context(), product, 1, "current", ms(0), ms(100), 0)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func accounts(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	r := row(1, 1, num("current", 1), num("plug", 1))
	r.NotConsented, r.Undeclared, r.Invalid = 3, 4, 5
	only := telemetry.Row{Unit: 2, Event: at(1), Received: at(1), Invalid: 1}
	s.append(batch(r, only), batch(r))
	require.Equal(t, telemetry.Account{Unit: 1, Acknowledged: 28, Stored: 2, Duplicate: 2, NotConsented: 6, Undeclared: 8, Invalid: 10}, s.account(1))
	require.Equal(t, telemetry.Account{Unit: 2, Acknowledged: 1, Invalid: 1}, s.account(2))
	list, err := s.Accounts(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, list, 2)
	list, err = s.Accounts(t.Context(), []int64{3})
	require.NoError(t, err)
	require.Empty(t, list)
	list, err = s.Accounts(t.Context(), []int64{})
	require.NoError(t, err)
	require.Empty(t, list)
}

func erase(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	b := batch(row(1, 1, num("current", 1), num("plug", 2)), row(2, 1, num("current", 1), num("plug", 2)), row(3, 1, num("current", 1)))
	b.Marks = []telemetry.Mark{{Kind: telemetry.MarkContact, Unit: 1, At: at(1)}, {Kind: telemetry.MarkContact, Unit: 2, At: at(1)}}
	s.append(b, &telemetry.Batch{Product: "other", Rows: []telemetry.Row{row(1, 1, num("x", 1))}})

	require.NoError(t, s.EraseUnits(t.Context(), []int64{1}, nil))
	require.NoError(t, s.EraseUnits(t.Context(), []int64{2}, []string{"plug", "unknown"}))
	rows, marks := all(t, s, telemetry.Query{Product: product})
	require.Len(t, rows, 2)
	require.Equal(t, []telemetry.Value{num("current", 1)}, rows[0].Values)
	require.EqualValues(t, 3, rows[1].Unit)
	require.Len(t, marks, 1)
	rows, _ = all(t, s, telemetry.Query{Product: "other"})
	require.Empty(t, rows)
	list, err := s.Accounts(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []telemetry.Account{{Unit: 2, Acknowledged: 2, Stored: 2}, {Unit: 3, Acknowledged: 1, Stored: 1}}, list)

	// An erased unit may come anew, and all goes on in order.
	s.append(b)
	rows, _ = all(t, s, telemetry.Query{Product: product, Units: []int64{1}})
	require.Len(t, rows, 1)
	require.Len(t, rows[0].Values, 2)
}

func expire(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	b := batch()
	for i := range 10 {
		b.Rows = append(b.Rows, row(1, i, num("current", float64(i)), num("plug", float64(i))))
	}
	s.append(b)
	before := map[string]time.Time{"current": time.UnixMilli(at(3)), "plug": time.UnixMilli(at(5)), "unknown": time.UnixMilli(at(9))}
	require.NoError(t, s.Expire(t.Context(), product, before))
	rows, _ := all(t, s, telemetry.Query{Product: product})
	require.Len(t, rows, 7, "of the first three nothing is left")
	require.Equal(t, []telemetry.Value{num("current", 3)}, rows[0].Values)
	require.Len(t, rows[2].Values, 2)
	require.EqualValues(t, 20, s.account(1).Stored, "what was stored was stored")
	s.append(batch(row(1, 11, num("current", 1))))
}

func backup(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 20 {
		s.append(batch(row(int64(1+i%3), i, num("current", float64(i)))))
	}
	wg.Go(func() { // appends go on meanwhile; each is two rows, one mark
		for i := 100; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			b := batch(row(1, i, num("current", 1)), row(2, i, num("current", 2), txt("state", "x")))
			b.Marks = []telemetry.Mark{{Kind: telemetry.MarkContact, Unit: 1, At: at(i)}}
			s.seq++
			if err := s.Append(t.Context(), []telemetry.Sequenced{{Seq: s.seq, Batch: b}}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 3 {
		time.Sleep(50 * time.Millisecond)
		dir := t.TempDir()
		require.NoError(t, s.Backup(t.Context(), dir))
		require.Error(t, s.Backup(t.Context(), dir), "it does not write over another")
		copied := open(t, dir)
		applied, err := copied.Applied(t.Context())
		require.NoError(t, err)
		require.Greater(t, applied, uint64(20))
		rows, marks := all(t, copied, telemetry.Query{Product: product})
		require.Len(t, rows, 20+2*int(applied-20))
		require.Len(t, marks, int(applied-20))
		list, err := copied.Accounts(t.Context(), nil)
		require.NoError(t, err)
		total := int64(0)
		for _, a := range list {
			total += a.Stored
		}
		require.EqualValues(t, 20+3*(applied-20), total)
		// It goes on from there, and knows what it has.
		again := batch(row(1, 0, num("current", 0)), row(1, -1, num("current", 0)))
		require.NoError(t, copied.Append(t.Context(), []telemetry.Sequenced{{Seq: applied + 1, Batch: again}}))
		list, err = copied.Accounts(t.Context(), []int64{1})
		require.NoError(t, err)
		require.EqualValues(t, 1, list[0].Duplicate)
		require.NoError(t, copied.Close())
	}
	close(stop)
	wg.Wait()
}

// A replay sees one state while appends go on.
func snapshot(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	for i := range 50 {
		b := batch(row(1, i, num("current", 1)))
		b.Marks = []telemetry.Mark{{Kind: telemetry.MarkTick, At: at(i)}}
		s.append(b)
	}
	rows, marks := 0, 0
	err := s.Replay(t.Context(), telemetry.Query{Product: product}, func(r *telemetry.Stored, m *telemetry.StoredMark) error {
		if r != nil {
			rows++
		} else {
			marks++
		}
		if rows+marks < 30 {
			b := batch(row(1, 1000+rows+marks, num("current", 1)))
			b.Marks = []telemetry.Mark{{Kind: telemetry.MarkTick, At: at(1)}}
			s.append(b)
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 50, rows)
	require.Equal(t, 50, marks)
}

func replayStops(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	s.append(batch(row(1, 1), row(1, 2)))
	boom := errors.New("boom")
	calls := 0
	err := s.Replay(t.Context(), telemetry.Query{Product: product}, func(*telemetry.Stored, *telemetry.StoredMark) error {
		calls++
		return boom
	})
	require.ErrorIs(t, err, boom)
	require.Equal(t, 1, calls)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, s.Replay(ctx, telemetry.Query{Product: product}, func(*telemetry.Stored, *telemetry.StoredMark) error { return nil }))
	s.append(batch(row(1, 3))) // it goes on
}

// Apart, each unit's rows come as they come otherwise, and no more than are
// wanted.
func apart(t *testing.T, open Open) {
	t.Helper()
	s := start(t, open)
	r := rand.New(rand.NewPCG(1, 2))
	const units = 40
	for range 30 {
		b := batch()
		for range 50 {
			one := row(1+r.Int64N(units), r.IntN(1000), num("current", r.Float64()))
			if r.IntN(3) == 0 {
				one.Values = append(one.Values, txt("state", "on"))
			}
			b.Rows = append(b.Rows, one)
		}
		s.append(b)
	}
	some := make([]int64, 0, units)
	for u := range int64(units) {
		if u%3 != 0 {
			some = append(some, u, u)
		}
	}
	for _, q := range []telemetry.Query{
		{},
		{Units: some, Signals: []string{"current"}},
		{Units: []int64{}, From: time.UnixMilli(at(0))},
		{Units: []int64{7}, From: time.UnixMilli(at(100)), To: time.UnixMilli(at(700)), UpTo: 20},
		{Signals: []string{"state"}, UpTo: 25},
	} {
		q.Product, q.NoMarks = product, true
		want, got := map[int64][]telemetry.Row{}, map[int64][]telemetry.Row{}
		rows, _ := all(t, s, q)
		for _, one := range rows {
			want[one.Unit] = append(want[one.Unit], telemetry.Row{Unit: one.Unit, Event: one.Event, Received: one.Received, Values: one.Values})
		}
		q.Apart = true
		require.NoError(t, s.Replay(t.Context(), q, func(one *telemetry.Stored, mark *telemetry.StoredMark) error {
			require.Nil(t, mark)
			require.Zero(t, one.Position)
			kept := one.Row
			kept.Values = append([]telemetry.Value(nil), one.Values...)
			got[one.Unit] = append(got[one.Unit], kept)
			return nil
		}))
		require.Equal(t, want, got, "%+v", q)

		seen := map[int64]int{}
		q.Enough = func(unit int64) bool { return seen[unit] >= int(unit%5) }
		require.NoError(t, s.Replay(t.Context(), q, func(one *telemetry.Stored, _ *telemetry.StoredMark) error {
			require.Equal(t, want[one.Unit][seen[one.Unit]].Event, one.Event)
			seen[one.Unit]++
			return nil
		}))
		for unit, rows := range want {
			require.Equal(t, min(int(unit%5), len(rows)), seen[unit])
		}
	}
}
