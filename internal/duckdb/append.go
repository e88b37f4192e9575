package duckdb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"math"
	"strings"

	driver "github.com/duckdb/duckdb-go/v2"

	"fettle.dev/fettle/internal/duckdb/layout"
	"fettle.dev/fettle/internal/duckdb/newest"
	"fettle.dev/fettle/internal/duckdb/recent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// Append stores rows, marks, accounting and position in one transaction.
//
// A row of which nothing is new, or that never had a value, is kept without
// values: that a unit was heard of is what silence is judged by, and a replay
// must tell the same as the stream did.
func (h *History) Append(ctx context.Context, batches []telemetry.Sequenced) error {
	h.write.Lock()
	defer h.write.Unlock()
	applied := h.applied.Load()
	last := applied
	for len(batches) > 0 && batches[0].Seq <= last {
		batches = batches[1:]
	}
	if len(batches) == 0 {
		return nil
	}
	for _, b := range batches {
		if b.Seq <= last {
			return fault.New(fault.Invalid, "append to history: sequence %d follows %d", b.Seq, last)
		}
		last = b.Seq
		if len(b.Batch.Rows) == 0 {
			continue
		}
		if columns := h.product(b.Batch.Product).Missing(b.Batch); len(columns) > 0 || h.product(b.Batch.Product) == nil {
			if err := h.ensure(ctx, b.Batch.Product, columns); err != nil {
				return fmt.Errorf("append to history: %w", err)
			}
		}
	}

	if err := h.ensureEvents(ctx, batches); err != nil {
		return fmt.Errorf("append to history: %w", err)
	}

	var a *appending
	err := h.transaction(ctx, func(c *sql.Conn) error {
		a = &appending{h: h, products: map[*layout.Product]*appendingProduct{}, accounts: map[int64]*telemetry.Account{}}
		if h.deltas < 0 {
			if err := c.QueryRowContext(ctx, "SELECT count(*) FROM accounts").Scan(&h.deltas); err != nil {
				return err
			}
		}
		if err := a.seen(ctx, c, batches); err != nil {
			return fmt.Errorf("look for duplicates: %w", err)
		}
		var err error
		if a.events, err = h.newEvents(ctx, c, batches); err != nil {
			return err
		}
		if err := c.Raw(func(conn any) error { return a.rows(ctx, conn.(sqldriver.Conn), batches) }); err != nil {
			return err
		}
		return h.advance(ctx, c, applied, last)
	})
	if err != nil {
		h.forget() // what was noted as seen may not be stored
		if h.stored(ctx, last) {
			return nil
		}
		return fmt.Errorf("append to history: %w", err)
	}
	full := false
	for _, p := range a.products {
		for r := range p.touched {
			r.Trim()
		}
		h.hot[p.ID] += p.rows
		full = full || h.hot[p.ID] >= h.sealRows(p.Product)
		h.publishNewest(p)
	}
	if h.fresh.Add(batches, a.twice); len(a.twice) > manyTwice {
		h.fresh.Drop() // they would take more than the rows
	}
	if full {
		h.wake()
	}
	h.storedEvents(batches)
	h.applied.Store(last)
	h.deltas += len(a.accounts)
	return h.fold(ctx)
}

// stored reports whether history has last although its transaction said that it
// failed: an interrupt of a statement before can reach the commit, and leave
// what it wrote.
func (h *History) stored(ctx context.Context, last uint64) bool {
	var position uint64
	err := h.use(context.WithoutCancel(ctx), func(c *sql.Conn) error {
		return c.QueryRowContext(context.WithoutCancel(ctx), "SELECT seq FROM position").Scan(&position)
	})
	if err != nil || position != last {
		return false
	}
	h.applied.Store(last)
	return true
}

// advance moves the position. It is not where it was thought to be when a
// commit failed in a way that kept what it wrote.
func (h *History) advance(ctx context.Context, c *sql.Conn, from, to uint64) error {
	var position uint64
	if err := c.QueryRowContext(ctx, "SELECT seq FROM position").Scan(&position); err != nil {
		return err
	}
	if position != from {
		h.applied.Store(position)
		return fault.New(fault.Unavailable, "the position is %d, not %d", position, from)
	}
	_, err := c.ExecContext(ctx, fmt.Sprintf("UPDATE position SET seq = %d", to))
	return err
}

// appending is one Append under way.
type appending struct {
	h        *History
	products map[*layout.Product]*appendingProduct
	accounts map[int64]*telemetry.Account
	events   map[int]map[eventKey]bool // by product: those that are stored
	twice    map[*telemetry.Value]struct{}
}

// manyTwice is how many values that were stored before are noted of an Append.
const manyTwice = 4096

type appendingProduct struct {
	*layout.Product
	units    map[int64]*recent.Unit
	touched  map[*recent.Unit]struct{}
	old      map[sampleKey]*recent.Mask // of rows too old for memory: what is stored
	appender *driver.Appender
	rows     int // appended
	args     []sqldriver.Value
	newest   *newest.Values // nil: given up
	finder   layout.Finder

	// Of the row before: units send several at once.
	last    int64
	recent  *recent.Unit
	account *telemetry.Account
}

