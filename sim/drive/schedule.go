// Package drive brings a simulated fleet to life against a server: chargers
// report over MQTT and install updates over hawkBit DDI, and their owners read
// mail and choose. Everything happens at simulated times out of a few event
// queues, not a goroutine and a timer a unit; when the machine is too slow,
// the fleet sends later, it never skips.
package drive

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/sim"
)

// event is something due at a simulated time.
type event struct {
	at int64 // Unix ns, simulated
	u  *unit // reports, when fn is nil
	fn func()
}

type events []event

func (h events) Len() int           { return len(h) }
func (h events) Less(i, j int) bool { return h[i].at < h[j].at }
func (h events) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *events) Push(x any)        { *h = append(*h, x.(event)) }

func (h *events) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}

// queue runs events of its share of the fleet in the order of their times.
type queue struct {
	clock sim.Clock
	wake  chan struct{}

	mu     sync.Mutex
	events events

	lag atomic.Int64 // ns, simulated: how late the newest event was
}

func newQueue(c sim.Clock) *queue {
	return &queue{clock: c, wake: make(chan struct{}, 1)}
}

func (q *queue) push(e event) {
	q.mu.Lock()
	first := len(q.events) == 0 || e.at < q.events[0].at
	heap.Push(&q.events, e)
	q.mu.Unlock()
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// at runs fn at a simulated time; fn must not block.
func (q *queue) at(t time.Time, fn func()) { q.push(event{at: t.UnixNano(), fn: fn}) }

// run handles events until ctx ends.
func (q *queue) run(ctx context.Context) {
	due := make([]event, 0, 128)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := q.clock.Now().UnixNano()
		due = due[:0]
		wait := 20 * time.Millisecond
		q.mu.Lock()
		for len(q.events) > 0 && len(due) < cap(due) && q.events[0].at <= now {
			due = append(due, heap.Pop(&q.events).(event))
		}
		if len(q.events) > 0 {
			wait = min(wait, q.clock.Real(time.Duration(q.events[0].at-now)))
		}
		q.mu.Unlock()
		if len(due) > 0 {
			q.lag.Store(now - due[len(due)-1].at)
		} else {
			q.lag.Store(0)
			timer.Reset(max(wait, 500*time.Microsecond)) // coarser wakes batch the work
			select {
			case <-ctx.Done():
			case <-q.wake:
			case <-timer.C:
			}
		}
		for i := range due {
			if e := &due[i]; e.fn != nil {
				e.fn()
			} else {
				e.u.report(e.at)
			}
			due[i] = event{}
		}
	}
}

// pool runs jobs on a few goroutines; the list of waiting jobs is not bounded.
type pool struct {
	mu      sync.Mutex
	waiting []func(context.Context)
	urgent  []func(context.Context) // go first
	ready   *sync.Cond
	closed  bool
}

func newPool() *pool {
	p := &pool{}
	p.ready = sync.NewCond(&p.mu)
	return p
}

func (p *pool) submit(job func(context.Context)) {
	p.mu.Lock()
	p.waiting = append(p.waiting, job)
	p.mu.Unlock()
	p.ready.Signal()
}

// ahead has a job go before all that were submitted.
func (p *pool) ahead(job func(context.Context)) {
	p.mu.Lock()
	p.urgent = append(p.urgent, job)
	p.mu.Unlock()
	p.ready.Signal()
}

// backlog is how many jobs wait.
func (p *pool) backlog() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// run works on jobs with n goroutines until ctx ends.
func (p *pool) run(ctx context.Context, n int) {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.ready.Broadcast()
	})
	defer stop()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for {
				p.mu.Lock()
				for len(p.urgent)+len(p.waiting) == 0 && !p.closed {
					p.ready.Wait()
				}
				if p.closed {
					p.mu.Unlock()
					return
				}
				from := &p.urgent
				if len(*from) == 0 {
					from = &p.waiting
				}
				job := (*from)[0]
				(*from)[0] = nil
				*from = (*from)[1:]
				p.mu.Unlock()
				job(ctx)
			}
		})
	}
	wg.Wait()
}
