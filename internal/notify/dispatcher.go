package notify

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
)

// DispatcherConfig says how messages are attempted. Zero values mean the defaults.
type DispatcherConfig struct {
	Senders map[Channel]Sender
	Workers map[Channel]int // at once, a channel: 4
	Poll    time.Duration   // 100 ms
	First   time.Duration   // wait after the first failure, doubled with each: 10 s
	Most    time.Duration   // longest wait: 1 h
	GiveUp  int             // attempts: 40, more than a day
	Shown   clock.Clock     // SentAt, as people read it
	Machine clock.Clock     // waiting
	// Journal remembers what was sent until the store knows it; nil: nothing
	// does, and a crash repeats what was sent since the last commit.
	Journal Journal
	// Suppressed says which of some messages are not to be sent to their
	// addresses, and why, by id; nil: all may.
	Suppressed func(ctx context.Context, all []Message) (why map[string]string, err error)
	// Refused is told of a message whose address does not exist; nil: nobody is.
	Refused func(ctx context.Context, m Message) error
}

// Journal remembers which messages were sent, at once and through the death of
// the process, until the store knows it.
type Journal interface {
	// Sent notes a message before its connection is given another one.
	Sent(id, remoteID string) error
	// Known forgets messages that the store has noted.
	Known(ids []string) error
	// Left is what was noted and not forgotten when the journal was opened: ids
	// with what the next hop called them.
	Left() map[string]string
}

// Dispatcher sends what is due, and tries again what failed. After a crash a
// message that was being handed over is sent again under the same id: at most
// one for each worker, if there is a journal.
type Dispatcher struct {
	store Store
	conf  DispatcherConfig
	log   *slog.Logger
}

// NewDispatcher makes a dispatcher. Messages of a channel without a sender wait.
func NewDispatcher(store Store, log *slog.Logger, conf DispatcherConfig) *Dispatcher {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&conf.Poll, 100*time.Millisecond)
	def(&conf.First, 10*time.Second)
	def(&conf.Most, time.Hour)
	if conf.GiveUp == 0 {
		conf.GiveUp = 40
	}
	return &Dispatcher{store, conf, log}
}

// Run dispatches until ctx ends, each channel by itself.
func (d *Dispatcher) Run(ctx context.Context) error {
	if err := d.recall(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for ch, sender := range d.conf.Senders {
		wg.Go(func() { d.run(ctx, ch, sender) })
	}
	wg.Wait()
	return nil
}

// recall notes what was sent by a process that died before it could be noted.
func (d *Dispatcher) recall(ctx context.Context) error {
	if d.conf.Journal == nil {
		return nil
	}
	var ids []string
	for id, remote := range d.conf.Journal.Left() {
		ids = append(ids, id)
		m, err := d.store.Message(ctx, id)
		if fault.KindOf(err) == fault.NotFound || err == nil && m.NextAt.IsZero() {
			continue // erased since, or noted after all
		}
		if err != nil {
			return fmt.Errorf("recall what was sent: %w", err)
		}
		a := d.accepted(m, remote)
		if err := d.store.SaveAttempts(ctx, []Message{a.Message}, a.deliveries); err != nil {
			return fmt.Errorf("recall what was sent: %w", err)
		}
	}
	if len(ids) > 0 {
		d.log.InfoContext(ctx, "messages sent just before the last process died are not sent again", "messages", len(ids))
	}
	return d.conf.Journal.Known(ids)
}

// Pass attempts what is due on a channel, at most limit messages, notes it, and
// returns how many.
func (d *Dispatcher) Pass(ctx context.Context, ch Channel, sender Sender, limit int) (n int, err error) {
	q := d.queue(ch, sender)
	n, err = q.fetch(ctx, limit)
	close(q.waiting)
	if err != nil || n == 0 {
		return 0, err
	}
	go q.work(ctx, min(q.workers, n))
	for a := range q.done {
		q.unnoted = append(q.unnoted, a)
	}
	return n, q.save(context.WithoutCancel(ctx)) // what was sent is noted, also while stopping
}

// accepted is a message that the next hop took.
func (d *Dispatcher) accepted(m Message, remoteID string) attempted {
	m.Attempts++
	m.State, m.SentAt, m.NextAt, m.LastError, m.RemoteID = Sent, d.conf.Shown.Now(), time.Time{}, "", remoteID
	return attempted{Message: m, deliveries: []Delivery{{MessageID: m.ID, At: m.SentAt, Channel: m.Channel, Attempt: m.Attempts, Result: Accepted, RemoteID: remoteID}}}
}

// unsent is what becomes of a message that must not be sent.
func (d *Dispatcher) unsent(j job) (a attempted, ok bool) {
	switch now := d.conf.Machine.Now(); {
	case !j.ExpiresAt.IsZero() && !now.Before(j.ExpiresAt):
		j.State, j.LastError = Expired, "expired before it could be sent"
	case j.suppressed != "":
		j.State, j.LastError = Suppressed, j.suppressed
	default:
		return a, false
	}
	j.NextAt = time.Time{}
	return attempted{Message: j.Message}, true
}

// after is a message after an attempt that ended so.
func (d *Dispatcher) after(ctx context.Context, m Message, remote string, err error) attempted {
	if err == nil {
		a := d.accepted(m, remote)
		if d.conf.Journal != nil {
			if err := d.conf.Journal.Sent(m.ID, remote); err != nil {
				d.log.WarnContext(ctx, "the journal of what was sent cannot be written: a crash now would repeat messages", "error", err)
			} else {
				a.journalled = true
			}
		}
		return a
	}
	if ctx.Err() != nil {
		return attempted{Message: m} // stopping: as if never tried
	}
	m.Attempts++
	m.LastError = err.Error()
	attempt := Delivery{MessageID: m.ID, At: d.conf.Shown.Now(), Channel: m.Channel, Attempt: m.Attempts, Result: Deferred, Detail: m.LastError}
	kind := fault.KindOf(err)
	if kind == fault.Invalid || kind == fault.NotFound || m.Attempts >= d.conf.GiveUp {
		attempt.Result, m.State, m.NextAt = Refused, Failed, time.Time{}
		if kind == fault.NotFound && d.conf.Refused != nil {
			if err := d.conf.Refused(context.WithoutCancel(ctx), m); err != nil {
				d.log.WarnContext(ctx, "an address that does not exist could not be marked", "error", err)
			}
		}
		d.log.WarnContext(ctx, "message given up", "id", m.ID, "channel", m.Channel, "attempts", m.Attempts, "error", err)
		return attempted{Message: m, deliveries: []Delivery{attempt}}
	}
	wait := d.conf.First
	for i := 1; i < m.Attempts && wait < d.conf.Most; i++ {
		wait *= 2
	}
	m.NextAt = d.conf.Machine.Now().Add(min(wait, d.conf.Most))
	return attempted{Message: m, deliveries: []Delivery{attempt}}
}
