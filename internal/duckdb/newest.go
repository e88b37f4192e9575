package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/duckdb/newest"
	"fettle.dev/fettle/internal/duckdb/replay"
	"fettle.dev/fettle/internal/telemetry"
)

// The newest numbers of all units are in memory: the writer notes them as it
// stores them, and reads them from the rollups when it begins. They are never
// ahead of what is stored; after a failed transaction they are read anew.

// newestValues are those of a product, nil where there are none in memory.
func (h *History) newestValues(p *layout.Product) *newest.Values {
	v, _ := h.newest.Load(p.ID)
	values, _ := v.(*newest.Values)
	return values
}

// forgetNewest drops them all.
func (h *History) forgetNewest() {
	h.newest.Range(func(id, v any) bool {
		h.newest.Delete(id)
		if values, ok := v.(*newest.Values); ok && values != nil {
			values.Close()
		}
		return true
	})
}

// loadNewest reads a product's newest values; nil when they are more than may
// be kept. The caller holds h.write.
func (h *History) loadNewest(ctx context.Context, c *sql.Conn, p *layout.Product) (*newest.Values, error) {
	if v, ok := h.newest.Load(p.ID); ok {
		return v.(*newest.Values), nil
	}
	values := newest.New(h.budget)
	if err := h.stageNewest(ctx, c, p, values, nil); err != nil {
		return nil, err
	}
	h.newest.Store(p.ID, values)
	h.publishNewest(&appendingProduct{Product: p, newest: values})
	return h.newestValues(p), nil
}

// stageNewest reads newest values of units, nil for all. The caller holds h.write.
func (h *History) stageNewest(ctx context.Context, c *sql.Conn, p *layout.Product, values *newest.Values, units []int64) error {
	q := telemetry.WindowQuery{Measures: telemetry.MeasureLast | telemetry.MeasureCount, Units: units}
	for _, column := range p.Columns {
		if !column.IsText {
			q.Signals = append(q.Signals, column.Signal)
		}
	}
	err := h.queryWindows(ctx, c, p, q, func(w *telemetry.Window) error {
		u := values.Unit(w.Unit)
		for i, s := range w.Stats {
			if s.Count > 0 {
				n, _ := p.Find(q.Signals[i], false)
				values.Stage(u, n, s.LastAt, s.Last)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("newest values: %w", err)
	}
	return nil
}

// rereadNewest brings a unit's newest values up to the tables. The caller holds
// h.write.
func (h *History) rereadNewest(ctx context.Context, c *sql.Conn, unit int64) error {
	for _, p := range h.schema.Load().products {
		values := h.newestValues(p)
		if values == nil {
			continue
		}
		values.Erase([]int64{unit}, nil)
		if err := h.stageNewest(ctx, c, p, values, []int64{unit}); err != nil {
			return err
		}
		h.publishNewest(&appendingProduct{Product: p, newest: values})
	}
	return nil
}

// publishNewest shows what a transaction has stored.
func (h *History) publishNewest(p *appendingProduct) {
	if p.newest != nil && !p.newest.Publish() {
		h.log.Warn("history: too many newest values to keep in memory; questions for them read tables", "product", p.Name)
		h.newest.Store(p.ID, (*newest.Values)(nil))
	}
}

// eraseNewest forgets units, or their values of signals. The caller holds
// h.write.
func (h *History) eraseNewest(units []int64, signals []string) {
	for _, p := range h.schema.Load().products {
		values := h.newestValues(p)
		if values == nil {
			continue
		}
		var columns []int
		for i, c := range p.Columns {
			if slices.Contains(signals, c.Signal) {
				columns = append(columns, i)
			}
		}
		if signals == nil || len(columns) > 0 {
			values.Erase(units, columns)
		}
	}
}

// newestWindows answers a question for the newest values alone from memory. It
// reports false when they are not there.
func (h *History) newestWindows(ctx context.Context, q telemetry.WindowQuery, fn func(w *telemetry.Window) error) (bool, error) {
	p := h.product(q.Product)
	if p == nil {
		return true, nil
	}
	values := h.newestValues(p)
	if values == nil {
		// Nothing was stored since the start. Who holds the lock loads them, or
		// holds it long.
		if _, given := h.newest.Load(p.ID); given || !h.write.TryLock() {
			return false, nil
		}
		p = h.product(q.Product)
		err := h.use(ctx, func(c *sql.Conn) (err error) {
			values, err = h.loadNewest(ctx, c, p)
			return err
		})
		h.write.Unlock()
		if err != nil || values == nil {
			return false, err
		}
	}
	places, columns := make([]int, 0, len(q.Signals)), make([]int, 0, len(q.Signals))
	for place, signal := range q.Signals {
		if column, ok := p.Find(signal, false); ok {
			places, columns = append(places, place), append(columns, column)
		}
	}
	keys, found, ok := values.All(q.Units, columns)
	if !ok {
		return false, nil
	}
	window := telemetry.Window{Stats: make([]telemetry.Stat, len(q.Signals))}
	for i, key := range keys {
		window.Unit = key
		clear(window.Stats)
		for j, place := range places {
			if v := found[i*len(columns)+j]; v.Known() {
				window.Stats[place].Last, window.Stats[place].LastAt = v.Number, v.Event
			}
		}
		if err := fn(&window); err != nil {
			return true, err
		}
	}
	return true, ctx.Err()
}

// queryWindows reads windows from tables; q has been checked.
func (h *History) queryWindows(ctx context.Context, c *sql.Conn, p *layout.Product, q telemetry.WindowQuery, fn func(w *telemetry.Window) error) error {
	span := layout.Pick{Units: q.Units}
	span.Bound(q.From, q.To)
	w := replay.NewWindows(p, q, span)
	query := w.Query(p, span)
	if query == "" {
		return nil
	}
	return c.Raw(func(conn any) error { return w.Run(ctx, conn.(replay.Queryer), query, fn) })
}
