package drive

import (
	"strconv"
	"time"

	"fettle.dev/fettle/sim/charger"
)

// Names of the product's signals.
const (
	sigCharging = "charging"
	sigCurrent  = "current"
	sigPlug     = "plug_temperature"
	sigAmbient  = "ambient_temperature"
	sigEnergy   = "energy"
)

// The shares of messages that are wrong in some way, so that no account of the
// server stays at zero.
const (
	shareUndeclared = 0.003 // with a signal that the product does not declare
	shareInvalid    = 0.002 // with a number that is none
	shareWrongClock = 0.001 // with a clock more than a year ahead
	shareRepeated   = 0.002 // sent twice although it was acknowledged
)

// Account counts samples of one unit as the simulation knows them.
type Account struct {
	Acknowledged, Stored, NotConsented, Undeclared, Duplicate, Invalid int64
}

// Add adds b.
func (a *Account) Add(b Account) {
	a.Acknowledged += b.Acknowledged
	a.Stored += b.Stored
	a.NotConsented += b.NotConsented
	a.Undeclared += b.Undeclared
	a.Duplicate += b.Duplicate
	a.Invalid += b.Invalid
}

// message is one publish that waits for its acknowledgement.
type message struct {
	topic   string
	payload []byte
	account Account // what the server must make of it
	id      uint16  // packet id on the present connection
	again   bool    // written on a connection that was lost
	since   int64   // event time of its oldest row, Unix ms
}

// repeated is the account of a second copy: what was stored is a duplicate.
func (a Account) repeated() Account {
	a.Duplicate += a.Stored
	a.Stored = 0
	return a
}

// row appends one row of telemetry to b and tells what the server must make of it.
func (u *unit) row(b []byte, r charger.Reading) ([]byte, Account) {
	var a Account
	at := r.At
	wrongClock, invalid := false, false
	if u.spec.Consents {
		switch p := u.rng.Float64(); {
		case p < shareWrongClock:
			wrongClock = true
			at = at.Add(400 * 24 * time.Hour)
		case p < shareWrongClock+shareInvalid:
			invalid = true
		}
	}
	b = append(b, `{"ts":`...)
	b = strconv.AppendInt(b, at.UnixMilli(), 10)
	if u.spec.Index%2 == 0 {
		u.sequence++
		b = append(b, `,"seq":`...)
		b = strconv.AppendInt(b, u.sequence, 10)
	}
	b = append(b, `,"values":{"charging":`...)
	b = strconv.AppendBool(b, r.Charging)
	a.Acknowledged++
	if wrongClock {
		a.Invalid++
	} else {
		a.Stored++
	}
	for _, s := range [...]struct {
		name  string
		value float64
	}{{sigCurrent, r.Current}, {sigPlug, r.Plug}, {sigAmbient, r.Ambient}, {sigEnergy, r.Energy}} {
		if u.collect != nil && !u.collect[s.name] {
			continue
		}
		a.Acknowledged++
		b = append(b, ',', '"')
		b = append(b, s.name...)
		b = append(b, '"', ':')
		if invalid && s.name == sigAmbient {
			b = append(b, "1e999"...)
			a.Invalid++
			continue
		}
		b = strconv.AppendFloat(b, s.value, 'f', 2, 64)
		switch {
		case wrongClock:
			a.Invalid++
		case !u.spec.Consents:
			a.NotConsented++
		default:
			a.Stored++
		}
	}
	if u.rng.Float64() < shareUndeclared && !wrongClock {
		b = append(b, `,"fan_speed":1200`...)
		a.Acknowledged++
		a.Undeclared++
	}
	return append(b, '}', '}'), a
}

func attributes(version string) *message {
	b := append([]byte(`{"versions":{"software":`), strconv.Quote(version)...)
	return &message{topic: topicAttributes, payload: append(b, '}', '}')}
}
