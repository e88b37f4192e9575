// Package silence is the kind of detector that finds units that stop
// reporting: by the interval that each is used to, with timers that run when
// nothing arrives. It runs on contact, in receive time. Time in which the
// server was down is not silence.
package silence

import (
	"fmt"
	"math"
	"time"

	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/fleet"
)

// Kind is this kind's entry in the table of kinds.
var Kind = kind.Kind{Compile: compile, Contacts: true}

// rule is a detector version ready to run.
type rule struct {
	kind.Base
	patience detect.Patience
}

// state is one unit's under the rule.
type state struct {
	contact  int64 // receive time of the newest contact
	interval detect.Interval
}

const (
	defaultFactor  = 4
	defaultMinimum = 10 * time.Minute
	defaultMaximum = 7 * 24 * time.Hour
)

func compile(c *kind.Checks, _ *fleet.Product, d *kind.Detector, _ kind.Basis) kind.Rule {
	factor, minimum, maximum := d.Factor, time.Duration(d.Minimum), time.Duration(d.Maximum)
	if factor == 0 {
		factor = defaultFactor
	}
	if minimum == 0 {
		minimum = defaultMinimum
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
	return &rule{patience: detect.Patience{Factor: factor, Minimum: minimum.Milliseconds(), Maximum: maximum.Milliseconds()}}
}

// New is a unit that was not heard of yet.
func (r *rule) New() kind.State { return &state{} }

// Join sets the timer.
func (r *rule) Join(d *kind.Desk, w *kind.Watch) {
	if s := w.State.(*state); s.contact > 0 && w.Finding == nil {
		d.Wake(w, s.contact+s.interval.Allowed(r.patience))
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
		s.interval.Learn(gap, r.patience)
		if w.Finding != nil {
			d.Continue(w, at, float64(gap)/1000)
			d.Close(w, at, "heard of again after "+span(gap))
		}
	}
	s.contact, w.Newest = at, at
	d.Touch(w.Unit)
	d.Wake(w, at+s.interval.Allowed(r.patience))
}

// Due looks whether it was heard of since.
func (r *rule) Due(d *kind.Desk, w *kind.Watch, at int64) {
	s := w.State.(*state)
	if w.Finding != nil {
		return
	}
	allowed := s.interval.Allowed(r.patience)
	due := d.Clock.After(s.contact, allowed)
	if due > at {
		d.Wake(w, due)
		return
	}
	f := d.Open(w, s.contact, due, at)
	f.Peak = float64(allowed) / 1000
	f.Why = fmt.Sprintf("nothing heard for %s since %s", span(allowed), words.Instant(f.Onset))
	if s.interval.Learned {
		f.Why += fmt.Sprintf("; it is usually heard of within %s", span(int64(s.interval.Estimate)))
	}
}

func span(ms int64) string { return words.Span(time.Duration(ms) * time.Millisecond) }

// The encoding of a state, version 1: flags (1 learned), contact, estimate, count, span.
const version = 1

// Encode appends the state.
func (s *state) Encode(b []byte) []byte {
	b = append(b, version, kind.Bits(s.interval.Learned))
	b = kind.AppendInt(b, s.contact)
	b = kind.AppendFloat(b, s.interval.Estimate)
	b = kind.AppendCount(b, s.interval.Count)
	return kind.AppendInt(b, s.interval.Span)
}

// Decode reads a state.
func (r *rule) Decode(data []byte) (kind.State, error) {
	in, _, err := kind.ReadState(data, version)
	if err != nil {
		return nil, err
	}
	s := &state{}
	s.interval.Learned = in.Byte()&1 != 0
	s.contact = in.Int()
	s.interval.Estimate, s.interval.Count, s.interval.Span = in.Float(), in.Count(0, math.MaxInt32), in.Int()
	return s, in.End()
}
