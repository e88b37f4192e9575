package mqtt

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
)

// The topics. There is nothing else.
const (
	TopicTelemetry  = "fettle/v1/telemetry"
	TopicAttributes = "fettle/v1/attributes"
	TopicDesired    = "fettle/v1/desired"
	TopicNotice     = "fettle/v1/notice"
)

// handle acts on one packet. An error ends the connection.
func (c *conn) handle(h header, body []byte) error {
	if h.kind != typePublish { // what came before comes first
		if err := c.flushBurst(); err != nil {
			return err
		}
	}
	switch h.kind {
	case typePublish:
		p, err := readPublish(h.flags, body, c.v5)
		if err != nil {
			return err
		}
		return c.publish(&p)
	case typePubrel:
		return c.release(body)
	case typeSubscribe:
		t, err := readTopics(typeSubscribe, body, c.v5)
		if err != nil {
			return err
		}
		return c.subscribe(t)
	case typeUnsubscribe:
		t, err := readTopics(typeUnsubscribe, body, c.v5)
		if err != nil {
			return err
		}
		c.unsubscribe(t)
		return nil
	case typePingreq:
		if len(body) > 0 {
			return malformed("a ping with a body")
		}
		c.srv.gateway.Contact(c.id)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.send(func(b []byte) []byte { return append(b, typePingresp<<4, 0) })
		return nil
	case typeDisconnect:
		return io.EOF
	default:
		return &violation{reasonProtocol, fmt.Sprintf("a packet of type %d", h.kind)}
	}
}

// publish takes a message. It is answered when it is durable, in its turn.
func (c *conn) publish(p *publish) error {
	switch {
	case p.alias || len(p.topic) == 0:
		return &violation{reasonAliasInvalid, "a topic alias: none were offered"}
	case c.v5 && p.retain:
		return &violation{reasonRetain, "a retained message: the server offered none"}
	case bytes.ContainsAny(p.topic, "+#\x00") || !utf8.Valid(p.topic):
		return &violation{reasonTopicInvalid, "a topic name with a wildcard"}
	}
	s := slot{id: p.id, wait: 1}
	switch p.qos {
	case 1:
		s.kind = typePuback
	case 2:
		s.kind = typePubrec
		if !c.unreleased.take(p.id) { // sent again before it was released: it is stored, or will be before this is answered
			if err := c.flushBurst(); err != nil {
				return err
			}
			return c.reply(s, reasonOK, "")
		}
	}
	if string(p.topic) == TopicTelemetry {
		return c.telemetry(p.payload, s)
	}
	if err := c.flushBurst(); err != nil {
		return err
	}
	switch string(p.topic) {
	case TopicEvents:
		return c.events(p.payload, s)
	case TopicAttributes:
		return c.attributes(p.payload, s)
	case TopicTipEvents:
		if c.srv.cfg.Tips != nil {
			return c.tipEvents(p.payload, s)
		}
	}
	return c.routed(p, s)
}

func (c *conn) telemetry(body []byte, s slot) error {
	if taken, err := c.gather(body, s); taken {
		return err
	}
	if err := c.flushBurst(); err != nil {
		return err
	}
	if err := c.hold(); err != nil {
		return err
	}
	defer c.Yield()
	payload := device.NewPayload()
	defer payload.Free()
	if err := payload.Parse(body); err != nil {
		return c.unreadable(s, err)
	}
	return c.submit(c.id, payload, s)
}

// submit hands a unit's messages over.
func (c *conn) submit(id device.Identity, payload *device.Payload, s slot) error {
	if len(payload.Messages) == 0 { // as an empty array, which holds nothing to store
		return c.reply(s, reasonOK, "")
	}
	var outcomes []device.Outcome
	if s.kind != 0 {
		if outcomes = c.wanted(len(payload.Messages)); outcomes != nil {
			s.wait = 2
		}
	}
	tag, err := c.reserve(s)
	if err != nil {
		return err
	}
	if err := c.srv.gateway.Submit(c.ctx, id, payload.Messages, outcomes, c, tag); err != nil {
		return c.refused(err)
	}
	if outcomes != nil {
		c.answer(tag, reasonOK, c.remark(outcomes))
	}
	return nil
}

