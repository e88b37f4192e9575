package mqtt

import (
	"errors"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
)

// routed takes a message on a topic that is not one of Fettle's: as the unit's
// product maps it, or as ThingsBoard's.
func (c *conn) routed(p *publish, s slot) error {
	route, err := c.srv.gateway.Route(c.ctx, c.id, string(p.topic))
	if err != nil {
		return c.foreign(&route, err, s)
	}
	if route.Ignored() {
		c.srv.gateway.Unrouted("mqtt", "ignored")
		return c.reply(s, reasonNoSubscribers, "")
	}
	if err := c.hold(); err != nil {
		return err
	}
	defer c.Yield()
	payload := device.NewPayload()
	defer payload.Free()
	versions, err := route.Read(payload, p.payload)
	if err != nil {
		return c.unreadable(s, err)
	}
	if versions != nil { // durable when it returns, and before the samples: they are of this version
		c.Yield()
		if err := c.srv.gateway.ReportVersions(c.ctx, route.Identity, versions); err != nil {
			return c.foreign(&route, err, s)
		}
	}
	if len(payload.Messages) == 0 {
		c.srv.gateway.Contact(route.Identity)
	}
	return c.submit(route.Identity, payload, s)
}

// foreign refuses a message that is not the connection's to send. A relay
// speaks for many, so it hears no, or over MQTT 3.1.1 nothing, and goes on.
func (c *conn) foreign(route *device.Route, err error, s slot) error {
	if fault.KindOf(err) != fault.Denied || !route.Relay && !errors.Is(err, device.ErrTopic) {
		return c.refused(err)
	}
	c.srv.gateway.Unrouted("mqtt", "refused")
	switch {
	case c.v5 && s.kind != 0, route.Relay:
		return c.reply(s, reasonNotAuthorized, "")
	default: // there is no other way to say no
		return &violation{reasonNotAuthorized, err.Error()}
	}
}
