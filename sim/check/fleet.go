package check

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/sim/client"
)

// Options say what a fleet of units sends and where to.
type Options struct {
	MQTT  string // host:port
	HTTP  string // scheme://host:port of the units' door
	Units []Unit
	Seed  uint64
	Start time.Time     // event time of each unit's first message
	Most  int           // messages of a unit
	Every time.Duration // between two messages of a unit, at least
}

// Fleet drives units.
type Fleet struct {
	options Options
	drivers []*driver
	client  *http.Client
	quiet   atomic.Bool
	wg      sync.WaitGroup
	cancel  context.CancelFunc

	mu    sync.Mutex
	notes []error
}

// Start lets the units send until ctx ends, until all have sent Most messages,
// or, after Quiet, until all that was sent is acknowledged.
func Start(ctx context.Context, o Options) *Fleet {
	ctx, cancel := context.WithCancel(ctx)
	f := &Fleet{options: o, client: client.HTTP(64), cancel: cancel}
	for i, u := range o.Units {
		d := &driver{
			Unit: u, fleet: f, open: map[uint16]sent{}, wake: make(chan struct{}, 1),
			script: script{seed: mix(o.Seed, i, 9), start: o.Start.UnixMilli(), silent: u.Silent},
		}
		f.drivers = append(f.drivers, d)
	}
	for _, d := range f.drivers {
		f.wg.Go(func() { d.run(ctx) })
	}
	return f
}

// Quiet lets no unit begin another message.
func (f *Fleet) Quiet() { f.quiet.Store(true) }

func (f *Fleet) quieted() bool { return f.quiet.Load() }

// Wait waits until nothing is left to do. An error says what was not
// acknowledged when ctx ended.
func (f *Fleet) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { f.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		acked, open := f.Acked(), 0
		for _, d := range f.drivers {
			d.mu.Lock()
			open += len(d.open)
			d.mu.Unlock()
		}
		return fmt.Errorf("%d messages are acknowledged, %d wait: %w", acked, open, ctx.Err())
	}
}

// Stop cuts every unit off where it is.
func (f *Fleet) Stop() {
	f.cancel()
	f.wg.Wait()
	f.client.CloseIdleConnections()
}

// Acked is how many messages were acknowledged, all copies.
func (f *Fleet) Acked() (n int) {
	for _, d := range f.drivers {
		d.mu.Lock()
		n += d.acked
		d.mu.Unlock()
	}
	return n
}

// note keeps what should not have happened, the first few.
func (f *Fleet) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.notes) < 20 {
		f.notes = append(f.notes, err)
	}
}

func (f *Fleet) noted() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.notes...)
}