// reply answers a message in its turn with what needs no commit.
func (c *conn) reply(s slot, reason byte, why string) error {
	if c.v5 && s.kind == typePubrec && reason >= reasonUnspecified { // ends the exchange
		c.unreleased.release(s.id)
	}
	tag, err := c.reserve(s)
	if err == nil {
		c.answer(tag, reason, why)
	}
	return err
}

// remark says what was not kept, for people who look at their unit's log.
func (c *conn) remark(outcomes []device.Outcome) string {
	var invalid, undeclared int
	why := ""
	for i := range outcomes {
		invalid += outcomes[i].Invalid
		undeclared += outcomes[i].Undeclared
		if why == "" {
			why = outcomes[i].Why
		}
	}
	text := ""
	switch {
	case invalid > 0:
		text = fmt.Sprintf("%d invalid (%s), %d undeclared", invalid, why, undeclared)
	case undeclared > 0:
		text = fmt.Sprintf("%d undeclared", undeclared)
	}
	return c.fitting(text)
}

// fitting leaves a reason string out when the client wants none, or none of
// that length.
func (c *conn) fitting(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), 256)], "")
	if c.quiet || c.maxPacket > 0 && len(text)+16 > c.maxPacket {
		return ""
	}
	return text
}

// unreadable answers a payload that cannot be read. An MQTT 5 client is told;
// a 3.1.1 client can only be acknowledged, or it would send it for ever.
func (c *conn) unreadable(s slot, why error) error {
	c.srv.gateway.Malformed("mqtt")
	return c.reply(s, reasonPayloadInvalid, c.fitting(why.Error()))
}

// refused turns the gateway's refusal of a message into the connection's end.
func (c *conn) refused(err error) error {
	if fault.KindOf(err) == fault.Denied {
		return &violation{reasonAdministrative, err.Error()}
	}
	return &violation{reasonBusy, err.Error()}
}

func (c *conn) attributes(body []byte, s slot) error {
	report, err := device.ParseReport(body)
	if err != nil {
		return c.unreadable(s, err)
	}
	err = c.srv.gateway.Report(c.ctx, c.id, report)
	switch {
	case fault.KindOf(err) == fault.Invalid:
		return c.unreadable(s, err)
	case err != nil:
		return c.refused(err)
	}
	return c.reply(s, reasonOK, "")
}

func (c *conn) subscribe(t topicsPacket) error {
	codes := make([]byte, len(t.topics))
	desired, notice, tips := false, false, false
	for i, topic := range t.topics {
		switch topic { // quality of service 0 is granted
		case TopicDesired:
			desired = true
		case TopicNotice:
			notice = true
		default:
			if tips = tips || c.srv.cfg.Tips != nil && topic == TopicTips; tips && topic == TopicTips {
				continue
			}
			if !c.srv.gateway.MayListen(c.ctx, c.id, topic) {
				codes[i] = c.either(reasonUnspecified, reasonNotAuthorized)
			}
		}
	}
	c.mu.Lock()
	c.desired, c.notice, c.tips = c.desired || desired, c.notice || notice, c.tips || tips
	c.send(func(b []byte) []byte { return appendSuback(b, typeSuback, t.id, c.v5, codes) })
	c.mu.Unlock()
	if desired {
		if err := c.tellDesired(); err != nil {
			return err
		}
	}
	if notice && c.srv.gateway.Waiting(c.ctx, c.id) {
		c.Notice()
	}
	if tips {
		return c.listenForTips()
	}
	return nil
}

// tellDesired sends what the unit is to do now. A change between the look and
// the sending is sent too, so the last one that the unit hears is true.
func (c *conn) tellDesired() error {
	var sent []byte
	for {
		d, err := c.srv.gateway.Desired(c.ctx, c.id)
		if err != nil {
			return c.refused(err)
		}
		payload := d.JSON()
		if bytes.Equal(sent, payload) {
			return nil
		}
		c.Desired(payload)
		sent = payload
	}
}

func (c *conn) unsubscribe(t topicsPacket) {
	codes := make([]byte, len(t.topics))
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, topic := range t.topics {
		switch {
		case topic == TopicDesired && c.desired:
			c.desired = false
		case topic == TopicNotice && c.notice:
			c.notice = false
		case topic == TopicTips && c.tips:
			c.tips = false
		default:
			codes[i] = reasonNoSubscription
		}
	}
	if !c.v5 {
		codes = nil
	}
	c.send(func(b []byte) []byte { return appendSuback(b, typeUnsuback, t.id, c.v5, codes) })
}
