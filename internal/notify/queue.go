package notify

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// What waits in memory is what is sent in about a quarter of a second, so that
// what is urgent does not wait behind much.
const (
	window   = 125 * time.Millisecond
	leastAim = 16
	firstAim = 256
	mostAim  = 2048
	mostSave = 512 // messages of a transaction
	saveTime = 50 * time.Millisecond
)

// queue is a channel's messages on their way. They are read ahead while others
// are sent, and what became of them is noted some at a time: thousands of mails
// are not thousands of transactions, and the connections do not wait for one.
type queue struct {
	*Dispatcher
	ch      Channel
	sender  Sender
	workers int

	waiting chan job
	done    chan attempted
	places  [Urgencies]Place

	mu     sync.Mutex
	inHand map[string]struct{} // read, and not noted yet
	late   map[string]struct{} // noted since the records are being read: what is read may not know it; nil: they are not

	unnoted []attempted // of whoever notes

	aim atomic.Int64 // how many are to wait in memory
}

// job is a message to be attempted, unless it is suppressed.
type job struct {
	Message
	suppressed string // why
}

// attempted is a message after an attempt.
type attempted struct {
	Message
	deliveries []Delivery
	journalled bool
}

func (d *Dispatcher) queue(ch Channel, sender Sender) *queue {
	workers := d.conf.Workers[ch]
	if workers == 0 {
		workers = 4
	}
	q := &queue{
		Dispatcher: d, ch: ch, sender: sender, workers: workers, inHand: map[string]struct{}{},
		waiting: make(chan job, mostAim), done: make(chan attempted, mostSave), // filled while what came before is being noted
	}
	q.aim.Store(firstAim)
	return q
}

// run sends a channel's messages until ctx ends.
func (d *Dispatcher) run(ctx context.Context, ch Channel, sender Sender) {
	q := d.queue(ch, sender)
	go q.work(ctx, q.workers)
	noted := make(chan struct{})
	go func() { defer close(noted); q.note(ctx) }()
	tick := time.NewTicker(d.conf.Poll)
	defer tick.Stop()
	for ctx.Err() == nil {
		free := int(q.aim.Load()) - len(q.waiting)
		n := 0
		if free >= int(q.aim.Load())/2 {
			var err error
			if n, err = q.fetch(ctx, free); err != nil && ctx.Err() == nil {
				d.log.WarnContext(ctx, "messages wait", "channel", ch, "error", err)
			}
		}
		if n > 0 {
			continue
		}
		wait := tick.C
		if len(q.waiting) > 0 { // there is more: looked at before they are sent
			wait = time.After(min(window/8, d.conf.Poll))
		}
		select {
		case <-ctx.Done():
		case <-wait:
		}
	}
	close(q.waiting)
	<-noted
}

// fetch reads what is due and not in hand, the urgent first, at most limit
// messages, and says how many.
func (q *queue) fetch(ctx context.Context, limit int) (n int, err error) {
	now := q.conf.Machine.Now()
	q.mu.Lock()
	q.late = map[string]struct{}{}
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.late = nil
	}()
	var fresh []Message
	for u := range Urgencies {
		for len(fresh) < limit {
			part, err := q.store.DueAfter(ctx, q.ch, u, now, q.places[u], limit-len(fresh))
			if err != nil {
				q.release(fresh)
				q.places = [Urgencies]Place{}
				return 0, err
			}
			before := len(fresh)
			for _, m := range part {
				if q.take(m.ID) {
					fresh = append(fresh, m)
				}
			}
			if len(part) == 0 { // to its end; what came in between, or is tried again, stands further ahead
				q.places[u] = Place{}
				break
			}
			last := part[len(part)-1]
			q.places[u] = Place{last.NextAt, last.ID}
			if len(fresh) > before {
				break
			}
		}
	}
	if len(fresh) == 0 {
		return 0, nil
	}
	var suppressed map[string]string
	if q.conf.Suppressed != nil {
		if suppressed, err = q.conf.Suppressed(ctx, fresh); err != nil {
			q.release(fresh)
			q.places = [Urgencies]Place{}
			return 0, err
		}
	}
	for _, m := range fresh {
		q.waiting <- job{m, suppressed[m.ID]} // it has room: limit is what is free
	}
	return len(fresh), nil
}

func (q *queue) take(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, held := q.inHand[id]
	_, late := q.late[id]
	if held || late {
		return false
	}
	q.inHand[id] = struct{}{}
	return true
}

func (q *queue) release(list []Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range list {
		delete(q.inHand, list[i].ID)
		if q.late != nil {
			q.late[list[i].ID] = struct{}{}
		}
	}
}

