package mqtt

import (
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

// gather adds a message to the burst; it reports false for one that is not of
// the common form, or that must not wait.
func (c *conn) gather(body []byte, s slot) (bool, error) {
	if c.burst == nil {
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
