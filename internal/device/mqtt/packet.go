package mqtt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	five "github.com/eclipse/paho.golang/packets"
	three "github.com/eclipse/paho.mqtt.golang/packets"
)

// Control packet types.
const (
	typeConnect     = 1
	typeConnack     = 2
	typePublish     = 3
	typePuback      = 4
	typePubrec      = 5
	typePubrel      = 6
	typePubcomp     = 7
	typeSubscribe   = 8
	typeSuback      = 9
	typeUnsubscribe = 10
	typeUnsuback    = 11
	typePingreq     = 12
	typePingresp    = 13
	typeDisconnect  = 14
)

// Reason codes of MQTT 5 that are used here.
const (
	reasonOK               = 0x00
	reasonNoSubscribers    = 0x10
	reasonNoSubscription   = 0x11
	reasonUnspecified      = 0x80
	reasonMalformed        = 0x81
	reasonProtocol         = 0x82
	reasonIDInvalid        = 0x85
	reasonBadCredential    = 0x86
	reasonNotAuthorized    = 0x87
	reasonUnavailable      = 0x88
	reasonBusy             = 0x89
	reasonShutdown         = 0x8B
	reasonBadAuthMethod    = 0x8C
	reasonKeepAlive        = 0x8D
	reasonTakenOver        = 0x8E
	reasonTopicInvalid     = 0x90
	reasonAliasInvalid     = 0x94
	reasonNotFound         = 0x92
	reasonTooLarge         = 0x95
	reasonQuota            = 0x97
	reasonAdministrative   = 0x98
	reasonPayloadInvalid   = 0x99
	reasonRetain           = 0x9A
	reasonNoSubscriptionID = 0xA1
)

// Return codes of a 3.1.1 CONNACK.
const (
	refusedVersion     = 1
	refusedIdentifier  = 2
	refusedUnavailable = 3
	refusedCredential  = 4
	refusedAuthorized  = 5
)

// A violation ends the connection with a reason that MQTT 5 clients are told.
type violation struct {
	reason byte
	text   string
}

func (v *violation) Error() string { return v.text }

func malformed(format string, args ...any) error {
	return &violation{reasonMalformed, fmt.Sprintf(format, args...)}
}

// header is a packet's fixed header.
type header struct {
	kind, flags byte
	length      int
}

// readHeader reads a fixed header and refuses what is longer than limit,
// before anything of it is read.
func readHeader(r io.ByteReader, limit int) (header, error) {
	first, err := r.ReadByte()
	if err != nil {
		return header{}, err
	}
	h := header{kind: first >> 4, flags: first & 0x0f}
	for shift := 0; ; shift += 7 {
		if shift > 21 {
			return h, malformed("a remaining length of more than 4 bytes")
		}
		b, err := r.ReadByte()
		if err != nil {
			return h, unexpected(err)
		}
		h.length |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
	}
	if h.length > limit {
		return h, &violation{reasonTooLarge, fmt.Sprintf("a packet of %d bytes: at most %d are taken", h.length, limit)}
	}
	want := byte(0)
	switch h.kind {
	case typePublish:
		return h, nil
	case typePubrel, typeSubscribe, typeUnsubscribe:
		want = 2
	}
	if h.flags != want {
		return h, malformed("packet type %d with flags %d", h.kind, h.flags)
	}
	return h, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// publish is a PUBLISH, read by hand because it is the hot path. Its bytes
// belong to the packet read.
type publish struct {
	topic   []byte
	payload []byte
	id      uint16
	qos     byte
	retain  bool
	alias   bool
}

func readPublish(flags byte, body []byte, v5 bool) (p publish, err error) {
	p.qos, p.retain = flags>>1&3, flags&1 != 0
	if p.qos == 3 || p.qos == 0 && flags&8 != 0 {
		return p, malformed("publish flags %04b", flags)
	}
	n, rest, ok := take16(body)
	if !ok || int(n) > len(rest) {
		return p, malformed("a topic longer than its packet")
	}
	p.topic, rest = rest[:n], rest[n:]
	if p.qos > 0 {
		if p.id, rest, ok = take16(rest); !ok || p.id == 0 {
			return p, malformed("a publish without packet identifier")
		}
	}
	if v5 {
		if len(rest) == 0 {
			return p, malformed("a publish without properties")
		}
		if rest[0] == 0 { // nearly always
			rest = rest[1:]
		} else {
			var props five.Properties
			if rest, err = readProperties(&props, rest, typePublish); err != nil {
				return p, err
			}
			p.alias = props.TopicAlias != nil
			if props.SubscriptionIdentifier != nil {
				return p, &violation{reasonProtocol, "a client's publish with a subscription identifier"}
			}
		}
	}
	p.payload = rest
	return p, nil
}

func take16(b []byte) (uint16, []byte, bool) {
	if len(b) < 2 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint16(b), b[2:], true
}

// readProperties decodes MQTT 5 properties at the start of b and gives the
// rest. The codec reads on when the length of the properties is beyond the
// packet; that is refused here.
func readProperties(props *five.Properties, b []byte, kind byte) (rest []byte, err error) {
	length, n := 0, 0
	for shift := 0; ; shift += 7 {
		if n >= len(b) || shift > 21 {
			return nil, malformed("a broken length of properties")
		}
		length |= int(b[n]&0x7f) << shift
		n++
		if b[n-1] < 0x80 {
			break
		}
	}
	if length > len(b)-n {
		return nil, malformed("properties longer than their packet")
	}
	err = guard(func() error { return props.Unpack(bytes.NewBuffer(b[:n+length]), kind) })
	return b[n+length:], err
}

// guard runs a decoder: an error and a panic are both a malformed packet.
func guard(decode func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = malformed("the packet breaks its decoder: %v", p)
		}
	}()
	if err := decode(); err != nil {
		return malformed("%v", err)
	}
	return nil
}

