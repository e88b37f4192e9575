package device

import (
	"context"
	"errors"
	"sync"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// full is whether the stream has no room. While it has none, what was taken
// waits and nothing more is taken: units are slowed, no connection is closed,
// and all goes on when there is room.
type full struct {
	ending chan struct{} // closed when the gateway stops

	mu   sync.Mutex
	over chan struct{} // closed when there is room; nil: there is
	why  error
}

// How often a stream that is full is asked again.
const fullFirst, fullMost = 20 * time.Millisecond, 500 * time.Millisecond

// insist publishes a batch; one that there is no room for is tried again until
// there is, or the gateway stops.
func (c *committer) insist(ctx context.Context, b *telemetry.Batch) error {
	for wait := fullFirst; ; wait = min(2*wait, fullMost) {
		err := c.publishOnce(ctx, b)
		if !errors.Is(err, telemetry.ErrFull) {
			if err == nil && c.full.clear() {
				c.log.Info("the stream has room again: units are read on")
				c.metrics.full.Set(0)
			}
			return err
		}
		if c.full.set(err) {
			c.log.Error("the stream has no room: units wait until it has", "error", err)
			c.metrics.full.Set(1)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		case <-c.full.ending:
			t.Stop()
			return err
		}
	}
}

func (c *committer) publishOnce(ctx context.Context, b *telemetry.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	return c.stream.Publish(ctx, b)
}

// Ready reports why nothing is taken from units now, or nil.
func (g *Gateway) Ready(context.Context) error { return g.commits.full.refusal() }

// room waits while the stream is full.
func (c *committer) room(ctx context.Context) error {
	over, why := c.full.now()
	if over == nil {
		return nil
	}
	select {
	case <-over:
		return nil
	case <-c.full.ending:
		return errClosed
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "%w: %w", ErrBusy, why)
	}
}

func (f *full) now() (over <-chan struct{}, why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over, f.why
}

// refusal says that there is no room, or nothing.
func (f *full) refusal() error {
	if over, why := f.now(); over != nil {
		return fault.New(fault.Unavailable, "%w: %w", ErrBusy, why)
	}
	return nil
}

func (f *full) set(why error) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first = f.over == nil
	if first {
		f.over, f.why = make(chan struct{}), why
	}
	return first
}

func (f *full) clear() (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over == nil {
		return false
	}
	close(f.over)
	f.over = nil
	return true
}
