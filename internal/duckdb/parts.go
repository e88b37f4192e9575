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
)

// mergeSpan bounds how far apart the newest rows of parts may be that become
// one: a part expires whole when its newest row does.
const mergeSpan = 31 * 24 * time.Hour

// errGiveWay stops long work for whoever waits to erase something, or to close.
var errGiveWay = errors.New("given way")

// sealRows is how many rows of a product are sorted at once.
func (h *History) sealRows(p *product) int {
	if n := len(p.columns); n > 16 {
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
	products := make([]*product, 0, len(h.schema.Load().products))
	for _, p := range h.schema.Load().products {
		products = append(products, p)
	}
	slices.SortFunc(products, func(a, b *product) int { return cmp.Compare(a.id, b.id) })
	for _, p := range products {
		select {
		case <-h.quit:
			return false, nil
		default:
		}
		for _, s := range p.segments[:len(p.segments)-1] {
			if !s.sorted {
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

func wrap(what string, p *product, err error) error {
	if err != nil {
		return fmt.Errorf("%s of product %s: %w", what, p.name, err)
	}
	return nil
}

// rotate gives a product a new table for what arrives, when the present one is
// full.
func (h *History) rotate(ctx context.Context, p *product) (did bool, err error) {
	h.write.Lock()
	defer h.write.Unlock()
	p = h.product(p.name)
	rows, counted := h.hot[p.id]
	if !counted {
		err := h.use(ctx, func(c *sql.Conn) error {
			return c.QueryRowContext(ctx, "SELECT count(*) FROM "+p.hot().table).Scan(&rows)
		})
		if err != nil {
			return false, err
		}
	}
	if rows < h.sealRows(p) {
		return false, nil
	}
	p = p.clone()
	s := newSegment(p, p.nextSegment(), false)
	statements := []string{fmt.Sprintf(createRows, s.table), s.insert(p)}
	for i, column := range p.columns {
		kind := "DOUBLE"
		if column.isText {
			kind = "VARCHAR"
		}
		statements = append(statements, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", s.table, columnName(i), kind))
		s.has = append(s.has, true)
	}
	p.segments = append(p.segments, s)
	err = h.change(ctx, func(c *sql.Conn) ([]*product, error) {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return []*product{p}, err
	})
	if err == nil {
		h.hot[p.id] = 0
	}
	return err == nil, err
}

// seal sorts the oldest rows of a table that takes no more into a part.
func (h *History) seal(ctx context.Context, p *product, s *segment) error {
	var end uint64
	var rows, beyond int
	err := h.use(ctx, func(c *sql.Conn) error {
		query := fmt.Sprintf("SELECT coalesce(max(seq), 0), count(*) FROM (SELECT seq FROM %s WHERE seq > %d LIMIT %d)", s.table, s.after, h.sealRows(p))
		if err := c.QueryRowContext(ctx, query).Scan(&end, &rows); err != nil {
			return err
		}
		return c.QueryRowContext(ctx, fmt.Sprintf("SELECT count(*) FROM %s WHERE seq > %d", s.table, end)).Scan(&beyond)
	})
	if err != nil {
		return err
	}
	var parts []*segment
	if rows > 0 {
		part := newSegment(p, p.nextSegment(), true)
		part.has = slices.Clone(s.has)
		if err := h.build(ctx, p, part, []*segment{s}, fmt.Sprintf("seq <= %d", end), nil); err != nil {
			return err
		}
		parts = append(parts, part)
	}
	rest := s.clone()
	rest.after = end
	if beyond > 0 {
		parts = append(parts, rest)
	}
	return h.exchange(ctx, p.name, []*segment{s}, parts)
}

// mergeable is a run of neighbouring small parts that should be one.
func (h *History) mergeable(p *product) []*segment {
	limit := int64(h.sealRows(p)) * int64(h.cfg.MergeParts)
	var run []*segment
	total, oldest, newest := int64(0), int64(0), int64(0)
	for _, s := range p.segments {
		small := s.sorted && 2*s.rows <= limit
		if small && len(run) > 0 {
			first, last := min(oldest, s.lastEvent), max(newest, s.lastEvent)
			if float64(last)-float64(first) > float64(mergeSpan.Milliseconds()) || total+s.rows > limit+limit/4 {
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
			total, oldest, newest = 0, s.lastEvent, s.lastEvent
		}
		run, total = append(run, s), total+s.rows
		oldest, newest = min(oldest, s.lastEvent), max(newest, s.lastEvent)
		if len(run) >= h.cfg.MergeParts {
			return run
		}
	}
	return nil
}

// merge makes one part of several neighbouring ones.
func (h *History) merge(ctx context.Context, p *product, run []*segment) error {
	part := newSegment(p, p.nextSegment(), true)
	part.has = make([]bool, len(p.columns))
	var total int64
	largest := run[0]
	for _, s := range run {
		total += s.rows
		if s.rows > largest.rows {
			largest = s
		}
		for i := range part.has {
			part.has[i] = part.has[i] || s.holds(i)
		}
	}
	// Slices of units: as much is in memory as when a part is first sorted.
	var cuts []int64
	if slices := int64(math.Ceil(float64(total) / float64(h.sealRows(p)))); slices > 1 {
		err := h.use(ctx, func(c *sql.Conn) error {
			query := fmt.Sprintf("SELECT DISTINCT unit FROM %s WHERE rowid %% %d = 0 ORDER BY unit", largest.table, max(largest.rows/slices, 1))
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
	return h.exchange(ctx, p.name, run, []*segment{part})
}

// build writes the rows of segments that bound picks, sorted, into the tables
// of a part, and its rollups with them, slice by slice: cuts are the lowest
// units of all slices but the first. Nobody sees them yet: what a crash leaves
// is dropped when history is opened.
func (h *History) build(ctx context.Context, p *product, part *segment, from []*segment, bound string, cuts []int64) error {
	every := *part
	every.levels = [levels]bool{true, true, true}
	var clean []string
	for _, table := range every.tables() {
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
			terms = append(terms, "unit >= "+bigint(cuts[i-1]))
		}
		if i < len(cuts) {
			terms = append(terms, "unit < "+bigint(cuts[i]))
		}
		sources := make([]string, len(from))
		for j, s := range from {
			sources[j] = "SELECT " + fixedNames
			for k, has := range part.has {
				if has {
					sources[j] += ", " + s.column(p, k)
				}
			}
			sources[j] += " FROM " + s.table + whereAll(append(s.beyond(), terms...))
		}
		sorted := strings.Join(sources, " UNION ALL ") + " ORDER BY unit, event, seq, idx"
		into := "CREATE TABLE " + part.table + " AS "
		if i > 0 {
			into = "INSERT INTO " + part.table + " "
		}
		if err := h.exec(ctx, into+sorted); err != nil {
			return err
		}
		if i == 0 {
			if err := h.chooseLevels(ctx, part); err != nil {
				return err
			}
		}
		if err := h.exec(ctx, strings.Join(part.rollUp(p, from, bound == "", i == 0, terms), ";\n")); err != nil {
			return err
		}
		if err := h.pause(ctx, time.Since(began)); err != nil { //nolint:forbidigo // as above
			return err
		}
	}
	return h.use(ctx, func(c *sql.Conn) error { return part.measure(ctx, c) })
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
func (h *History) exchange(ctx context.Context, name string, old, with []*segment) error {
	h.write.Lock()
	defer h.write.Unlock()
	p := h.product(name).clone()
	at := slices.IndexFunc(p.segments, func(s *segment) bool { return s.id == old[0].id })
	p.segments = slices.Replace(p.segments, at, at+len(old), with...)
	var statements []string
	for _, s := range old {
		statements = append(statements, s.remove(p))
		if !slices.ContainsFunc(with, func(w *segment) bool { return w.table == s.table }) {
			statements = append(statements, strings.TrimSuffix(s.drop(), ";\n"))
		}
	}
	for _, s := range with {
		statements = append(statements, s.insert(p))
	}
	return h.change(ctx, func(c *sql.Conn) ([]*product, error) {
		_, err := c.ExecContext(ctx, strings.Join(statements, ";\n"))
		return []*product{p}, err
	})
}
