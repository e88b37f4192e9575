package mqtt

import (
	"sync"

	"fettle.dev/fettle/internal/device"
)

// TopicEvents is where a unit tells of features used, fault codes and log lines.
const TopicEvents = "fettle/v1/events"

var eventPayloads = sync.Pool{New: func() any { return new(device.EventPayload) }}

// events takes events as telemetry takes samples.
func (c *conn) events(body []byte, s slot) error {
	payload := eventPayloads.Get().(*device.EventPayload)
	defer eventPayloads.Put(payload)
	if err := payload.Parse(body); err != nil {
		return c.unreadable(s, err)
	}
	if len(payload.Events) == 0 { // an empty array holds nothing to store
		tag, err := c.reserve(s)
		if err == nil {
			c.answer(tag, reasonOK, "")
		}
		return err
	}
	var outcomes []device.Outcome
	if c.v5 && s.kind != 0 && !c.quiet {
		outcomes = make([]device.Outcome, len(payload.Events))
		s.wait = 2
	}
	tag, err := c.reserve(s)
	if err != nil {
		return err
	}
	if err := c.srv.gateway.SubmitEvents(c.ctx, c.id, payload.Events, outcomes, c, tag); err != nil {
		return c.refused(err)
	}
	if outcomes != nil {
		c.answer(tag, reasonOK, c.remark(outcomes))
	}
	return nil
}
