package telemetrytest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

func feature(unit int64, seconds int, name string) telemetry.Event {
	return telemetry.Event{Unit: unit, Event: at(seconds), Received: at(seconds) + 100, Kind: telemetry.EventFeature, Name: name}
}

func code(unit int64, seconds int, name string, s telemetry.EventState) telemetry.Event { //nolint:unparam // like the others
	return telemetry.Event{Unit: unit, Event: at(seconds), Received: at(seconds) + 100, Kind: telemetry.EventFault, Name: name, State: s, Text: "relay 2"}
}

func line(unit int64, seconds int, text string) telemetry.Event {
	return telemetry.Event{Unit: unit, Event: at(seconds), Received: at(seconds) + 100, Kind: telemetry.EventLog, Level: telemetry.LevelWarn, Text: text}
}

func eventful(events ...telemetry.Event) *telemetry.Batch {
	return &telemetry.Batch{Product: product, Events: events}
}

// found is what a query gives, without positions.
func found(t *testing.T, h telemetry.History, q telemetry.EventQuery) []telemetry.Event {
	t.Helper()
	if q.Product == "" {
		q.Product = product
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	list, err := h.Events(t.Context(), q)
	require.NoError(t, err)
	out := []telemetry.Event{}
	for _, e := range list {
		out = append(out, e.Event)
	}
	return out
}

func events(t *testing.T, open Open) {
	s := start(t, open)
	require.Empty(t, found(t, s, telemetry.EventQuery{Unit: 1}), "before there are any")
	require.Empty(t, found(t, s, telemetry.EventQuery{Unit: 1, Product: "unknown"}))
	a, b, c, d := feature(1, 10, "solar"), code(1, 20, "E1", telemetry.StateSet), code(1, 30, "E1", telemetry.StateCleared), line(1, 40, "ä\n'b'")
	b.Sequence = 7
	s.append(
		eventful(d, a, feature(2, 5, "solar")),
		&telemetry.Batch{Product: product, Rows: []telemetry.Row{row(1, 1, num("current", 1))}, Events: []telemetry.Event{b}, Marks: []telemetry.Mark{{Kind: telemetry.MarkTick, At: 3}}},
		&telemetry.Batch{Product: "never ensured", Events: []telemetry.Event{line(3, 1, "x")}},
		eventful(c),
	)
	require.Equal(t, []telemetry.Event{d, c, b, a}, found(t, s, telemetry.EventQuery{Unit: 1}))
	require.Equal(t, []telemetry.Event{feature(2, 5, "solar")}, found(t, s, telemetry.EventQuery{Unit: 2}))
	require.Equal(t, []telemetry.Event{line(3, 1, "x")}, found(t, s, telemetry.EventQuery{Unit: 3, Product: "never ensured"}))
	require.Equal(t, []telemetry.Event{c, b}, found(t, s, telemetry.EventQuery{Unit: 1, Kind: telemetry.EventFault}))
	require.Equal(t, []telemetry.Event{c, b}, found(t, s, telemetry.EventQuery{Unit: 1, From: time.UnixMilli(at(20)), To: time.UnixMilli(at(40))}))
	require.Equal(t, []telemetry.Event{d, a}, found(t, s, telemetry.EventQuery{Unit: 1, Allow: func(k telemetry.EventKind, name string) bool { return name != "E1" }}))
	require.Empty(t, found(t, s, telemetry.EventQuery{Unit: 1, Allow: func(telemetry.EventKind, string) bool { return false }}))
	_, err := s.Events(t.Context(), telemetry.EventQuery{Product: product, Unit: 1})
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	// Page by page.
	var got []telemetry.Event
	var after *telemetry.EventCursor
	for {
		page, err := s.Events(t.Context(), telemetry.EventQuery{Product: product, Unit: 1, Limit: 1, After: after})
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		require.Len(t, page, 1)
		got = append(got, page[0].Event)
		after = &telemetry.EventCursor{Event: page[0].Event.Event, Position: page[0].Position}
	}
	require.Equal(t, []telemetry.Event{d, c, b, a}, got)

	// Rows and marks are none the wiser.
	rows, marks := all(t, s, telemetry.Query{Product: product})
	require.Len(t, rows, 1)
	require.Len(t, marks, 1)
}

// manyEvents are more than are read at once, most of them withheld.
func manyEvents(t *testing.T, open Open) {
	s := start(t, open)
	var list []telemetry.Event
	for i := range 5000 {
		list = append(list, line(1, i/2, string(rune('a'+i%2))))
	}
	list = append(list, feature(1, 100, "solar"), feature(1, 2, "solar"))
	s.append(eventful(list...))
	onlyFeatures := func(k telemetry.EventKind, _ string) bool { return k == telemetry.EventFeature }
	require.Equal(t, []telemetry.Event{feature(1, 100, "solar"), feature(1, 2, "solar")}, found(t, s, telemetry.EventQuery{Unit: 1, Allow: onlyFeatures}))
	require.Len(t, found(t, s, telemetry.EventQuery{Unit: 1, Limit: 6000}), 5002)
	require.Len(t, found(t, s, telemetry.EventQuery{Unit: 1, Limit: 1500}), 1500)
}

func eventDuplicates(t *testing.T, open Open) {
	dir := t.TempDir()
	h := open(t, dir)
	s := &store{History: h, t: t}
	numbered := func(n int64, text string) telemetry.Event {
		e := line(1, 50, text)
		e.Sequence = n
		return e
	}
	s.append(eventful(
		line(1, 50, "a"), line(1, 50, "b"), line(1, 50, "a"), // two, and one of them again
		numbered(1, "a"), numbered(2, "a"), numbered(1, "not what it said"), // two, and one of them again
		code(1, 50, "E1", telemetry.StateSet), code(1, 50, "E1", telemetry.StateCleared), line(2, 50, "a"),
		feature(1, 50, "E1"),
	))
	s.append(eventful(line(1, 50, "a"), line(1, 50, "c"), line(1, 49, "a"), numbered(2, "a"), feature(1, 60, "x")))
	check := func(h telemetry.History, stored, duplicate int64) {
		t.Helper()
		a, err := h.Accounts(t.Context(), []int64{1})
		require.NoError(t, err)
		require.Len(t, a, 1)
		require.Equal(t, stored, a[0].Stored)
		require.Equal(t, duplicate, a[0].Duplicate)
		require.Equal(t, stored+duplicate, a[0].Acknowledged)
		require.Len(t, found(t, h, telemetry.EventQuery{Unit: 1}), int(stored))
	}
	check(h, 10, 4)
	// What was stored is known after a restart, and entries are not applied twice.
	require.NoError(t, h.Close())
	h = open(t, dir)
	t.Cleanup(func() { _ = h.Close() })
	s.History = h
	require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{{Seq: 2, Batch: eventful(line(1, 70, "z"))}}))
	check(h, 10, 4)
	s.append(eventful(line(1, 50, "c"), feature(1, 60, "x"), feature(1, 60, "y"), line(1, 1, "old"), line(1, 1, "old")))
	check(h, 12, 7)
}

