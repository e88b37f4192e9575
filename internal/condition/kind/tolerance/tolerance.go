// Package tolerance is the kind of detector that judges a signal, its rate of
// change, or a condition over several signals against a band by operating
// context: what lies outside long enough, often enough or for enough of a
// window is found, until it lies inside long enough.
//
// A version report and maintenance begin it anew: what was measured before says
// nothing of what is there now.
package tolerance

import (
	"fmt"
	"math"
	"time"

	"fettle.dev/fettle/internal/detect/code"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Kind is this kind's entry in the table of kinds.
var Kind = kind.Kind{Compile: compile, Basis: basis, Rows: true, Apart: true}

// rule is a detector version ready to run.
type rule struct {
	kind.Base
	signal  string
	index   int    // of signal among the product's watched ones
	measure string // the signal's unit
	bands   []band
	episode detect.Rule

	rate   int64                  // the bands bound the change within this time; 0: the value
	breach *expression.Expression // holds outside, in place of signal and bands
	window                        // looked at in place of what is so now
}

type band struct {
	when   *expression.Expression
	limits detect.Limits
}

// state is one unit's under the rule.
type state struct {
	episode detect.Episode
	late    *detect.Episode // rows out of order, in their own order
	change  *detect.Change  // of a rule with rate
	recent  *recent         // of a rule with window
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
	r.declared(c, d)
	r.rate = time.Duration(basis.Tolerance.Rate).Milliseconds()
	t := basis.Tolerance
	if t.Breach != "" {
		if d.Hysteresis != 0 {
			c.Add("spec.hysteresis", "nothing: tolerance "+t.Name+" is a condition, not a band", fmt.Sprint(d.Hysteresis))
		}
		if d.Margin != 0 {
			c.Add("spec.margin", "nothing: tolerance "+t.Name+" is a condition, not a band", fmt.Sprint(d.Margin))
		}
		r.breach = c.Expression(p, d, t.Breach, fmt.Sprintf("product %s: spec.tolerances[%s].breach", p.Name, t.Name), "spec.tolerance")
		return r
	}
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
		if limits.Min > limits.Max && d.Margin < 0 { // else the product's mistake, told there
			c.Add("spec.margin", "no further inwards than half of each band of tolerance "+t.Name, fmt.Sprint(d.Margin))
		}
		r.bands = append(r.bands, band{when, limits})
	}
	return r
}

// Bind looks up where the signals stand.
func (r *rule) Bind(b *kind.Binder) {
	r.breach = b.Share(r.breach, r.episode.Gap)
	if r.breach == nil {
		r.index = b.Index(r.signal)
	}
	for i := range r.bands {
		r.bands[i].when = b.Share(r.bands[i].when, r.episode.Gap)
	}
}

// New is a unit that is inside.
func (r *rule) New() kind.State {
	s := &state{}
	if r.rate > 0 {
		s.change = &detect.Change{}
	}
	if r.length > 0 {
		s.recent = &recent{}
	}
	return s
}

// Row judges a row in order.
func (r *rule) Row(d *kind.Desk, w *kind.Watch, row *telemetry.Row) (judged bool) {
	u, s := w.Unit, w.State.(*state)
	if s.episode.Judged && s.episode.Prev == row.Event {
		return false
	}
	v, limits, applies, known := r.judge(s, u.Values, row.Event, d.Turn)
	if !known && !applies {
		return false
	}
	if !applies {
		s.skip(row.Event)
		return true
	}
	if !known {
		s.skip(row.Event)
		return false
	}
	rule, outer := &r.episode, limits
	if r.length > 0 {
		v, outer = r.look(s.recent, row.Event, v, limits, &r.episode)
		rule = &r.whole
	}
	switch s.episode.Step(rule, row.Event, v, outer) {
	case detect.Opened:
		f := d.Open(w, s.episode.Onset, row.Event, row.Received)
		f.Peak, f.LastAt = s.episode.Peak, kind.Moment(s.episode.Last)
		f.Why = r.why(&s.episode, limits, u.Values) + r.when(u.Values, row.Event, d.Turn)
	case detect.Continued:
		d.Continue(w, s.episode.Last, s.episode.Peak)
	case detect.Closed:
		d.Close(w, row.Event, r.calm())
	default:
	}
	return true
}

// calm says why it is over.
func (r *rule) calm() string {
	why, once := "inside", "inside again"
	if r.length > 0 {
		why = "less than " + r.threshold()
		once = why
	}
	if r.episode.Clear == 0 {
		return once
	}
	return why + " for " + span(r.episode.Clear)
}

// skip says that nothing could be judged.
func (s *state) skip(at int64) {
	s.episode.Skip(at)
	if s.recent != nil {
		s.recent.side.Skip(at)
	}
}

// judge is what is compared with which band. Both applies and known: it is
// judged. Only applies: a value that cannot be judged, because the context or
// what it is compared with is unknown. Only known: no band applies to it.
// Neither: there is no news of it.
func (r *rule) judge(s *state, values []expression.Reading, at int64, turn uint64) (v float64, l detect.Limits, applies, known bool) {
	if r.breach != nil {
		if !r.breach.News(values, at) {
			return 0, l, false, false
		}
		holds, known := r.breach.Eval(values, at, r.episode.Gap, turn)
		if holds {
			v = 1
		}
		return v, detect.Limits{Min: math.Inf(-1), Max: 0.5}, true, known
	}
	reading := &values[r.index]
	if reading.At != at || math.IsNaN(reading.Number) {
		return 0, l, false, false
	}
	l, applies, known = r.band(values, at, turn)
	v = reading.Number
	if r.rate > 0 && s != nil {
		var compared bool
		if v, compared = s.change.Step(at, v, r.rate, r.episode.Gap); !compared {
			return v, l, true, false
		}
	}
	if !known {
		return v, l, true, false
	}
	return v, l, applies, true
}

