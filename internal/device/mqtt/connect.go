package mqtt

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	five "github.com/eclipse/paho.golang/packets"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
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
	if free != nil {
		defer free()
	}
	if h.kind != typeConnect {
		return malformed("a first packet of type %d", h.kind)
	}
	p, err := readConnect(body)
	if errors.Is(err, errVersion) {
		c.refuse(refusedVersion)
		return io.EOF
	}
	c.v5 = p.v5
	if err != nil {
		if v, ok := errors.AsType[*violation](err); ok && c.v5 { // MQTT 3.1.1 has no word for it
			c.refuse(v.reason)
		}
		return err
	}
	if p.v5 && p.method {
		c.refuse(reasonBadAuthMethod)
		return io.EOF
	}
	if p.v5 && p.willRetain { // MQTT 5.0, 3.2.2.3.5
		c.refuse(reasonRetain)
		return io.EOF
	}
	if !utf8.ValidString(p.client) || len(p.client) > 256 || !p.v5 && p.client == "" && !p.clean {
		c.refuse(c.either(refusedIdentifier, reasonIDInvalid))
		return io.EOF
	}
	c.id, err = c.authenticate(&p)
	if err != nil {
		c.refuse(c.refusal(err))
		user := p.user
		if len(p.password) == 0 { // it may be a token
			user = ""
		}
		c.srv.log.Info("a connection was refused", "user", user, "from", c.nc.RemoteAddr().String(), "why", err)
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
// name and password, else from a token that stands as user name without a
// password, as ThingsBoard's clients send it. A user name beside a certificate
// must agree with it.
func (c *conn) authenticate(p *connectPacket) (device.Identity, error) {
	user := unitOf(p.user)
	if leaf := c.certificate(); leaf != nil {
		id, err := c.srv.auth.Certificate(c.ctx, leaf)
		switch {
		case err == nil && (user == "" || user == id.UnitID):
			return id, nil
		case err == nil:
			return device.Identity{}, device.ErrCredential
		case !p.hasPassword:
			return device.Identity{}, err
		}
	}
	switch {
	case p.user == "":
		return device.Identity{}, device.ErrCredential
	case len(p.password) == 0:
		return c.srv.auth.TokenAlone(c.ctx, p.user)
	default:
		return c.srv.auth.Token(c.ctx, user, string(p.password))
	}
}

// unitOf is the unit's id in a user name. AWS IoT's clients put their metrics
// behind a question mark; Azure IoT Hub's send {hub}/{unit}/?api-version=…
// A unit's id holds neither character.
func unitOf(user string) string {
	id, _, _ := strings.Cut(user, "?")
	if _, unit, ok := strings.Cut(strings.TrimSuffix(id, "/"), "/"); ok {
		return unit
	}
	return id
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
// that outlive a connection, retained messages, shared
// subscriptions, wildcards, topic aliases.
func (c *conn) appendConnack(b []byte, p *connectPacket, assigned string, alive uint16) []byte {
	if !c.v5 {
		return append(b, typeConnack<<4, 2, 0, 0)
	}
	props := []byte{
		five.PropRetainAvailable, 0, five.PropWildcardSubAvailable, 0,
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