func eventsExpire(t *testing.T, open Open) {
	s := start(t, open)
	before := func(telemetry.EventKind, string) time.Time { return time.UnixMilli(at(100)) }
	require.NoError(t, s.ExpireEvents(t.Context(), product, before), "before there are any")
	require.NoError(t, s.ExpireEvents(t.Context(), "unknown", before))
	s.append(eventful(feature(1, 1, "solar"), feature(1, 1, "lock"), feature(1, 9, "solar"), line(2, 1, "x"), line(2, 5, "y"), code(1, 2, "it's", telemetry.StateSet)))
	require.NoError(t, s.ExpireEvents(t.Context(), product, func(k telemetry.EventKind, name string) time.Time {
		switch {
		case k == telemetry.EventLog:
			return time.UnixMilli(at(5))
		case name == "solar" || name == "it's":
			return time.UnixMilli(at(9))
		}
		return time.Time{}
	}))
	require.Equal(t, []telemetry.Event{feature(1, 9, "solar"), feature(1, 1, "lock")}, found(t, s, telemetry.EventQuery{Unit: 1}))
	require.Equal(t, []telemetry.Event{line(2, 5, "y")}, found(t, s, telemetry.EventQuery{Unit: 2}))
	// The accounting is of what was acknowledged; what expires stays counted.
	a, err := s.Accounts(t.Context(), nil)
	require.NoError(t, err)
	require.EqualValues(t, 6, a[0].Stored+a[1].Stored)
}

func eventsErasedAndBackedUp(t *testing.T, open Open) {
	s := start(t, open)
	s.append(eventful(feature(1, 1, "solar"), feature(2, 1, "solar"), line(1, 2, "x")))
	dir := t.TempDir()
	require.NoError(t, s.Backup(t.Context(), dir))
	s.append(eventful(line(1, 3, "gone"), feature(1, 3, "lock")))
	require.NoError(t, s.EraseEvents(t.Context(), product, nil, func(telemetry.EventKind, string) bool { return true }))
	require.NoError(t, s.EraseEvents(t.Context(), product, []int64{1}, func(k telemetry.EventKind, name string) bool {
		return k == telemetry.EventFeature && name == "lock"
	}))
	require.Len(t, found(t, s, telemetry.EventQuery{Unit: 1}), 3)
	require.NoError(t, s.EraseUnits(t.Context(), []int64{1}, nil))
	require.Empty(t, found(t, s, telemetry.EventQuery{Unit: 1}))
	require.Len(t, found(t, s, telemetry.EventQuery{Unit: 2}), 1)
	a, err := s.Accounts(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, a, 1)
	copied := open(t, dir)
	t.Cleanup(func() { _ = copied.Close() })
	require.Len(t, found(t, copied, telemetry.EventQuery{Unit: 1}), 2)
	s.append(eventful(feature(1, 1, "solar")))
	require.Len(t, found(t, s, telemetry.EventQuery{Unit: 1}), 1)
}
