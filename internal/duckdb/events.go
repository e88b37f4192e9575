package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	driver "github.com/duckdb/duckdb-go/v2"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// Events stand beside a product's rows in a table of their own, which is made
// when the first one comes.
const createEvents = `CREATE TABLE IF NOT EXISTS %s (seq BIGINT, idx INTEGER, unit BIGINT, event BIGINT, received BIGINT, sequence BIGINT,
 kind UTINYINT, name VARCHAR, state UTINYINT, level UTINYINT, message VARCHAR)`

var _ telemetry.EventHistory = (*History)(nil)

func eventsTable(p *layout.Product) string { return fmt.Sprintf("events_%d", p.ID) }

// eventKey is what an event is known by. A unit that numbers its events tells
// them apart by that; otherwise what they say counts as well, since two lines
// of a log may be written within a millisecond.
type eventKey struct {
	unit, event, sequence int64
	kind                  telemetry.EventKind
	name                  string
	state                 telemetry.EventState
	level                 telemetry.Level
	text                  string
}

func keyOf(e *telemetry.Event) eventKey {
	k := eventKey{unit: e.Unit, event: e.Event, sequence: e.Sequence, kind: e.Kind, name: text(e.Name)}
	if e.Sequence == 0 {
		k.state, k.level, k.text = e.State, e.Level, text(e.Text)
	}
	return k
}

// eventsOf is what the writer knows of a product's events.
type eventsOf struct {
	newest map[int64]int64 // newest event time of each unit
}

// ensureEvents makes the tables of events that batches need. The caller holds
// h.write.
func (h *History) ensureEvents(ctx context.Context, batches []telemetry.Sequenced) error {
	for _, b := range batches {
		if len(b.Batch.Events) == 0 {
			continue
		}
		p := h.product(b.Batch.Product)
		if p == nil {
			if err := h.ensure(ctx, b.Batch.Product, nil); err != nil {
				return err
			}
			p = h.product(b.Batch.Product)
		}
		if h.events[p.ID] != nil {
			continue
		}
		of := &eventsOf{newest: map[int64]int64{}}
		err := h.transaction(ctx, func(c *sql.Conn) error {
			if _, err := c.ExecContext(ctx, fmt.Sprintf(createEvents, eventsTable(p))); err != nil {
				return err
			}
			return each(ctx, c, "SELECT unit, max(event) FROM "+eventsTable(p)+" GROUP BY unit", func(rows *sql.Rows) error {
				var unit, event int64
				err := rows.Scan(&unit, &event)
				of.newest[unit] = event
				return err
			})
		})
		if err != nil {
			return fmt.Errorf("events of product %s: %w", p.Name, err)
		}
		h.events[p.ID] = of
	}
	return nil
}

// newEvents are the keys of batches' events that may be stored already, with
// whether they are. Nearly every event is newer than all that its unit has
// sent; the others are looked up, all those of a product in one query.
func (h *History) newEvents(ctx context.Context, c *sql.Conn, batches []telemetry.Sequenced) (map[int]map[eventKey]bool, error) {
	seen := map[int]map[eventKey]bool{}
	asked := map[*layout.Product]map[[2]int64]struct{}{}
	for _, b := range batches {
		if len(b.Batch.Events) == 0 {
			continue
		}
		p := h.product(b.Batch.Product)
		if asked[p] == nil {
			asked[p], seen[p.ID] = map[[2]int64]struct{}{}, map[eventKey]bool{}
		}
		newest := h.events[p.ID].newest
		for i := range b.Batch.Events {
			e := &b.Batch.Events[i]
			if at, ok := newest[e.Unit]; ok && e.Event <= at {
				asked[p][[2]int64{e.Event, e.Unit}] = struct{}{}
			}
		}
	}
	for p, pairs := range asked {
		if err := lookUpEvents(ctx, c, p, pairs, seen[p.ID]); err != nil {
			return nil, fmt.Errorf("look for duplicate events: %w", err)
		}
	}
	return seen, nil
}

