// Package mqttc is a light MQTT 3.1.1 client for thousands of simulated units
// in one process: one small reader a connection, writes by whoever has
// something to send, acknowledgements counted by the caller.
package mqttc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The packet types used (MQTT 3.1.1, table 2.1).
const (
	typeConnack  = 2
	typePublish  = 3
	typePuback   = 4
	typeSuback   = 9
	typePingresp = 13
)

const (
	levelMQTT311 = 4
	flagUser     = 0x80
	flagPassword = 0x40
	flagClean    = 0x02
	maxPacket    = 1 << 20
)

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func appendLength(b []byte, n int) []byte {
	for {
		digit := byte(n & 0x7f)
		n >>= 7
		if n == 0 {
			return append(b, digit)
		}
		b = append(b, digit|0x80)
	}
}

func appendConnect(b []byte, clientID, user, password string, keepAlive uint16) []byte {
	b = append(b, 0x10)
	b = appendLength(b, 10+6+len(clientID)+len(user)+len(password))
	b = appendString(b, "MQTT")
	b = append(b, levelMQTT311, flagUser|flagPassword|flagClean)
	b = binary.BigEndian.AppendUint16(b, keepAlive)
	b = appendString(b, clientID)
	b = appendString(b, user)
	return appendString(b, password)
}

func appendSubscribe(b []byte, id uint16, topics ...string) []byte {
	n := 2
	for _, t := range topics {
		n += 3 + len(t)
	}
	b = append(b, 0x82)
	b = appendLength(b, n)
	b = binary.BigEndian.AppendUint16(b, id)
	for _, t := range topics {
		b = appendString(b, t)
		b = append(b, 1)
	}
	return b
}

// AppendPublish appends a PUBLISH at QoS 1.
func AppendPublish(b []byte, topic string, id uint16, dup bool, payload []byte) []byte {
	first := byte(0x32)
	if dup {
		first |= 0x08
	}
	b = append(b, first)
	b = appendLength(b, 2+len(topic)+2+len(payload))
	b = appendString(b, topic)
	b = binary.BigEndian.AppendUint16(b, id)
	return append(b, payload...)
}

// packet is one packet read: its first byte and body.
type packet struct {
	first byte
	body  []byte
}

func (p packet) kind() byte { return p.first >> 4 }

var errMalformed = errors.New("malformed MQTT packet")

// byteReader is what a packet is read from.
type byteReader interface {
	io.Reader
	io.ByteReader
}

// read reads one packet; body is valid until the next call with the same buf.
func read(r byteReader, buf []byte) (packet, []byte, error) {
	first, err := r.ReadByte()
	if err != nil {
		return packet{}, buf, err
	}
	n, shift := 0, 0
	for {
		d, err := r.ReadByte()
		if err != nil {
			return packet{}, buf, fmt.Errorf("remaining length: %w", err)
		}
		n |= int(d&0x7f) << shift
		if d&0x80 == 0 {
			break
		}
		if shift += 7; shift > 21 {
			return packet{}, buf, errMalformed
		}
	}
	if n > maxPacket {
		return packet{}, buf, fmt.Errorf("%w: %d bytes", errMalformed, n)
	}
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return packet{}, buf, fmt.Errorf("packet body: %w", err)
	}
	return packet{first, buf}, buf, nil
}

// publish splits a PUBLISH into its parts; id is 0 at QoS 0.
func (p packet) publish() (topic string, id uint16, payload []byte, err error) {
	if len(p.body) < 2 {
		return "", 0, nil, errMalformed
	}
	n := int(binary.BigEndian.Uint16(p.body))
	rest := p.body[2:]
	if len(rest) < n {
		return "", 0, nil, errMalformed
	}
	topic, rest = string(rest[:n]), rest[n:]
	if p.first&0x06 != 0 {
		if len(rest) < 2 {
			return "", 0, nil, errMalformed
		}
		id, rest = binary.BigEndian.Uint16(rest), rest[2:]
	}
	return topic, id, rest, nil
}
