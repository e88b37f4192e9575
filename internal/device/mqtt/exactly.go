package mqtt

import five "github.com/eclipse/paho.golang/packets"

// identifiers is a set of packet identifiers: of messages of quality of
// service 2 that were taken and are not yet released by PUBREL (MQTT 5.0,
// 4.3.3, method A without its store: the message is durable before PUBREC).
// Only the reader uses it, and only who sends such messages pays the 8 KiB.
type identifiers struct{ bits *[1 << 16 / 64]uint64 }

// take puts an identifier in, and reports whether it was not there yet.
func (s *identifiers) take(id uint16) bool {
	if s.bits == nil {
		s.bits = new([1 << 16 / 64]uint64)
	}
	bit := uint64(1) << (id % 64)
	fresh := s.bits[id/64]&bit == 0
	s.bits[id/64] |= bit
	return fresh
}

// release takes an identifier out, and reports whether it was there.
func (s *identifiers) release(id uint16) bool {
	if s.bits == nil {
		return false
	}
	bit := uint64(1) << (id % 64)
	held := s.bits[id/64]&bit != 0
	s.bits[id/64] &^= bit
	return held
}

// release ends the delivery of a message of quality of service 2. A client
// that was cut off may release what an earlier connection took, so an unknown
// identifier is answered all the same.
func (c *conn) release(body []byte) error {
	id, rest, ok := take16(body)
	if !ok || id == 0 || !c.v5 && len(rest) > 0 {
		return malformed("a broken release")
	}
	if len(rest) > 1 { // a reason code, then properties
		var props five.Properties
		if after, err := readProperties(&props, rest[1:], typePubrel); err != nil || len(after) > 0 {
			return malformed("a broken release")
		}
	}
	reason := byte(reasonOK)
	if !c.unreleased.release(id) {
		reason = reasonNotFound
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send(func(b []byte) []byte { return appendAck(b, typePubcomp, id, c.v5, reason, "") })
	return nil
}