// Late judges a row that is older than the unit's newest, on its own values
// alone: a rate of change and a window need those before it, so that they are
// not judged late. It may open a finding marked late, closed at once because
// newer data is known.
func (r *rule) Late(d *kind.Desk, w *kind.Watch, row *telemetry.Row, values []expression.Reading) {
	if r.rate > 0 || r.length > 0 {
		return
	}
	s := w.State.(*state)
	v, limits, applies, known := r.judge(nil, values, row.Event, 0)
	if !applies && !known || w.Finding != nil && row.Event >= w.Finding.Onset.UnixMilli() {
		return // nothing of it, or within what is open already
	}
	if s.late == nil || row.Event <= s.late.Prev {
		s.late = &detect.Episode{}
	}
	if !applies || !known {
		s.late.Skip(row.Event)
		return
	}
	if s.late.Step(&r.episode, row.Event, v, limits) != detect.Opened {
		return
	}
	f := d.Past(w, s.late.Onset, row.Event, row.Received)
	f.Peak, f.LastAt = s.late.Peak, kind.Moment(s.late.Last)
	f.Why = r.why(s.late, limits, values) + r.when(values, row.Event, 0)
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
func (r *rule) why(ep *detect.Episode, l detect.Limits, values []expression.Reading) string {
	what, held := r.signal, ""
	if r.episode.Hold > 0 {
		held = " for " + span(ep.Held)
	}
	if r.rate > 0 {
		what = "change of " + r.signal + " within " + span(r.rate)
	}
	if r.breach != nil {
		what = r.breach.Source + r.breach.Tell(values)
	}
	if r.length > 0 {
		if r.breach == nil {
			what += " " + words.Limits(l, r.measure)
		}
		return fmt.Sprintf("%s %s%s", what, r.said(ep.Peak), held)
	}
	if r.breach != nil {
		return what + held
	}
	peak, band := words.Measured(ep.Peak, r.measure), words.Limits(l, r.measure)
	if r.episode.Hold == 0 {
		return fmt.Sprintf("%s %s, %s", what, peak, band)
	}
	reach := "up to"
	if ep.Peak < l.Min {
		reach = "down to"
	}
	return fmt.Sprintf("%s %s %s, %s%s", what, reach, peak, band, held)
}

func span(ms int64) string { return words.Span(time.Duration(ms) * time.Millisecond) }

// The encoding of a state, version 2: flags (1 late, 2 change, 4 recent), the
// episode, [the late one], [change: count, then time and value], [recent: the
// inner episode, count, then step, time, count]. Version 1 had no change and no
// recent.
const version = 2

// Encode appends the state.
func (s *state) Encode(b []byte) []byte {
	b = append(b, version, code.Bits(s.late != nil, s.change != nil, s.recent != nil))
	b = encode(b, &s.episode)
	if s.late != nil {
		b = encode(b, s.late)
	}
	if s.change != nil {
		b = code.AppendCount(b, len(s.change.Held))
		for _, p := range s.change.Held {
			b = code.AppendFloat(code.AppendInt(b, p.At), p.Value)
		}
	}
	if s.recent != nil {
		b = s.recent.encode(b)
	}
	return b
}

// Decode reads a state.
func (r *rule) Decode(data []byte) (kind.State, error) {
	in, _, err := kind.ReadState(data, version)
	if err != nil {
		return nil, err
	}
	s := r.New().(*state)
	flags := in.Byte()
	s.episode = decode(in)
	if flags&1 != 0 {
		late := decode(in)
		s.late = &late
	}
	if flags&2 != 0 {
		s.change = &detect.Change{}
		for range in.Count(9, detect.Cells+3) {
			s.change.Held = append(s.change.Held, detect.Point{At: in.Int(), Value: in.Float()})
		}
	}
	if flags&4 != 0 {
		s.recent = decodeRecent(in)
	}
	if s.change == nil && r.rate > 0 || s.recent == nil && r.length > 0 {
		return nil, kind.ErrState
	}
	return s, kind.End(in)
}

func encode(b []byte, e *detect.Episode) []byte {
	b = append(b, code.Bits(e.Open, e.Outside, e.Judged))
	b = code.AppendInt(b, e.Prev, e.Onset, e.Last, e.Held, e.Calm)
	b = code.AppendFloat(b, e.Peak)
	return code.AppendFloat(b, e.Excess)
}

func decode(in *code.Reader) detect.Episode {
	flags := in.Byte()
	return detect.Episode{
		Open: flags&1 != 0, Outside: flags&2 != 0, Judged: flags&4 != 0,
		Prev: in.Int(), Onset: in.Int(), Last: in.Int(), Held: in.Int(), Calm: in.Int(),
		Peak: in.Float(), Excess: in.Float(),
	}
}
