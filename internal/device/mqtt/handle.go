package mqtt

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	five "github.com/eclipse/paho.golang/packets"

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

// maxConnect bounds what somebody unknown may send.
const maxConnect = 16 << 10

// handshake takes the TLS handshake and the CONNECT and answers it.
func (c *conn) handshake() error {
	limit := c.srv.cfg.ConnectTimeout
	if t, ok := c.nc.(*tls.Conn); ok {
		ctx, cancel := context.WithTimeout(c.ctx, limit)
		defer cancel()
		if err := t.HandshakeContext(ctx); err != nil {
			return err
		}
	}
	h, body, free, err := c.packet(maxConnect, limit, limit)
	if err != nil {
		return err
	}
	defer free()
	if h.kind != typeConnect {
		return malformed("a first packet of type %d", h.kind)
	}
	p, err := readConnect(body)
	if errors.Is(err, errVersion) {
		c.refuse(refusedVersion)
		return io.EOF
	}
	if err != nil {
		return err
	}
	c.v5 = p.v5
	if p.v5 && p.method {
		c.refuse(reasonBadAuthMethod)
		return io.EOF
	}
	if !utf8.ValidString(p.client) || len(p.client) > 256 || !p.v5 && p.client == "" && !p.clean {
		c.refuse(c.either(refusedIdentifier, reasonIDInvalid))
		return io.EOF
	}
	c.id, err = c.authenticate(&p)
	if err != nil {
		c.refuse(c.refusal(err))
		c.srv.log.Info("a connection was refused", "user", p.user, "from", c.nc.RemoteAddr().String(), "why", err)
		return io.EOF
	}
	assigned := ""
	if p.client == "" {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails since Go 1.24
		assigned = "fettle-" + hex.EncodeToString(b[:])
		p.client = assigned
	}
	c.maxPacket, c.quiet = p.maxPacket, p.quiet
	alive := c.srv.keepAlive(&p)
	c.keepAlive = time.Duration(alive) * time.Second * 3 / 2
	if err := c.srv.gateway.Join(c.ctx, c.id, p.client, c); err != nil {
		c.refuse(c.refusal(err))
		return io.EOF
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joined = true
	c.send(func(b []byte) []byte { return c.appendConnack(b, &p, assigned, alive) })
	return nil
}

// keepAlive is the interval that applies. Only MQTT 5 clients can be told
// another than they asked for.
func (s *Server) keepAlive(p *connectPacket) uint16 {
	limit := uint16(s.cfg.MaxKeepAlive / time.Second)
	if p.v5 && (p.keepAlive == 0 || p.keepAlive > limit) {
		return limit
	}
	return p.keepAlive
}

// authenticate tells the unit from its client certificate, else from user
// name and password. A user name beside a certificate must agree with it.
func (c *conn) authenticate(p *connectPacket) (device.Identity, error) {
	if leaf := c.certificate(); leaf != nil {
		id, err := c.srv.auth.Certificate(c.ctx, leaf)
		switch {
		case err == nil && (p.user == "" || p.user == id.UnitID):
			return id, nil
		case err == nil:
			return device.Identity{}, device.ErrCredential
		case !p.hasPassword:
			return device.Identity{}, err
		}
	}
	if p.user == "" || !p.hasPassword {
		return device.Identity{}, device.ErrCredential
	}
	return c.srv.auth.Token(c.ctx, p.user, string(p.password))
}

func (c *conn) certificate() *x509.Certificate {
	if t, ok := c.nc.(*tls.Conn); ok {
		if certs := t.ConnectionState().PeerCertificates; len(certs) > 0 {
			return certs[0]
		}
	}
	return nil
}

func (c *conn) either(three, five byte) byte {
	if c.v5 {
		return five
	}
	return three
}

// refusal is the answer to a CONNECT that is not accepted.
func (c *conn) refusal(err error) byte {
	switch {
	case errors.Is(err, device.ErrCredential):
		return c.either(refusedCredential, reasonBadCredential)
	case fault.KindOf(err) == fault.Denied:
		return c.either(refusedAuthorized, reasonNotAuthorized)
	default:
		return c.either(refusedUnavailable, reasonUnavailable)
	}
}

// refuse sends a CONNACK that ends the connection.
func (c *conn) refuse(code byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send(func(b []byte) []byte {
		if c.v5 {
			return append(b, typeConnack<<4, 3, 0, code, 0)
		}
		return append(b, typeConnack<<4, 2, 0, code)
	})
}

// appendConnack accepts. An MQTT 5 client is told what there is not: sessions
// that outlive a connection, quality of service 2, retained messages, shared
// subscriptions, wildcards, topic aliases.
func (c *conn) appendConnack(b []byte, p *connectPacket, assigned string, alive uint16) []byte {
	if !c.v5 {
		return append(b, typeConnack<<4, 2, 0, 0)
	}
	props := []byte{
		five.PropMaximumQOS, 1, five.PropRetainAvailable, 0, five.PropWildcardSubAvailable, 0,
		five.PropSubIDAvailable, 0, five.PropSharedSubAvailable, 0,
	}
	props = binary.BigEndian.AppendUint16(append(props, five.PropReceiveMaximum), uint16(c.srv.cfg.Window))
	props = binary.BigEndian.AppendUint32(append(props, five.PropMaximumPacketSize), uint32(c.srv.cfg.MaxPacket))
	if p.expiry {
		props = append(props, five.PropSessionExpiryInterval, 0, 0, 0, 0)
	}
	if alive != p.keepAlive {
		props = binary.BigEndian.AppendUint16(append(props, five.PropServerKeepAlive), alive)
	}
	if assigned != "" {
		props = appendString(append(props, five.PropAssignedClientID), assigned)
	}
	b = appendLength(append(b, typeConnack<<4), 2+lengthSize(len(props))+len(props))
	return append(appendLength(append(b, 0, reasonOK), len(props)), props...)
}

// handle acts on one packet. An error ends the connection.
func (c *conn) handle(h header, body []byte) error {
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
		t, err := readSubscribe(h, body, c.v5)
		if err != nil {
			return err
		}
		return c.subscribe(t)
	case typeUnsubscribe:
		t, err := readUnsubscribe(body, c.v5)
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
	case c.v5 && p.qos == 2:
		return &violation{reasonQoS, "quality of service 2: the server offered 1"}
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
	}
	switch string(p.topic) {
	case TopicTelemetry:
		return c.telemetry(p.payload, s)
	case TopicAttributes:
		return c.attributes(p.payload, s)
	}
	if !c.v5 || s.kind == 0 { // there is no other way to say no
		return &violation{reasonNotAuthorized, "a publish to a topic that is not the unit's"}
	}
	tag, err := c.reserve(s)
	if err == nil {
		c.answer(tag, reasonNotAuthorized, "")
	}
	return err
}

