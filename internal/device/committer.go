package device

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// Receipt hears what became of a submission. Both methods are called by the
// committer and must not wait.
type Receipt interface {
	// Committed is called once for each submission, in the order submitted:
	// err is nil when the message is durable. It returns true when Flush shall
	// be called at the end of this commit; once a commit is enough.
	Committed(tag uint64, err error) (flush bool)
	// Flush sends the answers of a commit together.
	Flush()
}

// A submission of rows of one unit, or of marks.
type submission struct {
	receipt Receipt // nil: nobody waits
	tag     uint64
	cost    int64
}

// rowsOf is the part of a commit that belongs to one product.
type rowsOf struct {
	batch telemetry.Batch
	count counts
}

// commit is what becomes durable together.
type commit struct {
	opened  time.Time // real time of the first submission
	parts   []*rowsOf
	marks   []telemetry.Mark
	marked  map[int64]struct{} // units with a mark that later rows must follow
	waiting []submission
	rows    int
	cost    int64
	expect  int // rows, about
	looked  int // submissions when the committer last looked
}

func (c *commit) part(product string) *rowsOf {
	for _, p := range c.parts {
		if p.batch.Product == product {
			return p
		}
	}
	p := &rowsOf{batch: telemetry.Batch{Product: product}}
	if len(c.parts) == 0 {
		p.batch.Rows = make([]telemetry.Row, 0, c.expect)
	}
	c.parts = append(c.parts, p)
	return p
}

// committer gathers rows and marks of many units into one commit after the
// other. There is one order: what is received earlier is earlier in the
// stream. While a commit is being made durable the next one fills.
type committer struct {
	stream  telemetry.Stream
	clock   clock.Clock
	log     *slog.Logger
	metrics *metrics
	linger  time.Duration
	maxRows int
	maxCost int64

	budget *semaphore.Weighted // cost of everything submitted and not yet answered
	size   int64
	wake   chan struct{}
	full   full

	mu       sync.Mutex
	rows     int // of the last commit: the next is about as large
	open     *commit
	sealed   []*commit
	closed   bool
	received int64 // of the newest commit, Unix ms
}

// pauses is how many times shorter than the longest linger the pause is after
// which a commit waits no longer.
const pauses = 8

// publishTimeout ends a commit that the stream does not answer.
const publishTimeout = 30 * time.Second

// now is the machine's time: waiting is real, whatever the clock shows.
func now() time.Time { return clock.Real{}.Now() }

var errStale = errors.New("the unit changed meanwhile")

var errClosed = fault.New(fault.Unavailable, "the server is shutting down")

// reserve waits until cost fits into what may be in flight, and while the
// stream is full: backpressure.
func (c *committer) reserve(ctx context.Context, cost int64) (int64, error) {
	cost = min(cost, c.size)
	if err := c.room(ctx); err != nil {
		return 0, err
	}
	if err := c.budget.Acquire(ctx, cost); err != nil {
		return 0, fault.New(fault.Unavailable, "%w: %w", ErrBusy, err)
	}
	return cost, nil
}

// submitRows takes rows and events of one unit, whose cost is reserved. Rows judged
// by what is no longer true of the unit are not taken: errStale. Whoever
// changes a unit drops it first and marks the stream then, so no row that
// follows the mark was judged by the old state.
func (c *committer) submitRows(u *unit, rows []telemetry.Row, events []telemetry.Event, n counts, s submission) error {
	c.mu.Lock()
	if c.closed || u.stale.Load() {
		closed := c.closed
		c.mu.Unlock()
		c.budget.Release(s.cost)
		if closed {
			return errClosed
		}
		return errStale
	}
	open := c.opened()
	if len(open.marked) > 0 {
		if _, after := open.marked[u.id.Key]; after { // in a batch, marks come after rows
			c.seal()
			open = c.opened()
		}
	}
	p := open.part(u.id.Product)
	p.batch.Rows = append(p.batch.Rows, rows...)
	p.batch.Events = append(p.batch.Events, events...)
	p.count.add(n)
	open.rows += len(rows) + len(events)
	c.added(open, s)
	begun := len(open.waiting) == 1 || len(c.sealed) > 0
	c.mu.Unlock()
	if begun { // else the committer knows of this commit and when to look
		c.signal()
	}
	return nil
}

// submitMarks takes marks whose cost is reserved. Their time is set when the
// commit is sealed.
func (c *committer) submitMarks(marks []telemetry.Mark, s submission) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		c.budget.Release(s.cost)
		return errClosed
	}
	open := c.opened()
	open.marks = append(open.marks, marks...)
	for _, m := range marks {
		if m.Kind == telemetry.MarkContact || m.Kind == telemetry.MarkTick {
			continue
		}
		if open.marked == nil {
			open.marked = map[int64]struct{}{}
		}
		open.marked[m.Unit] = struct{}{}
	}
	open.rows += len(marks)
	c.added(open, s)
	begun := len(open.waiting) == 1 || len(c.sealed) > 0
	c.mu.Unlock()
	if begun { // else the committer knows of this commit and when to look
		c.signal()
	}
	return nil
}