// exact makes short reads errors: the 3.1.1 codec takes what a Read gives and
// would fill the rest of a field with zeros.
type exact struct{ b []byte }

// Read fills p or fails.
func (e *exact) Read(p []byte) (int, error) {
	if len(p) > len(e.b) {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, e.b)
	e.b = e.b[n:]
	return n, nil
}

// connectPacket is a CONNECT of either version.
type connectPacket struct {
	v5          bool
	client      string
	user        string
	password    []byte
	hasPassword bool
	clean       bool
	keepAlive   uint16
	maxPacket   int  // largest packet the client takes, 0: any
	quiet       bool // the client wants no reason strings
	expiry      bool // the client asked for a session that outlives the connection
	method      bool // extended authentication
	willRetain  bool
}

var errVersion = errors.New("a protocol version other than 3.1.1 and 5")

// readConnect decodes a CONNECT. The will is read and ignored: there is nobody
// to send it to.
func readConnect(body []byte) (c connectPacket, err error) {
	n, rest, ok := take16(body)
	if !ok || int(n)+2 > len(rest) {
		return c, malformed("a broken connect")
	}
	name, level, flags := string(rest[:n]), rest[n], rest[n+1]
	if name != "MQTT" && name != "MQIsdp" {
		return c, malformed("protocol name %q", name)
	}
	if name != "MQTT" || level != 4 && level != 5 {
		return c, errVersion
	}
	c.v5, c.willRetain = level == 5, flags&0x20 != 0
	if flags&1 != 0 || flags&0x18 == 0x18 || flags&4 == 0 && flags&0x38 != 0 {
		return c, malformed("connect flags %08b", flags)
	}
	if c.v5 {
		return c, c.readFive(body)
	}
	if flags&0xc0 == 0x40 {
		return c, malformed("a password without user name")
	}
	p := three.ConnectPacket{}
	in := exact{body}
	if err := guard(func() error { return p.Unpack(&in) }); err != nil {
		return c, err
	}
	if len(in.b) > 0 {
		return c, malformed("%d bytes after the connect", len(in.b))
	}
	c.client, c.user, c.password, c.hasPassword = p.ClientIdentifier, p.Username, p.Password, p.PasswordFlag
	c.clean, c.keepAlive = p.CleanSession, p.Keepalive
	return c, nil
}

func (c *connectPacket) readFive(body []byte) error {
	p := five.Connect{Properties: &five.Properties{}}
	in := bytes.NewBuffer(body)
	if err := guard(func() error { return p.Unpack(in) }); err != nil {
		return err
	}
	if in.Len() > 0 {
		return malformed("%d bytes after the connect", in.Len())
	}
	c.client, c.user, c.password, c.hasPassword = p.ClientID, p.Username, p.Password, p.PasswordFlag
	c.clean, c.keepAlive = p.CleanStart, p.KeepAlive
	if m := p.Properties.MaximumPacketSize; m != nil {
		if *m == 0 {
			return &violation{reasonProtocol, "a maximum packet size of 0"}
		}
		c.maxPacket = int(*m)
	}
	if m := p.Properties.ReceiveMaximum; m != nil && *m == 0 {
		return &violation{reasonProtocol, "a receive maximum of 0"}
	}
	if q := p.Properties.RequestProblemInfo; q != nil {
		if *q > 1 {
			return &violation{reasonProtocol, "a request for problem information that is neither 0 nor 1"}
		}
		c.quiet = *q == 0
	}
	if e := p.Properties.SessionExpiryInterval; e != nil {
		c.expiry = *e > 0
	}
	c.method = p.Properties.AuthMethod != ""
	return nil
}

// topicsPacket is a SUBSCRIBE or UNSUBSCRIBE of either version.
type topicsPacket struct {
	id     uint16
	topics []string
}

// readTopics decodes one. Options ask for nothing that there is, but must be
// right.
func readTopics(kind byte, body []byte, v5 bool) (t topicsPacket, err error) {
	var rest []byte
	var ok bool
	if t.id, rest, ok = take16(body); !ok || t.id == 0 {
		return t, malformed("a subscription without packet identifier")
	}
	if v5 {
		var props five.Properties
		if rest, err = readProperties(&props, rest, kind); err != nil {
			return t, err
		}
		if props.SubscriptionIdentifier != nil {
			return t, &violation{reasonNoSubscriptionID, "a subscription identifier: the server offered none"}
		}
	}
	for len(rest) > 0 {
		n, r, ok := take16(rest)
		if !ok || n == 0 || int(n) > len(r) || !utf8.Valid(r[:n]) {
			return t, malformed("a broken topic filter")
		}
		t.topics, rest = append(t.topics, string(r[:n])), r[n:]
		if kind != typeSubscribe {
			continue
		}
		if len(rest) == 0 {
			return t, malformed("a topic filter without options")
		}
		o := rest[0]
		if o&3 == 3 || !v5 && o > 2 || o&0xc0 != 0 || o&0x30 == 0x30 {
			return t, malformed("subscription options %08b", o)
		}
		rest = rest[1:]
	}
	if len(t.topics) == 0 {
		return t, malformed("a subscription without topics")
	}
	return t, nil
}
