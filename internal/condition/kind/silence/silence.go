// Package silence is the kind of detector that finds units that stop
// reporting: by the interval that each is learned to be heard of within, with
// timers that run when nothing arrives. It runs on contact, in receive time.
// Time in which the server was down is not silence.
//
// Many that fall silent at once are one finding: of a site, a gateway, or of
// all units of the product (see outage.go).
//
// Enrolment, which a change of owner is, and withdrawn consent begin it anew. A
// version report or maintenance does not: what is learned of a unit's interval
// outlives them.
package silence

import (
	"fmt"
	"math"
	"time"

	"fettle.dev/fettle/internal/detect/code"

	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Kind is this kind's entry in the table of kinds.
var Kind = kind.Kind{Compile: compile, Contacts: true}

// rule is a detector version ready to run.
type rule struct {
	kind.Base
	factor                 float64
	hold, minimum, maximum int64
	outages
}

// state is one unit's under the rule.
type state struct {
	contact int64 // receive time of the newest contact
	grace   int64 // it is waited for anew from here, since an outage that it was part of is over
	silent  int64 // since when it is silent; 0: it is not
	out     bool  // its silence is part of the outage of place
	place   string
	outage  int64 // when it was last heard of again after an outage
	pauses  detect.Pauses
}

const (
	defaultFactor  = 2
	defaultHold    = 10 * time.Minute
	defaultMaximum = 7 * 24 * time.Hour
)

func compile(c *kind.Checks, p *fleet.Product, d *kind.Detector, _ kind.Basis) kind.Rule {
	factor, hold, minimum, maximum := d.Factor, time.Duration(d.Hold), time.Duration(d.Minimum), time.Duration(d.Maximum)
	if factor == 0 {
		factor = defaultFactor
	}
	if hold == 0 {
		hold = defaultHold
	}
	if maximum == 0 {
		maximum = max(defaultMaximum, minimum)
	}
	if factor < 1 || factor > 1000 || math.IsNaN(factor) {
		c.Add("spec.factor", "a number from 1 to 1000", fmt.Sprint(d.Factor))
	}
	if maximum < minimum {
		c.Add("spec.maximum", "no less than the minimum, "+fleet.Duration(minimum).String(), d.Maximum.String())
	}
	r := &rule{factor: factor, hold: hold.Milliseconds(), minimum: minimum.Milliseconds(), maximum: maximum.Milliseconds()}
	r.group(c, d)
	return r
}

// New is a unit that was not heard of yet.
func (r *rule) New() kind.State { return &state{} }

// Resets on nothing that is done to a unit.
func (r *rule) Resets(*telemetry.Mark) bool { return false }

// SilentSince tells since when the unit is silent.
func (s *state) SilentSince() int64 { return s.silent }

// allowed is for how long the unit may stay away.
func (r *rule) allowed(s *state) int64 {
	if !s.pauses.Known(r.hold) {
		return r.maximum
	}
	return min(max(s.pauses.Allowed(r.factor, r.hold), r.minimum), r.maximum)
}

// due is when its time is over.
func (r *rule) due(d *kind.Desk, s *state) int64 {
	return d.Clock.After(max(s.contact, s.grace), r.allowed(s))
}

// Join sets the timer.
func (r *rule) Join(d *kind.Desk, w *kind.Watch) {
	r.join(w)
	if s := w.State.(*state); s.contact > 0 && w.Finding == nil && !s.out {
		d.Wake(w, max(s.contact, s.grace)+r.allowed(s))
	}
}

// Leave forgets it.
func (r *rule) Leave(d *kind.Desk, w *kind.Watch) {
	s := w.State.(*state)
	r.leave(w)
	if s.out {
		r.back(d, w, s, d.Clock.Now)
	}
}

// Contact takes in that the unit was heard of.
func (r *rule) Contact(d *kind.Desk, w *kind.Watch, at int64) {
	s := w.State.(*state)
	if at <= s.contact || at < w.Since {
		return
	}
	if s.contact > 0 {
		gap := d.Clock.Heard(s.contact, at)
		expected := int64(0)
		if s.pauses.Known(r.hold) {
			expected = r.allowed(s)
		}
		if s.out || s.grace > 0 { // an outage says nothing of a habit, unless it comes again: a night does
			expected, s.outage = r.again(s, at, expected), at
		}
		if expected >= 0 {
			s.pauses.Learn(gap, expected)
		}
		if w.Finding != nil {
			d.Continue(w, at, float64(gap)/1000)
			d.Close(w, at, "heard of again after "+span(gap))
		}
	}
	s.contact, s.grace, s.silent, w.Newest = at, 0, 0, at
	if s.out {
		r.back(d, w, s, at)
	}
	d.Touch(w.Unit)
	d.Wake(w, at+r.allowed(s))
}

// comesAgain is within what time an outage that comes again is a habit.
const comesAgain = 8 * 24 * time.Hour

// again is what was expected of a pause that was part of an outage; -1: nothing
// is learned of it.
func (r *rule) again(s *state, at, expected int64) int64 {
	if s.outage == 0 || at-s.outage > comesAgain.Milliseconds() {
		return -1
	}
	return expected
}

// Due looks whether it was heard of since. That it was not is said at the end
// of the tick, when it is known of how many.
func (r *rule) Due(d *kind.Desk, w *kind.Watch, at int64) {
	s := w.State.(*state)
	if w.Finding != nil || s.out || s.contact == 0 {
		return
	}
	due := r.due(d, s)
	if due > at {
		d.Wake(w, due)
		return
	}
	s.silent = due
	d.Touch(w.Unit)
	r.fired = append(r.fired, w)
}

// open says that a unit is silent by itself.
func (r *rule) open(d *kind.Desk, w *kind.Watch, at int64) {
	s := w.State.(*state)
	f := d.Open(w, max(s.contact, s.grace), s.silent, at)
	away := d.Clock.Heard(s.contact, s.silent)
	f.Peak = float64(away) / 1000
	f.Why = fmt.Sprintf("nothing heard for %s since %s", span(away), words.Instant(kind.Moment(s.contact)))
	if s.pauses.Known(r.hold) {
		f.Why += fmt.Sprintf("; it is usually heard of within %s", span(s.pauses.Interval(r.hold)))
	}
	if s.grace > 0 {
		f.Why += "; others were heard of again at " + words.Instant(kind.Moment(s.grace))
	}
}

func span(ms int64) string { return words.Span(time.Duration(ms) * time.Millisecond) }

// The encoding of a state, version 2: flags (1 out, 2 clean), contact, grace,
// silent, outage, place, pending, count, usual, tail, octaves: count, then bits, count,
// time. Version 1: flags (1 learned), contact, estimate of the longest pauses,
// count, span.
const version = 2

// Encode appends the state.
func (s *state) Encode(b []byte) []byte {
	p := &s.pauses
	b = append(b, version, code.Bits(s.out, p.Clean))
	b = code.AppendInt(b, s.contact, s.grace, s.silent, s.outage)
	b = code.AppendString(b, s.place)
	b = code.AppendInt(b, p.Pending, int64(p.Count), p.Usual, p.Tail)
	b = code.AppendCount(b, len(p.Held))
	for _, o := range p.Held {
		b = append(b, o.Bits)
		b = code.AppendFloat32(code.AppendFloat32(b, o.Count), o.Time)
	}
	return b
}

// Decode reads a state.
func (r *rule) Decode(data []byte) (kind.State, error) {
	in, v, err := kind.ReadState(data, version)
	if err != nil {
		return nil, err
	}
	s := &state{}
	flags := in.Byte()
	s.contact = in.Int()
	if v == 1 {
		r.decodeEstimate(in, s)
		return s, kind.End(in)
	}
	p := &s.pauses
	s.out, p.Clean = flags&1 != 0, flags&2 != 0
	s.grace, s.silent, s.outage, s.place = in.Int(), in.Int(), in.Int(), in.String()
	p.Pending, p.Count, p.Usual, p.Tail = in.Int(), int(in.Int()), in.Int(), in.Int()
	for range in.Count(9, 64) {
		o := detect.Octave{Bits: in.Byte(), Count: in.Float32(), Time: in.Float32()}
		if !(o.Count > 0 && o.Time >= 0) || math.IsInf(float64(o.Count), 0) || math.IsInf(float64(o.Time), 0) ||
			len(p.Held) > 0 && p.Held[len(p.Held)-1].Bits >= o.Bits || o.Bits > 63 {
			in.Fail()
		}
		p.Held = append(p.Held, o)
	}
	if p.Usual < 0 || p.Tail < p.Usual {
		in.Fail()
	}
	return s, kind.End(in)
}

// decodeEstimate begins with what Fettle 0.1 had learned: about how long the
// longest pauses were.
func (r *rule) decodeEstimate(in *code.Reader, s *state) {
	estimate, count := in.Finite(), in.Count(0, math.MaxInt32)
	in.Int()
	for range min(count, 20) {
		s.pauses.Learn(int64(min(estimate, float64(r.maximum))), 0)
	}
}
