// Package tolerance is the kind of detector that judges a signal against its
// band by operating context: what lies outside long enough is found, until it
// lies inside long enough.
//
// A version report, maintenance and a change of owner begin it anew: what was
// measured before says nothing of what is there now.
package tolerance

import (
	"fmt"
	"math"
	"time"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Kind is this kind's entry in the table of kinds.
var Kind = kind.Kind{Compile: compile, Basis: basis, Rows: true}

// rule is a detector version ready to run.
type rule struct {
	kind.Base
	signal  string
	index   int    // of signal among the product's watched ones
	measure string // the signal's unit
	bands   []band
	episode detect.Rule
}

type band struct {
	when   *expression.Expression
	limits detect.Limits
}

// state is one unit's under the rule.
type state struct {
	episode detect.Episode
	late    *detect.Episode // rows out of order, in their own order
}

func basis(p *fleet.Product, d *kind.Detector, b *kind.Basis) {
	b.Tolerance, _ = p.Tolerance(d.Tolerance)
}

func compile(c *kind.Checks, p *fleet.Product, d *kind.Detector, basis kind.Basis) kind.Rule {
	r := &rule{}
	if basis.Tolerance.Name == "" {
		c.Add("spec.tolerance", "a tolerance of product "+p.Name+kind.List(kind.Each(p.Tolerances, func(t fleet.Tolerance) string { return t.Name })), d.Tolerance)
	}
	c.Number("spec.hysteresis", d.Hysteresis, 0, math.Inf(1))
	c.Number("spec.margin", d.Margin, math.Inf(-1), math.Inf(1))
	r.episode = detect.Rule{
		Hold: time.Duration(d.Hold).Milliseconds(), Clear: time.Duration(d.Clear).Milliseconds(),
		Gap: time.Duration(basis.Gap).Milliseconds(), Hysteresis: d.Hysteresis,
	}
	t := basis.Tolerance
	s, ok := p.Signal(t.Signal)
	if !ok {
		return r // the product's own mistake, or no tolerance
	}
	r.signal, r.measure = s.Name, s.Unit
	c.Purpose(p, d, &s, "spec.purpose", fmt.Sprintf("a purpose that signal %s of tolerance %s is collected for%s", s.Name, t.Name, kind.List(s.Purposes)), d.Purpose)
	for i, b := range t.Bands {
		path := fmt.Sprintf("product %s: spec.tolerances[%s].bands[%d].when", p.Name, t.Name, i)
		when := c.Expression(p, d, b.When, path, "spec.tolerance")
		limits := detect.Limits{Min: math.Inf(-1), Max: math.Inf(1)}
		if b.Min != nil {
			limits.Min = *b.Min - d.Margin
		}
		if b.Max != nil {
			limits.Max = *b.Max + d.Margin
		}
		if limits.Min > limits.Max {
			c.Add("spec.margin", "no further inwards than half of each band of tolerance "+t.Name, fmt.Sprint(d.Margin))
		}
		r.bands = append(r.bands, band{when, limits})
	}
	return r
}

// Bind looks up where the signals stand.
func (r *rule) Bind(b *kind.Binder) {
	r.index = b.Index(r.signal)
	for i := range r.bands {
		r.bands[i].when = b.Share(r.bands[i].when, r.episode.Gap)
	}
}

// New is a unit that is inside.
func (r *rule) New() kind.State { return &state{} }

// Row judges a row in order.
func (r *rule) Row(d *kind.Desk, w *kind.Watch, row *telemetry.Row) (judged bool) {
	u, s := w.Unit, w.State.(*state)
	v := &u.Values[r.index]
	if v.At != row.Event || math.IsNaN(v.Number) || s.episode.Judged && s.episode.Prev == row.Event {
		return false
	}
	limits, applies, known := r.band(u.Values, row.Event, d.Turn)
	if !applies {
		s.episode.Skip(row.Event)
		return known
	}
	switch s.episode.Step(&r.episode, row.Event, v.Number, limits) {
	case detect.Opened:
		f := d.Open(w, s.episode.Onset, row.Event, row.Received)
		f.Peak, f.LastAt = s.episode.Peak, kind.Moment(s.episode.Last)
		f.Why = r.why(&s.episode, limits) + r.when(u.Values, row.Event, d.Turn)
	case detect.Continued:
		d.Continue(w, s.episode.Last, s.episode.Peak)
	case detect.Closed:
		d.Close(w, row.Event, "inside for "+words.Span(time.Duration(r.episode.Clear)*time.Millisecond))
	default:
	}
	return known
}

// Late judges a row that is older than the unit's newest, on its own values
// alone. It may open a finding marked late, closed at once because newer data
// is known.
func (r *rule) Late(d *kind.Desk, w *kind.Watch, row *telemetry.Row, values []expression.Reading) {
	s, v := w.State.(*state), &values[r.index]
	if v.At == expression.Never || math.IsNaN(v.Number) {
		return
	}
	if w.Finding != nil && row.Event >= w.Finding.Onset.UnixMilli() {
		return // within what is open already
	}
	if s.late == nil || row.Event <= s.late.Prev {
		s.late = &detect.Episode{}
	}
	limits, applies, _ := r.band(values, row.Event, 0)
	if !applies {
		s.late.Skip(row.Event)
		return
	}
	if s.late.Step(&r.episode, row.Event, v.Number, limits) != detect.Opened {
		return
	}
	f := d.Past(w, s.late.Onset, row.Event, row.Received)
	f.Peak, f.LastAt = s.late.Peak, kind.Moment(s.late.Last)
	f.Why = r.why(s.late, limits) + r.when(values, row.Event, 0)
}

// band is the first one whose context holds. It is not known which applies
// when a context before it is unknown.
func (r *rule) band(values []expression.Reading, at int64, turn uint64) (l detect.Limits, applies, known bool) {
	for i := range r.bands {
		b := &r.bands[i]
		holds, known := b.when.Eval(values, at, r.episode.Gap, turn)
		if !known {
			return l, false, false
		}
		if holds {
			return b.limits, true, true
		}
	}
	return l, false, true
}

// when says which context applies.
func (r *rule) when(values []expression.Reading, at int64, turn uint64) string {
	for i := range r.bands {
		if holds, _ := r.bands[i].when.Eval(values, at, r.episode.Gap, turn); holds {
			if r.bands[i].when == nil {
				return ""
			}
			return " while " + r.bands[i].when.Source
		}
	}
	return ""
}

// why tells the evidence by the furthest value: the one that fulfils the hold
// may be inside already, within the hysteresis.
func (r *rule) why(ep *detect.Episode, l detect.Limits) string {
	peak, band := words.Measured(ep.Peak, r.measure), words.Limits(l, r.measure)
	if r.episode.Hold == 0 {
		return fmt.Sprintf("%s %s, %s", r.signal, peak, band)
	}
	reach := "up to"
	if ep.Peak < l.Min {
		reach = "down to"
	}
	return fmt.Sprintf("%s %s %s, %s for %s", r.signal, reach, peak, band, words.Span(time.Duration(ep.Held)*time.Millisecond))
}

// The encoding of a state, version 1: flags (1 late), the episode, [the late one].
const version = 1

// Encode appends the state.
func (s *state) Encode(b []byte) []byte {
	b = append(b, version, kind.Bits(s.late != nil))
	b = encode(b, &s.episode)
	if s.late != nil {
		b = encode(b, s.late)
	}
	return b
}

// Decode reads a state.
func (r *rule) Decode(data []byte) (kind.State, error) {
	in, _, err := kind.ReadState(data, version)
	if err != nil {
		return nil, err
	}
	s := &state{}
	flags := in.Byte()
	s.episode = decode(in)
	if flags&1 != 0 {
		late := decode(in)
		s.late = &late
	}
	return s, in.End()
}

func encode(b []byte, e *detect.Episode) []byte {
	b = append(b, kind.Bits(e.Open, e.Outside, e.Judged))
	b = kind.AppendInt(b, e.Prev, e.Onset, e.Last, e.Held, e.Calm)
	b = kind.AppendFloat(b, e.Peak)
	return kind.AppendFloat(b, e.Excess)
}

func decode(in *kind.Reader) detect.Episode {
	flags := in.Byte()
	return detect.Episode{
		Open: flags&1 != 0, Outside: flags&2 != 0, Judged: flags&4 != 0,
		Prev: in.Int(), Onset: in.Int(), Last: in.Int(), Held: in.Int(), Calm: in.Int(),
		Peak: in.Float(), Excess: in.Float(),
	}
}
