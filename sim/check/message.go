// Package check is a load that knows what it did: simulated units send values
// that follow from unit and number alone over real MQTT and HTTPS, remember
// what they saw acknowledged, and hold what a server stored against it, value
// by value. It knows the server by its public doors only. Between the two a
// Proxy can lose what the server answered.
package check

import (
	"fmt"
	"math"
	"strconv"
)

// The product whose units are driven has number signals current and
// plug_temperature and the fault E01, which need consent, and a boolean
// charging, which does not (e2e/testdata/load).
const (
	signalCurrent     = "current"
	signalTemperature = "plug_temperature"
	signalCharging    = "charging"
)

var signals = []string{signalCurrent, signalTemperature, signalCharging}

// mix is splitmix64 of a unit, a message and a use.
func mix(seed uint64, n, use int) uint64 {
	x := seed + uint64(n)*0x9e3779b97f4a7c15 + uint64(use)*0xd1342543de82ef95
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// The kinds of a message.
const (
	plain      = iota
	undeclared // with a sample that the product does not declare
	invalid    // current is a text
	brief      // without charging
	twice      // is sent a second time, as if its acknowledgement had been lost
	late       // of a time before all others
	astray     // of a time ten days ahead
	event      // a fault code that was set or cleared
	kinds      = 24
)

// counts are samples, as a unit's accounting has them.
type counts struct{ stored, notConsented, undeclared, invalid int64 }

func (c *counts) add(o counts) {
	c.stored += o.stored
	c.notConsented += o.notConsented
	c.undeclared += o.undeclared
	c.invalid += o.invalid
}

func (c *counts) total() int64 { return c.stored + c.notConsented + c.undeclared + c.invalid }

// script is what a unit sends: everything follows from it and a message's number.
type script struct {
	seed   uint64
	start  int64 // event time of message 0, Unix ms; one message a millisecond
	silent bool  // the owner gave no consent
}

func (s *script) kind(n int) int {
	if k := int(mix(s.seed, n, 0) % kinds); k <= event {
		return k
	}
	return plain
}

// at is a message's event time.
func (s *script) at(n int) int64 {
	switch s.kind(n) {
	case late:
		return s.start - 1 - int64(n)
	case astray:
		return s.start + 10*24*3600*1000 + int64(n)
	}
	return s.start + int64(n)
}

// number finds the message whose values are stored at an event time.
func (s *script) number(at int64) (n int, ok bool) {
	if n = int(at - s.start); n >= 0 {
		k := s.kind(n)
		return n, k != late && k != astray // of an event too
	}
	n = int(s.start - 1 - at)
	return n, s.kind(n) == late
}

// value is what a message has stored of a signal, if anything.
func (s *script) value(n int, signal string) (v float64, ok bool) {
	k := s.kind(n)
	if k == astray || k == event || s.silent && signal != signalCharging {
		return 0, false
	}
	if k == invalid && signal == signalCurrent || k == brief && signal == signalCharging {
		return 0, false
	}
	return s.measured(n, signal), true
}

func (s *script) measured(n int, signal string) float64 {
	switch signal {
	case signalCurrent:
		return math.Float64frombits(mix(s.seed, n, 1)>>12|0x3ff0000000000000)*16 - 16 // all 52 bits count
	case signalTemperature:
		return float64(mix(s.seed, n, 2)%2000)/16 - 20
	}
	return float64(mix(s.seed, n, 3) & 1)
}

const fault = "E01"

// event is what an event tells.
func (s *script) event(n int) (state, text string) {
	m := mix(s.seed, n, 4)
	return [...]string{"set", "cleared"}[m&1], strconv.FormatUint(m, 16)
}

// counts is what becomes of a message's samples the first time.
func (s *script) counts(n int) counts {
	var c counts
	k := s.kind(n)
	switch {
	case k == event && s.silent:
		return counts{notConsented: 1}
	case k == event:
		return counts{stored: 1}
	}
	for _, signal := range signals {
		switch _, stored := s.value(n, signal); {
		case k == brief && signal == signalCharging: // not sent
		case s.silent && signal != signalCharging:
			c.notConsented++
		case stored:
			c.stored++
		default:
			c.invalid++
		}
	}
	if k == undeclared {
		c.undeclared++
	}
	return c
}

// payload appends a message as JSON.
func (s *script) payload(b []byte, n int) []byte {
	k := s.kind(n)
	b = append(b, `{"ts":`...)
	b = strconv.AppendInt(b, s.at(n), 10)
	if k == event {
		state, text := s.event(n)
		return fmt.Appendf(b, `,"seq":%d,"kind":"fault","name":%q,"state":%q,"text":%q}`, n+1, fault, state, text)
	}
	b = append(b, `,"values":{"plug_temperature":`...)
	b = strconv.AppendFloat(b, s.measured(n, signalTemperature), 'g', -1, 64)
	b = append(b, `,"current":`...)
	if k == invalid {
		b = append(b, `"much"`...)
	} else {
		b = strconv.AppendFloat(b, s.measured(n, signalCurrent), 'g', -1, 64)
	}
	if k != brief {
		b = append(b, `,"charging":`...)
		b = strconv.AppendBool(b, s.measured(n, signalCharging) == 1)
	}
	if k == undeclared {
		b = append(b, `,"oddity":1`...)
	}
	return append(b, "}}"...)
}