func (c *conn) telemetry(body []byte, s slot) error {
	payload := device.NewPayload()
	defer payload.Free()
	if err := payload.Parse(body); err != nil {
		return c.unreadable(s, err)
	}
	if len(payload.Messages) == 0 { // an empty array holds nothing to store
		tag, err := c.reserve(s)
		if err == nil {
			c.answer(tag, reasonOK, "")
		}
		return err
	}
	var outcomes []device.Outcome
	if c.v5 && s.kind != 0 && !c.quiet {
		for len(c.outcomes) < len(payload.Messages) {
			c.outcomes = append(c.outcomes, device.Outcome{})
		}
		outcomes = c.outcomes[:len(payload.Messages)]
		s.wait = 2
	}
	tag, err := c.reserve(s)
	if err != nil {
		return err
	}
	if err := c.srv.gateway.Submit(c.ctx, c.id, payload.Messages, outcomes, c, tag); err != nil {
		return c.refused(err)
	}
	if outcomes != nil {
		c.answer(tag, reasonOK, c.remark(outcomes))
		if len(c.outcomes) > 64 {
			c.outcomes = nil
		}
	}
	return nil
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
	if len(text) > 256 {
		text = text[:256]
	}
	if c.quiet || c.maxPacket > 0 && len(text)+16 > c.maxPacket || !utf8.ValidString(text) {
		return ""
	}
	return text
}

// unreadable answers a payload that cannot be read. An MQTT 5 client is told;
// a 3.1.1 client can only be acknowledged, or it would send it for ever.
func (c *conn) unreadable(s slot, why error) error {
	c.srv.gateway.Malformed("mqtt")
	tag, err := c.reserve(s)
	if err == nil {
		c.answer(tag, reasonPayloadInvalid, c.fitting(why.Error()))
	}
	return err
}

// refused turns the gateway's refusal of a message into the connection's end.
func (c *conn) refused(err error) error {
	if fault.KindOf(err) == fault.Denied {
		return &violation{reasonAdministrative, err.Error()}
	}
	return &violation{reasonBusy, err.Error()}
}

func (c *conn) attributes(body []byte, s slot) error {
	versions, err := device.ParseVersions(body)
	if err != nil {
		return c.unreadable(s, err)
	}
	tag, err := c.reserve(s)
	if err != nil {
		return err
	}
	if err := c.srv.gateway.ReportVersions(c.ctx, c.id, versions); err != nil {
		return c.refused(err)
	}
	c.answer(tag, reasonOK, "")
	return nil
}

// release ends a 3.1.1 delivery of quality of service 2. The message was
// durable before PUBREC, so nothing is left to do.
func (c *conn) release(body []byte) error {
	id, _, ok := take16(body)
	if !ok || id == 0 {
		return malformed("a release without packet identifier")
	}
	if c.v5 {
		return &violation{reasonProtocol, "a release: the server offered quality of service 1"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send(func(b []byte) []byte { return appendAck(b, typePubcomp, id, false, reasonOK, "") })
	return nil
}

func (c *conn) subscribe(t topicsPacket) error {
	codes := make([]byte, len(t.topics))
	desired, notice := false, false
	for i, topic := range t.topics {
		switch topic { // quality of service 0 is granted
		case TopicDesired:
			desired = true
		case TopicNotice:
			notice = true
		default:
			codes[i] = c.either(reasonUnspecified, reasonNotAuthorized)
		}
	}
	c.mu.Lock()
	c.desired, c.notice = c.desired || desired, c.notice || notice
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
		default:
			codes[i] = reasonNoSubscription
		}
	}
	if !c.v5 {
		codes = nil
	}
	c.send(func(b []byte) []byte { return appendSuback(b, typeUnsuback, t.id, c.v5, codes) })
}
