package duckdb

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/duckdb/scan"
)

// mergeSpan bounds how far apart the newest rows of parts may be that become
// one: a part expires whole when its newest row does.
const mergeSpan = 31 * 24 * time.Hour

// errGiveWay stops long work for whoever waits to erase something, or to close.
var errGiveWay = errors.New("given way")

// sealRows is how many rows of a product are sorted at once.
func (h *History) sealRows(p *layout.Product) int {
	if n := len(p.Columns); n > 16 {
		return max(h.cfg.SealRows*16/n, 1)
	}
	return h.cfg.SealRows
}

// wake says that there may be rows to sort.
func (h *History) wake() {
	select {
	case h.work <- struct{}{}:
	default:
	}
}

// tend makes parts when there is reason to, until history is closed.
func (h *History) tend(ctx context.Context) {
	h.wake()
	const soon, late = time.Second, 5 * time.Minute
	wait := soon
	again := time.NewTimer(late)
	defer again.Stop()
	for {
		select {
		case <-h.quit:
			return
		case <-h.work:
		case <-again.C:
		}
		err := h.Compact(ctx)
		switch {
		case err != nil:
			h.log.Warn("history: sorting rows into parts", "err", err, "again in", wait)
			again.Reset(wait)
			wait = min(2*wait, late)
		default:
			wait = soon
		}
	}
}

// Compact sorts rows that have arrived into parts, and makes large parts of
// small ones, until nothing is due. Each step is one transaction; between two,
// and within long ones, it gives way to erasures.
func (h *History) Compact(ctx context.Context) error {
	for {
		did, err := h.compact(ctx)
		if errors.Is(err, errGiveWay) {
			err, did = nil, true
		}
		if err != nil || !did {
			return err
		}
	}
}

// compact does the next step.
func (h *History) compact(ctx context.Context) (did bool, err error) {
	if h.impatient.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
	h.shape.Lock()
	defer h.shape.Unlock()
	products := make([]*layout.Product, 0, len(h.schema.Load().products))
	for _, p := range h.schema.Load().products {
		products = append(products, p)
	}
	slices.SortFunc(products, func(a, b *layout.Product) int { return cmp.Compare(a.ID, b.ID) })
	for _, p := range products {
		select {
		case <-h.quit:
			return false, nil
		default:
		}
		for _, s := range p.Segments[:len(p.Segments)-1] {
			if !s.Sorted {
				return true, wrap("sort rows", p, h.seal(ctx, p, s))
			}
		}
		if did, err := h.rotate(ctx, p); did || err != nil {
			return did, wrap("begin a table", p, err)
		}
		if run := h.mergeable(p); run != nil {
			return true, wrap("merge parts", p, h.merge(ctx, p, run))
		}
	}
	return false, nil
}

func wrap(what string, p *layout.Product, err error) error {
	if err != nil {
		return fmt.Errorf("%s of product %s: %w", what, p.Name, err)
	}
	return nil
}

