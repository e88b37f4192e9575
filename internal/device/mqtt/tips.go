package mqtt

import "fettle.dev/fettle/internal/fault"

// The topics of units' displays: what to show, and what came of it.
const (
	TopicTips      = "fettle/v1/tips"
	TopicTipEvents = "fettle/v1/tips/events"
)

// Tips implements tips.Listener.
func (c *conn) Tips(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tips {
		c.push(TopicTips, payload)
	}
}

// listenForTips sends what the display is to show, now and from now on.
func (c *conn) listenForTips() error {
	if err := c.srv.cfg.Tips.Listen(c.ctx, c.id.UnitID, c); err != nil {
		return c.refused(fault.Wrap(fault.Unavailable, "tips", err))
	}
	return nil
}

// tipEvents takes what came of tips. It is answered when it is kept.
func (c *conn) tipEvents(body []byte, s slot) error {
	_, err := c.srv.cfg.Tips.Take(c.ctx, c.id.UnitID, body)
	switch {
	case fault.KindOf(err) == fault.Invalid:
		return c.unreadable(s, err)
	case err != nil:
		return c.refused(err)
	}
	c.srv.gateway.Contact(c.id)
	return c.reply(s, reasonOK, "")
}