// work attempts what waits, by some workers, until there is no more or ctx ends;
// then it closes done.
func (q *queue) work(ctx context.Context, workers int) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for j := range q.waiting {
				if ctx.Err() != nil {
					return // as if never read
				}
				q.pipe(ctx, j)
			}
		})
	}
	wg.Wait()
	close(q.done)
}

// pipe attempts a message, and with a sender that can what waits behind it.
func (q *queue) pipe(ctx context.Context, first job) {
	p, ok := q.sender.(Pipeliner)
	if !ok {
		if a, ok := q.unsent(first); ok {
			q.done <- a
			return
		}
		remote, err := q.sender.Send(ctx, first.Message)
		q.done <- q.after(ctx, first.Message, remote, err)
		return
	}
	given := false
	p.Pipe(ctx, func() (Message, bool) {
		for {
			j := first
			if given {
				var ok bool
				select {
				case j, ok = <-q.waiting:
					if !ok || ctx.Err() != nil {
						return Message{}, false
					}
				default:
					return Message{}, false
				}
			}
			given = true
			if a, ok := q.unsent(j); ok {
				q.done <- a
				continue
			}
			return j.Message, true
		}
	}, func(m Message, remote string, err error) { q.done <- q.after(ctx, m, remote, err) })
	if !given {
		q.done <- attempted{Message: first.Message} // as if never tried
	}
}

// note keeps what became of messages until there is no more.
func (q *queue) note(running context.Context) {
	ctx := context.WithoutCancel(running) // what was sent is noted, also while stopping
	tick, measure := time.NewTicker(saveTime), time.NewTicker(window)
	defer tick.Stop()
	defer measure.Stop()
	n := 0
	save := func() {
		if err := q.save(ctx); err != nil {
			q.log.WarnContext(ctx, "what was sent waits to be noted", "channel", q.ch, "messages", len(q.unnoted), "error", err)
		}
	}
	for {
		done := q.done
		if len(q.unnoted) >= 4*mostSave && running.Err() == nil {
			done = nil // the records do not take it: no more is sent meanwhile
		}
		select {
		case a, ok := <-done:
			if !ok {
				save()
				return
			}
			q.unnoted = append(q.unnoted, a)
			if n++; len(q.unnoted) == mostSave {
				save()
			}
		case <-tick.C:
			save()
		case <-measure.C:
			if n > 0 {
				q.aim.Store(int64(min(max(2*n, leastAim), mostAim)))
			}
			n = 0
		}
	}
}

// save notes what became of messages, in one transaction. What cannot be noted
// stays in hand, so that it is not sent again, and is noted by the next save.
func (q *queue) save(ctx context.Context) error {
	if len(q.unnoted) == 0 {
		return nil
	}
	n, err := q.settle(ctx, q.unnoted)
	q.unnoted = append(q.unnoted[:0], q.unnoted[n:]...)
	return err
}

// settle notes messages, by halves where they cannot be noted together: one that
// was erased while it was sent does not hold up the others. It says how many, of
// the first, are done with.
func (q *queue) settle(ctx context.Context, list []attempted) (n int, err error) {
	if err = q.keep(ctx, list); err == nil {
		return len(list), nil
	}
	if len(list) == 1 {
		if _, gone := q.store.Message(ctx, list[0].ID); fault.KindOf(gone) != fault.NotFound {
			return 0, err
		}
		q.release([]Message{list[0].Message})
		return 1, nil
	}
	half := len(list) / 2
	if n, err = q.settle(ctx, list[:half]); err != nil {
		return n, err
	}
	rest, err := q.settle(ctx, list[half:])
	return half + rest, err
}

func (q *queue) keep(ctx context.Context, all []attempted) error {
	messages, deliveries, journalled := make([]Message, len(all)), make([]Delivery, 0, len(all)), make([]string, 0, len(all))
	for i, a := range all {
		messages[i], deliveries = a.Message, append(deliveries, a.deliveries...)
		if a.journalled {
			journalled = append(journalled, a.ID)
		}
	}
	if err := q.store.SaveAttempts(ctx, messages, deliveries); err != nil {
		return fmt.Errorf("note what was sent: %w", err)
	}
	q.release(messages)
	if len(journalled) == 0 {
		return nil
	}
	if err := q.conf.Journal.Known(journalled); err != nil { // the next start finds that they are noted
		q.log.WarnContext(ctx, "the journal of what was sent cannot be shortened", "error", err)
	}
	return nil
}