func lookUpEvents(ctx context.Context, c *sql.Conn, p *layout.Product, pairs map[[2]int64]struct{}, seen map[eventKey]bool) error {
	list := make([][2]int64, 0, len(pairs))
	for pair := range pairs {
		list = append(list, pair)
	}
	slices.SortFunc(list, func(a, b [2]int64) int { return slices.Compare(a[:], b[:]) })
	for some := range slices.Chunk(list, 2000) { // in the order of time, so that few parts of the table are read
		var values strings.Builder
		for i, pair := range some {
			if i > 0 {
				values.WriteByte(',')
			}
			fmt.Fprintf(&values, "(%s,%s)", layout.Bigint(pair[1]), layout.Bigint(pair[0]))
		}
		query := fmt.Sprintf(`SELECT e.unit, e.event, e.sequence, e.kind, e.name, e.state, e.level, e.message
			FROM %s e JOIN (VALUES %s) k(unit, event) ON e.unit = k.unit AND e.event = k.event WHERE e.event >= %s AND e.event <= %s`,
			eventsTable(p), values.String(), layout.Bigint(some[0][0]), layout.Bigint(some[len(some)-1][0]))
		err := each(ctx, c, query, func(rows *sql.Rows) error {
			var e telemetry.Event
			err := rows.Scan(&e.Unit, &e.Event, &e.Sequence, &e.Kind, &e.Name, &e.State, &e.Level, &e.Text)
			seen[keyOf(&e)] = true
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// appendEvents writes what is new among batches' events and counts them.
func (a *appending) appendEvents(batches []telemetry.Sequenced, appender func(table string) (*driver.Appender, error)) error {
	tables := map[int]*driver.Appender{}
	for _, b := range batches {
		if len(b.Batch.Events) == 0 {
			continue
		}
		p := a.h.product(b.Batch.Product)
		w, err := tables[p.ID], error(nil)
		if w == nil {
			if w, err = appender(eventsTable(p)); err != nil {
				return err
			}
			tables[p.ID] = w
		}
		seen := a.events[p.ID]
		for i := range b.Batch.Events {
			e := &b.Batch.Events[i]
			account := a.account(e.Unit)
			key := keyOf(e)
			if seen[key] {
				account.Duplicate++
				continue
			}
			seen[key] = true
			account.Stored++
			err := w.AppendRow(int64(b.Seq), int32(i), e.Unit, e.Event, e.Received, e.Sequence,
				uint8(e.Kind), key.name, uint8(e.State), uint8(e.Level), text(e.Text))
			if err != nil {
				return fmt.Errorf("sequence %d, event %d: %w", b.Seq, i, err)
			}
		}
	}
	return nil
}

// storedEvents notes the newest events of an Append that was committed.
func (h *History) storedEvents(batches []telemetry.Sequenced) {
	for _, b := range batches {
		for i := range b.Batch.Events {
			e := &b.Batch.Events[i]
			newest := h.events[h.product(b.Batch.Product).ID].newest
			if at, ok := newest[e.Unit]; !ok || e.Event > at {
				newest[e.Unit] = e.Event
			}
		}
	}
}

// hasEvents reports whether a product has a table of events.
func hasEvents(ctx context.Context, c *sql.Conn, p *layout.Product) (bool, error) {
	if p == nil {
		return false, nil
	}
	var n int
	err := c.QueryRowContext(ctx, "SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database() AND table_name = "+layout.Quote(eventsTable(p))).Scan(&n)
	return n > 0, err
}

// eventPage is how many events are read at once.
const eventPage = 1000

// Events are those of a unit that q picks, the newest first.
func (h *History) Events(ctx context.Context, q telemetry.EventQuery) ([]telemetry.StoredEvent, error) {
	if q.Limit < 1 {
		return nil, fault.New(fault.Invalid, "events: a limit of at least 1 is needed, not %d", q.Limit)
	}
	events := []telemetry.StoredEvent{}
	p := h.product(q.Product)
	err := h.use(ctx, func(c *sql.Conn) error {
		if has, err := hasEvents(ctx, c, p); err != nil || !has {
			return err
		}
		after := q.After
		for len(events) < q.Limit {
			n := 0
			err := each(ctx, c, eventsQuery(p, &q, after), func(rows *sql.Rows) error {
				n++
				var e telemetry.StoredEvent
				err := rows.Scan(&e.Seq, &e.Index, &e.Unit, &e.Event.Event, &e.Received, &e.Sequence, &e.Kind, &e.Name, &e.State, &e.Level, &e.Text)
				after = &telemetry.EventCursor{Event: e.Event.Event, Position: e.Position}
				if err == nil && len(events) < q.Limit && (q.Allow == nil || q.Allow(e.Kind, e.Name)) {
					events = append(events, e)
				}
				return err
			})
			if err != nil || n < eventPage {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return events, nil
}

func eventsQuery(p *layout.Product, q *telemetry.EventQuery, after *telemetry.EventCursor) string {
	where := []string{"unit = " + layout.Bigint(q.Unit)}
	if !q.From.IsZero() {
		where = append(where, "event >= "+layout.Bigint(layout.CeilMilli(q.From)))
	}
	if !q.To.IsZero() {
		where = append(where, "event < "+layout.Bigint(layout.CeilMilli(q.To)))
	}
	if q.Kind != 0 {
		where = append(where, fmt.Sprintf("kind = %d", q.Kind))
	}
	if after != nil {
		where = append(where, fmt.Sprintf("(event < %[1]s OR event = %[1]s AND (seq < %[2]d OR seq = %[2]d AND idx < %[3]d))",
			layout.Bigint(after.Event), int64(after.Seq), after.Index))
	}
	return fmt.Sprintf("SELECT seq, idx, unit, event, received, sequence, kind, name, state, level, message FROM %s WHERE %s ORDER BY event DESC, seq DESC, idx DESC LIMIT %d",
		eventsTable(p), strings.Join(where, " AND "), eventPage)
}

// ExpireEvents drops a product's events from before the time that before gives
// for their kind and name; a zero time keeps them.
func (h *History) ExpireEvents(ctx context.Context, product string, before func(kind telemetry.EventKind, name string) time.Time) error {
	defer h.lockWrite()()
	return h.removeEvents(ctx, product, "", func(kind telemetry.EventKind, name string, oldest int64) (string, bool) {
		end := before(kind, name)
		return " AND event < " + layout.Bigint(layout.CeilMilli(end)), !end.IsZero() && oldest < layout.CeilMilli(end)
	})
}

// EraseEvents removes the events of units that gone picks.
func (h *History) EraseEvents(ctx context.Context, product string, units []int64, gone func(kind telemetry.EventKind, name string) bool) error {
	if len(units) == 0 {
		return nil
	}
	defer h.lockWrite()()
	q := layout.Pick{Units: units, First: math.MinInt64, Last: math.MaxInt64}
	where := layout.Where(q.OfUnits())
	return h.removeEvents(ctx, product, where, func(kind telemetry.EventKind, name string, _ int64) (string, bool) {
		return strings.Replace(where, "WHERE", "AND", 1), gone(kind, name)
	})
}

func (h *History) lockWrite() (unlock func()) {
	h.write.Lock()
	return h.write.Unlock
}

// removeEvents removes events of each kind and name, of those that where picks,
// under a further condition. The caller holds h.write.
func (h *History) removeEvents(ctx context.Context, product, where string, pick func(kind telemetry.EventKind, name string, oldest int64) (and string, gone bool)) error {
	p := h.product(product)
	var statements []string
	err := h.use(ctx, func(c *sql.Conn) error {
		if has, err := hasEvents(ctx, c, p); err != nil || !has {
			return err
		}
		return each(ctx, c, "SELECT kind, name, min(event) FROM "+eventsTable(p)+where+" GROUP BY kind, name", func(rows *sql.Rows) error {
			var kind telemetry.EventKind
			var name string
			var oldest int64
			if err := rows.Scan(&kind, &name, &oldest); err != nil {
				return err
			}
			if and, gone := pick(kind, name, oldest); gone {
				statements = append(statements, fmt.Sprintf("DELETE FROM %s WHERE kind = %d AND name = %s", eventsTable(p), kind, layout.Quote(name))+and)
			}
			return nil
		})
	})
	if err == nil {
		err = h.remove(ctx, statements)
	}
	if err != nil {
		return fmt.Errorf("remove events of product %s: %w", product, err)
	}
	return nil
}

// eventTables are the tables of events that there are.
func (h *History) eventTables(ctx context.Context) ([]string, error) {
	var tables []string
	err := h.use(ctx, func(c *sql.Conn) error {
		for _, p := range h.schema.Load().products {
			has, err := hasEvents(ctx, c, p)
			if err != nil {
				return err
			}
			if has {
				tables = append(tables, eventsTable(p))
			}
		}
		return nil
	})
	return tables, err
}
