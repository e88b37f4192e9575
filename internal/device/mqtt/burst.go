package mqtt

import (
	"io"
	"sync"

	"fettle.dev/fettle/internal/device"
)

// burst is the telemetry of several PUBLISHes that came in one read. It is
// submitted at once, and they are answered at once: locks, clock and commit
// cost once a burst, not once a message.
type burst struct {
	payload device.Payload // one message for each slot
	slots   []slot
}

// maxBurst is how many messages are gathered.
const maxBurst = 64

var bursts = sync.Pool{New: func() any { return new(burst) }}

// hands is how many connections at a time have messages parsed that are not yet
// submitted. When the store is slower than the fleet all others wait with what
// they have read, a small part of it.
const hands = 256

// hold takes one of the hands, or waits for it. Whoever has one waits for
// nothing but what all wait for, room in the gateway: else it yields.
func (c *conn) hold() error {
	if c.holds {
		return nil
	}
	select {
	case c.srv.hands <- struct{}{}:
		c.holds = true
		return nil
	case <-c.ctx.Done():
		return io.EOF
	}
}

// Yield gives the hand back, if the connection has one.
func (c *conn) Yield() {
	if c.holds {
		c.holds = false
		<-c.srv.hands
	}
}

// gather adds a message to the burst; it reports false for one that is not of
// the common form, or that must not wait.
func (c *conn) gather(body []byte, s slot) (bool, error) {
	if c.burst == nil {
		if err := c.hold(); err != nil {
			return true, err
		}
		c.burst = bursts.Get().(*burst)
	}
	b := c.burst
	if !b.payload.AppendFlat(body) {
		return false, nil
	}
	b.slots = append(b.slots, s)
	if len(b.slots) < min(maxBurst, c.srv.cfg.Window) {
		return true, nil
	}
	return true, c.flushBurst()
}

// flushBurst submits what was gathered.
func (c *conn) flushBurst() error {
	b := c.burst
	if b == nil {
		return nil
	}
	c.burst = nil
	defer func() {
		b.payload.Reset()
		b.slots = b.slots[:0]
		bursts.Put(b)
		c.Yield()
	}()
	if len(b.slots) == 0 {
		return nil
	}
	outcomes := c.wanted(len(b.slots))
	if outcomes != nil {
		for i := range b.slots {
			b.slots[i].wait = 2
		}
	}
	tag, err := c.reserve(b.slots...)
	if err != nil {
		return err
	}
	if err := c.srv.gateway.Submit(c.ctx, c.id, b.payload.Messages, outcomes, c, tag); err != nil {
		return c.refused(err)
	}
	for i := range outcomes {
		c.answer(tag-uint64(len(outcomes)-1-i), reasonOK, c.remark(outcomes[i:i+1]))
	}
	return nil
}

// wanted gives room for n outcomes if the client hears of them.
func (c *conn) wanted(n int) []device.Outcome {
	if !c.v5 || c.quiet {
		return nil
	}
	if n > maxBurst {
		return make([]device.Outcome, n)
	}
	if cap(c.outcomes) < n {
		c.outcomes = make([]device.Outcome, n)
	}
	return c.outcomes[:n]
}
