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
	Workers int           // at once, a channel: 4
	Poll    time.Duration // 100 ms
	First   time.Duration // wait after the first failure, doubled with each: 10 s
	Most    time.Duration // longest wait: 1 h
	GiveUp  int           // attempts: 40, more than a day
	Shown   clock.Clock   // SentAt, as people read it
	Machine clock.Clock   // waiting
}

// Dispatcher sends what is due, and tries again what failed. After a crash a
// message whose sending was not yet noted is sent again under the same id.
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
	if conf.Workers == 0 {
		conf.Workers = 4
	}
	if conf.GiveUp == 0 {
		conf.GiveUp = 40
	}
	return &Dispatcher{store, conf, log}
}

// Run dispatches until ctx ends, each channel by itself.
func (d *Dispatcher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for ch, sender := range d.conf.Senders {
		wg.Go(func() { d.run(ctx, ch, sender) })
	}
	wg.Wait()
	return nil
}

func (d *Dispatcher) run(ctx context.Context, ch Channel, sender Sender) {
	tick := time.NewTicker(d.conf.Poll)
	defer tick.Stop()
	for {
		n, err := d.Pass(ctx, ch, sender)
		if err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "messages wait", "channel", ch, "error", err)
		}
		if n > 0 && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Pass attempts what is due on a channel, at most some hundred messages, and
// returns how many.
func (d *Dispatcher) Pass(ctx context.Context, ch Channel, sender Sender) (attempted int, err error) {
	due, err := d.store.Due(ctx, ch, d.conf.Machine.Now(), 256)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	waiting, done := make(chan Message), make(chan Message)
	var wg sync.WaitGroup
	for range min(d.conf.Workers, len(due)) {
		wg.Go(func() {
			for m := range waiting {
				done <- d.attempt(ctx, sender, m)
			}
		})
	}
	go func() {
		defer close(done)
		defer wg.Wait()
		defer close(waiting)
		for _, m := range due {
			select {
			case waiting <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	return len(due), d.note(ctx, done)
}

// note keeps results a few at a time: often enough that a crash repeats little,
// seldom enough that thousands of mails are not thousands of transactions.
func (d *Dispatcher) note(ctx context.Context, done <-chan Message) (first error) {
	ctx = context.WithoutCancel(ctx) // what was sent is noted, also while stopping
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var results []Message
	save := func() {
		if len(results) == 0 {
			return
		}
		if err := d.store.SaveAttempts(ctx, results); err != nil && first == nil {
			first = fmt.Errorf("note what was sent: %w", err)
		}
		results = nil
	}
	defer func() { save() }()
	for {
		select {
		case m, ok := <-done:
			if !ok {
				return first
			}
			if results = append(results, m); len(results) >= 64 {
				save()
			}
		case <-tick.C:
			save()
		}
	}
}

func (d *Dispatcher) attempt(ctx context.Context, sender Sender, m Message) Message {
	if now := d.conf.Machine.Now(); !m.ExpiresAt.IsZero() && !now.Before(m.ExpiresAt) {
		m.NextAt, m.LastError = time.Time{}, "expired before it could be sent"
		return m
	}
	err := sender.Send(ctx, m)
	if err != nil && ctx.Err() != nil {
		return m // stopping: as if never tried
	}
	m.Attempts++
	if err == nil {
		m.SentAt, m.NextAt, m.LastError = d.conf.Shown.Now(), time.Time{}, ""
		return m
	}
	m.LastError = err.Error()
	if fault.KindOf(err) == fault.Invalid || m.Attempts >= d.conf.GiveUp {
		m.NextAt = time.Time{}
		d.log.WarnContext(ctx, "message given up", "id", m.ID, "channel", m.Channel, "attempts", m.Attempts, "error", err)
		return m
	}
	wait := d.conf.First
	for i := 1; i < m.Attempts && wait < d.conf.Most; i++ {
		wait *= 2
	}
	m.NextAt = d.conf.Machine.Now().Add(min(wait, d.conf.Most))
	return m
}