// rotate gives a product a new table for what arrives, when the present one is
// full.
func (h *History) rotate(ctx context.Context, p *layout.Product) (did bool, err error) {
	h.write.Lock()
	defer h.write.Unlock()
	p = h.product(p.Name)
	rows, counted := h.hot[p.ID]
	if !counted {
		err := h.use(ctx, func(c *sql.Conn) error {
			return c.QueryRowContext(ctx, "SELECT count(*) FROM "+p.Hot().Table).Scan(&rows)
		})
		if err != nil {
			return false, err
		}
	}
	if rows < h.sealRows(p) {
		return false, nil
	}
	p = p.Clone()
	s := layout.NewSegment(p, p.NextSegment(), false)
	statements := []string{fmt.Sprintf(layout.CreateRows, s.Table), s.Insert(p)}
	for i, column := range p.Columns {
		kind := "DOUBLE"
		if column.IsText {
			kind = "VARCHAR"
		}
		statements = append(statements, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", s.Table, layout.ColumnName(i), kind))
		s.Has = append(s.Has, true)
	}
	p.Segments = append(p.Segments, s)
	err = h.change(ctx, func(c *sql.Conn) ([]*layout.Product, error) {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return []*layout.Product{p}, err
	})
	if err == nil {
		h.hot[p.ID] = 0
	}
	return err == nil, err
}

// seal sorts the oldest rows of a table that takes no more into a part.
func (h *History) seal(ctx context.Context, p *layout.Product, s *layout.Segment) error {
	var end uint64
	var rows, beyond int
	err := h.use(ctx, func(c *sql.Conn) error {
		query := fmt.Sprintf("SELECT coalesce(max(seq), 0), count(*) FROM (SELECT seq FROM %s WHERE seq > %d LIMIT %d)", s.Table, s.After, h.sealRows(p)) //nolint:gosec // names and numbers of our own
		if err := c.QueryRowContext(ctx, query).Scan(&end, &rows); err != nil {
			return err
		}
		return c.QueryRowContext(ctx, fmt.Sprintf("SELECT count(*) FROM %s WHERE seq > %d", s.Table, end)).Scan(&beyond)
	})
	if err != nil {
		return err
	}
	var parts []*layout.Segment
	if rows > 0 {
		part := layout.NewSegment(p, p.NextSegment(), true)
		part.Has = slices.Clone(s.Has)
		if err := h.build(ctx, p, part, []*layout.Segment{s}, fmt.Sprintf("seq <= %d", end), nil); err != nil {
			return err
		}
		parts = append(parts, part)
	}
	rest := s.Clone()
	rest.After = end
	if beyond > 0 {
		parts = append(parts, rest)
	}
	return h.exchange(ctx, p.Name, []*layout.Segment{s}, parts)
}

// mergeable is a run of neighbouring small parts that should be one.
func (h *History) mergeable(p *layout.Product) []*layout.Segment {
	limit := int64(h.sealRows(p)) * int64(h.cfg.MergeParts)
	var run []*layout.Segment
	total, oldest, newest := int64(0), int64(0), int64(0)
	for _, s := range p.Segments {
		small := s.Sorted && 2*s.Rows <= limit
		if small && len(run) > 0 {
			first, last := min(oldest, s.LastEvent), max(newest, s.LastEvent)
			if float64(last)-float64(first) > float64(mergeSpan.Milliseconds()) || total+s.Rows > limit+limit/4 {
				if len(run) >= h.cfg.MergeParts {
					return run
				}
				run = nil
			}
		}
		switch {
		case !small:
			if len(run) >= h.cfg.MergeParts {
				return run
			}
			run = nil
			continue
		case len(run) == 0:
			total, oldest, newest = 0, s.LastEvent, s.LastEvent
		}
		run, total = append(run, s), total+s.Rows
		oldest, newest = min(oldest, s.LastEvent), max(newest, s.LastEvent)
		if len(run) >= h.cfg.MergeParts {
			return run
		}
	}
	return nil
}

// merge makes one part of several neighbouring ones.
func (h *History) merge(ctx context.Context, p *layout.Product, run []*layout.Segment) error {
	part := layout.NewSegment(p, p.NextSegment(), true)
	part.Has = make([]bool, len(p.Columns))
	var total int64
	largest := run[0]
	for _, s := range run {
		total += s.Rows
		if s.Rows > largest.Rows {
			largest = s
		}
		for i := range part.Has {
			part.Has[i] = part.Has[i] || s.Holds(i)
		}
	}
	// Slices of units: as much is in memory as when a part is first sorted.
	var cuts []int64
	if slices := int64(math.Ceil(float64(total) / float64(h.sealRows(p)))); slices > 1 {
		err := h.use(ctx, func(c *sql.Conn) error {
			query := fmt.Sprintf("SELECT DISTINCT unit FROM %s WHERE rowid %% %d = 0 ORDER BY unit", largest.Table, max(largest.Rows/slices, 1))
			return each(ctx, c, query, func(rows *sql.Rows) error {
				var unit int64
				err := rows.Scan(&unit)
				cuts = append(cuts, unit)
				return err
			})
		})
		if err != nil {
			return err
		}
		cuts = cuts[1:] // the first slice has no lower bound
	}
	if err := h.build(ctx, p, part, run, "", cuts); err != nil {
		return err
	}
	return h.exchange(ctx, p.Name, run, []*layout.Segment{part})
}

// build writes the rows of segments that bound picks, sorted, into the tables
// of a part, and its rollups with them, slice by slice: cuts are the lowest
// units of all slices but the first. Nobody sees them yet: what a crash leaves
// is dropped when history is opened.
func (h *History) build(ctx context.Context, p *layout.Product, part *layout.Segment, from []*layout.Segment, bound string, cuts []int64) error {
	every := *part
	every.Levels = [layout.Levels]bool{true, true, true}
	var clean []string
	for _, table := range every.Tables() {
		clean = append(clean, "DROP TABLE IF EXISTS "+table)
	}
	if err := h.exec(ctx, strings.Join(clean, ";\n")); err != nil {
		return err
	}
	for i := range len(cuts) + 1 {
		began := time.Now() //nolint:forbidigo // how long work took, to pace it
		var terms []string
		if bound != "" {
			terms = append(terms, bound)
		}
		if i > 0 {
			terms = append(terms, "unit >= "+layout.Bigint(cuts[i-1]))
		}
		if i < len(cuts) {
			terms = append(terms, "unit < "+layout.Bigint(cuts[i]))
		}
		sources := make([]string, len(from))
		for j, s := range from {
			sources[j] = "SELECT " + layout.FixedNames
			for k, has := range part.Has {
				if has {
					sources[j] += ", " + s.Column(p, k)
				}
			}
			sources[j] += " FROM " + s.Table + layout.Where(append(s.Beyond(), terms...))
		}
		sorted := strings.Join(sources, " UNION ALL ") + " ORDER BY unit, event, seq, idx"
		into := "CREATE TABLE " + part.Table + " AS "
		if i > 0 {
			into = "INSERT INTO " + part.Table + " "
		}
		if err := h.exec(ctx, into+sorted); err != nil {
			return err
		}
		if i == 0 {
			if err := h.chooseLevels(ctx, part); err != nil {
				return err
			}
		}
		if err := h.exec(ctx, strings.Join(part.RollUp(p, from, bound == "", i == 0, terms), ";\n")); err != nil {
			return err
		}
		if err := h.pause(ctx, time.Since(began)); err != nil {
			return err
		}
	}
	return h.use(ctx, func(c *sql.Conn) error { return scan.Measure(ctx, c, part) })
}

// exec runs statements in one transaction.
func (h *History) exec(ctx context.Context, statements string) error {
	if statements == "" {
		return nil
	}
	return h.transaction(ctx, func(c *sql.Conn) error {
		_, err := c.ExecContext(ctx, statements)
		return err
	})
}

// pause lets others work for half as long as work took, and gives way to those
// who wait to erase.
func (h *History) pause(ctx context.Context, took time.Duration) error {
	if h.impatient.Load() > 0 {
		return errGiveWay
	}
	if h.cfg.Manual {
		return ctx.Err()
	}
	select {
	case <-h.quit:
		return errGiveWay
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(took/2, time.Second)):
		return nil
	}
}

// exchange puts segments in the place of neighbouring others, in one
// transaction. The caller holds h.shape.
func (h *History) exchange(ctx context.Context, name string, old, with []*layout.Segment) error {
	h.write.Lock()
	defer h.write.Unlock()
	p := h.product(name).Clone()
	at := slices.IndexFunc(p.Segments, func(s *layout.Segment) bool { return s.ID == old[0].ID })
	p.Segments = slices.Replace(p.Segments, at, at+len(old), with...)
	var statements []string
	for _, s := range old {
		statements = append(statements, s.Remove(p))
		if !slices.ContainsFunc(with, func(w *layout.Segment) bool { return w.Table == s.Table }) {
			statements = append(statements, strings.TrimSuffix(s.Drop(), ";\n"))
		}
	}
	for _, s := range with {
		statements = append(statements, s.Insert(p))
	}
	return h.change(ctx, func(c *sql.Conn) ([]*layout.Product, error) {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return []*layout.Product{p}, err
	})
}
