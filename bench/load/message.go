package load

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"
)

// Signals are the names in every message, in order; all of them are numbers.
var Signals = []string{
	"current", "voltage", "power", "plug_temperature", "energy",
	"frequency", "humidity", "signal_strength", "charging", "error",
}

// Step is the event time between two messages of a unit, in milliseconds.
const Step = 1000

// template is one PUBLISH (MQTT 3.1.1, QoS 1) with the places that change from
// message to message: packet identifier, event time, and the digits of the
// values. Every message has the same length, so nothing is formatted twice.
type template struct {
	packet []byte
	id     int   // of the packet identifier
	time   int   // of 13 digits
	digits []int // of the last three digits of each value that varies
}

// newTemplate makes the message of a unit: ten values as
// {"ts":1763794472000,"values":{"current":16.250,…}}. One unit in a hundred is
// too hot all the time.
func newTemplate(topic string, unit int) *template {
	t := &template{}
	var b strings.Builder
	b.WriteString(`{"ts":`)
	at := b.Len()
	b.WriteString(strings.Repeat("0", 13))
	b.WriteString(`,"values":{`)
	whole := []string{"16.", "230.", "3680.", "41.", "812.", "50.", "38.", "-61.", "", ""}
	if unit%100 == 7 {
		whole[3] = "93."
	}
	var digits []int
	for i, name := range Signals {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Quote(name) + ":" + whole[i])
		switch name {
		case "charging":
			b.WriteString("1")
		case "error":
			b.WriteString("0")
		default:
			digits = append(digits, b.Len())
			b.WriteString("25") // two decimals, as sensors have
		}
	}
	b.WriteString("}}")
	payload := b.String()

	t.packet = append(t.packet, 3<<4|1<<1)
	for n := 2 + len(topic) + 2 + len(payload); ; {
		digit := byte(n & 0x7f)
		if n >>= 7; n == 0 {
			t.packet = append(t.packet, digit)
			break
		}
		t.packet = append(t.packet, digit|0x80)
	}
	t.packet = append(binary.BigEndian.AppendUint16(t.packet, uint16(len(topic))), topic...)
	t.id = len(t.packet)
	t.packet = append(t.packet, 0, 0)
	base := len(t.packet)
	t.packet = append(t.packet, payload...)
	t.time = base + at
	for _, d := range digits {
		t.digits = append(t.digits, base+d)
	}
	return t
}

// append adds message n (from 0) of the unit, measured at event (Unix ms).
func (t *template) append(b []byte, n uint32, event int64, random *uint64) []byte {
	p := t.packet
	binary.BigEndian.PutUint16(p[t.id:], uint16(n%65535)+1)
	for i := 12; i >= 0; i-- {
		p[t.time+i] = '0' + byte(event%10)
		event /= 10
	}
	// xorshift64: two digits a value are six bits each.
	x := *random
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*random = x
	for _, at := range t.digits {
		p[at] = '0' + byte(x&7)
		p[at+1] = '1' + byte(x>>3&7)
		x >>= 6
	}
	return append(b, p...)
}

// Message is one message of a unit, with packet identifier 1.
func Message(u *Unit, i int, at time.Time) []byte {
	random := uint64(i + 1)
	return newTemplate(u.Topic, i).append(nil, 0, at.UnixMilli(), &random)
}