func (a *appending) product(name string) *appendingProduct {
	p := a.h.product(name)
	q := a.products[p]
	if q == nil {
		q = &appendingProduct{
			Product: p, units: a.h.units[p.ID], touched: map[*recent.Unit]struct{}{}, old: map[sampleKey]*recent.Mask{},
			args: make([]sqldriver.Value, layout.FixedColumns+len(p.Columns)), newest: a.h.newestValues(p),
		}
		a.products[p] = q
	}
	return q
}

// rows writes everything through appenders, which take part in the
// transaction of their connection.
func (a *appending) rows(ctx context.Context, conn sqldriver.Conn, batches []telemetry.Sequenced) (err error) {
	var open []*driver.Appender
	appender := func(table string) (*driver.Appender, error) {
		w, err := driver.NewAppenderFromConn(conn, "", table)
		if err == nil {
			open = append(open, w)
		}
		return w, err
	}
	defer func() {
		for _, w := range open {
			if e := w.CloseWithCancel(ctx); err == nil && e != nil {
				err = e
			}
		}
	}()

	var marks *driver.Appender
	for _, b := range batches {
		if len(b.Batch.Rows) > 0 {
			p := a.product(b.Batch.Product)
			if p.appender == nil {
				if p.appender, err = appender(p.Hot().Table); err != nil {
					return err
				}
			}
			for i := range b.Batch.Rows {
				if err := a.row(p, b.Seq, i, &b.Batch.Rows[i]); err != nil {
					return fmt.Errorf("sequence %d, row %d: %w", b.Seq, i, err)
				}
			}
		}
		for i := range b.Batch.Marks {
			if marks == nil {
				if marks, err = appender("marks"); err != nil {
					return err
				}
			}
			m := &b.Batch.Marks[i]
			if err := marks.AppendRow(int64(b.Seq), int32(len(b.Batch.Rows)+i), uint8(m.Kind), m.Unit, m.At, text(m.Text)); err != nil {
				return err
			}
		}
	}
	if err := a.appendEvents(batches, appender); err != nil {
		return err
	}
	if len(a.accounts) == 0 {
		return nil
	}
	accounts, err := appender("accounts")
	if err != nil {
		return err
	}
	for unit, n := range a.accounts {
		if err := accounts.AppendRow(unit, n.Stored, n.NotConsented, n.Undeclared, n.Duplicate, n.Invalid); err != nil {
			return err
		}
	}
	return nil
}

func (a *appending) row(p *appendingProduct, seq uint64, index int, r *telemetry.Row) error {
	args := p.args
	clear(args)
	args[0], args[1] = int64(seq), int32(index)
	args[2], args[3], args[4], args[5] = r.Unit, r.Event, r.Received, r.Sequence
	args[6], args[7], args[8] = int32(r.NotConsented), int32(r.Undeclared), int32(r.Invalid)

	unit := p.unit(r.Unit)
	if p.account == nil {
		p.account = a.account(r.Unit)
	}
	account := p.account
	account.NotConsented += int64(r.NotConsented)
	account.Undeclared += int64(r.Undeclared)
	account.Invalid += int64(r.Invalid)

	if len(r.Values) > 0 {
		seen := p.seen(unit, r)
		if unit.Newest == nil && p.newest != nil {
			unit.Newest = p.newest.Unit(r.Unit)
		}
		for j := range r.Values {
			v := &r.Values[j]
			n, ok := p.finder.Find(p.Product, j, v)
			if !ok {
				return fault.New(fault.Internal, "signal %s has no column", v.Signal)
			}
			if seen.Has(n) {
				account.Duplicate++
				if a.twice == nil {
					a.twice = map[*telemetry.Value]struct{}{}
				}
				a.twice[v] = struct{}{}
				continue
			}
			seen.Set(n)
			account.Stored++
			if v.IsText {
				args[layout.FixedColumns+n] = text(v.Text)
			} else {
				args[layout.FixedColumns+n] = v.Number
				if p.newest != nil {
					p.newest.Stage(unit.Newest, n, r.Event, v.Number)
				}
			}
		}
	}
	p.rows++
	return p.appender.AppendRow(args...)
}

func (a *appending) account(unit int64) *telemetry.Account {
	account := a.accounts[unit]
	if account == nil {
		account = &telemetry.Account{}
		a.accounts[unit] = account
	}
	return account
}

// text is a string as DuckDB takes it: valid UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// fold sums the accounting up, so that its size follows the number of units,
// not of commits.
func (h *History) fold(ctx context.Context) error {
	if h.deltas < 100_000+4*h.folded {
		return nil
	}
	err := h.transaction(ctx, func(c *sql.Conn) error {
		_, err := c.ExecContext(ctx, `CREATE OR REPLACE TEMP TABLE folding AS `+sumAccounts+` GROUP BY unit;
			DELETE FROM accounts; INSERT INTO accounts SELECT * FROM folding; DROP TABLE folding`)
		if err != nil {
			return err
		}
		return c.QueryRowContext(ctx, "SELECT count(*) FROM accounts").Scan(&h.folded)
	})
	if err != nil {
		// The rows are stored; folding is tried again later.
		h.log.Warn("history: folding the accounting", "err", err)
		h.folded = max(h.folded, h.deltas/4)
		return nil
	}
	h.deltas = h.folded
	return nil
}

const sumAccounts = `SELECT unit, sum(stored)::BIGINT, sum(not_consented)::BIGINT, sum(undeclared)::BIGINT, sum(duplicate)::BIGINT, sum(invalid)::BIGINT FROM accounts`

// never is before every event time.
const never = math.MinInt64