func (c *committer) opened() *commit {
	if c.open == nil {
		c.open = &commit{opened: now(), expect: c.rows, looked: 1}
	}
	return c.open
}

func (c *committer) added(open *commit, s submission) {
	open.waiting = append(open.waiting, s)
	open.cost += s.cost
	if open.rows >= c.maxRows || open.cost >= c.maxCost {
		c.seal()
	}
}

// seal ends the open commit. Everything in it was received now: so the order
// of receive times is the stream's order, over all products.
func (c *committer) seal() {
	if c.open == nil {
		return
	}
	at := max(c.clock.Now().UnixMilli(), c.received)
	c.received = at
	for _, p := range c.open.parts {
		for i := range p.batch.Rows {
			p.batch.Rows[i].Received = at
		}
		for i := range p.batch.Events {
			p.batch.Events[i].Received = at
		}
	}
	for i := range c.open.marks {
		c.open.marks[i].At = at
	}
	c.rows = c.open.rows
	c.sealed = append(c.sealed, c.open)
	c.open = nil
}

func (c *committer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// next gives the next commit, or how long to wait for it.
func (c *committer) next() (ready *commit, wait time.Duration, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sealed) == 0 && c.open != nil {
		// While more keeps coming it waits for that, else not: many share a
		// commit, and nobody waits for others who are waiting themselves.
		left, pause := c.linger-now().Sub(c.open.opened), c.linger/pauses
		calm := c.open.looked == len(c.open.waiting) && now().Sub(c.open.opened) >= pause
		c.open.looked = len(c.open.waiting)
		if left > 0 && !calm && !c.closed {
			return nil, min(left, pause), false
		}
		c.seal()
	}
	if len(c.sealed) == 0 {
		return nil, 0, c.closed
	}
	ready = c.sealed[0]
	c.sealed[0] = nil
	c.sealed = c.sealed[1:]
	return ready, 0, false
}

// run publishes commits until stop is closed and everything taken is answered.
func (c *committer) run(ctx context.Context) {
	type published struct {
		*commit
		err error
	}
	answers := make(chan published, 4) // while a commit is answered the next one is made durable
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		for p := range answers {
			c.finish(p.commit, p.err)
		}
	}()
	defer func() {
		close(answers)
		<-answered
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		ready, wait, done := c.next()
		if done {
			return
		}
		if ready != nil {
			answers <- published{ready, c.publish(ctx, ready)}
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-c.wake: // more came: it may be enough, or the end
			}
			continue
		}
		<-c.wake
	}
}

func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	close(c.full.ending)
	c.signal()
}

// publish makes a commit durable: rows of the products side by side, then the
// marks, with the rows where there is only one product.
func (c *committer) publish(ctx context.Context, cm *commit) error {
	begin := now()
	defer func() { c.metrics.commitTook(now().Sub(begin)) }()
	parts := slices.DeleteFunc(slices.Clone(cm.parts), func(p *rowsOf) bool { return p.batch.Empty() })
	if len(parts) == 1 {
		parts[0].batch.Marks = cm.marks
		return c.insist(ctx, &parts[0].batch)
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, p := range parts {
		group.Go(func() error { return c.insist(inner, &p.batch) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if len(cm.marks) == 0 {
		return nil
	}
	return c.insist(ctx, &telemetry.Batch{Marks: cm.marks})
}

// finish answers everyone who waits for a commit, each connection once.
func (c *committer) finish(cm *commit, err error) {
	if err != nil {
		err = fault.Wrap(fault.Unavailable, "store", err)
		c.log.Error("a commit failed; its messages are not acknowledged", "messages", len(cm.waiting), "rows", cm.rows, "error", err)
	}
	c.metrics.committed(cm, err)
	var cost int64
	var flush []Receipt
	for _, s := range cm.waiting {
		cost += s.cost
		if s.receipt != nil && s.receipt.Committed(s.tag, err) {
			flush = append(flush, s.receipt)
		}
	}
	for _, r := range flush {
		r.Flush()
	}
	c.budget.Release(cost)
}

// awaited is a Receipt for a caller that waits.
type awaited chan error

// Committed hands the result over.
func (a awaited) Committed(_ uint64, err error) bool {
	a <- err
	return false
}

// Flush has nothing to send.
func (a awaited) Flush() {}

// rowCost is roughly what a row takes in the stream.
func rowCost(r *telemetry.Row) int64 {
	cost := int64(48)
	for i := range r.Values {
		cost += int64(len(r.Values[i].Signal)+len(r.Values[i].Text)) + 16
	}
	return cost
}
