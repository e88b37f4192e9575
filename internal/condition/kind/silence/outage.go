package silence

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/detect/code"

	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/condition/words"
)

// outages are those of a rule's units. When units fall silent it is looked at
// each place that one of them is at: all units of the product, and those that
// share one of the attributes the detector names. Where at least half of those
// that can be told of, and at least three, have gone quiet together, one finding
// says so, and theirs are folded into it. It is over when at least half of them
// were heard of again; those that were not are then waited for anew, and found
// one by one.
type outages struct {
	by      []string // attributes
	members map[*kind.Watch]struct{}
	fired   []*kind.Watch // silent since the tick before
	going   map[string]*outage
}

// outage is an open one, by place.
type outage struct {
	opened   int64 // receive time of the tick that opened it
	affected int   // units that were found silent in it
	silent   int   // of them, those still silent
}

const (
	fewest     = 3   // units quiet together
	mostPlaces = 8   // attributes that a detector may name
	everywhere = ""  // the place of all units
	named      = 5   // units named in a finding's evidence
	maxOpen    = 1e6 // bound of what is decoded
)

func (o *outages) group(c *kind.Checks, d *kind.Detector) {
	o.by, o.members, o.going = d.GroupBy, map[*kind.Watch]struct{}{}, map[string]*outage{}
	if len(d.GroupBy) > mostPlaces {
		c.Add("spec.groupBy", fmt.Sprintf("at most %d attributes", mostPlaces), fmt.Sprint(len(d.GroupBy)))
	}
	for i, name := range d.GroupBy {
		if strings.TrimSpace(name) == "" || strings.Contains(name, "=") || slices.Contains(d.GroupBy[:i], name) {
			c.Add(fmt.Sprintf("spec.groupBy[%d]", i), "the name of an attribute of units, as site, each once", fmt.Sprintf("%q", name))
		}
	}
}

func (o *outages) join(w *kind.Watch)  { o.members[w] = struct{}{} }
func (o *outages) leave(w *kind.Watch) { delete(o.members, w) }

// places are those that a unit is at, the widest first.
func (o *outages) places(w *kind.Watch) []string {
	at := make([]string, 1, 1+len(o.by))
	for _, name := range o.by {
		if v := w.Unit.Attributes[name]; v != "" {
			at = append(at, name+"="+v)
		}
	}
	return at
}

// back takes note that a unit of an outage was heard of, or is watched no longer.
func (r *rule) back(d *kind.Desk, w *kind.Watch, s *state, at int64) {
	place := s.place
	s.out, s.place = false, ""
	o := r.going[place]
	if o == nil {
		return
	}
	d.Gathered = true
	o.silent--
	if f := w.Bound.Places[place]; f != nil {
		f.LastAt = kind.Moment(at)
		d.Change(f)
	}
	if 2*o.silent > o.affected {
		return
	}
	why := fmt.Sprintf("%d of %d units were heard of again", o.affected-o.silent, o.affected)
	r.end(d, w.Bound, place, at, why)
}

// end ends an outage: those still silent are waited for anew.
func (r *rule) end(d *kind.Desk, b *kind.Bound, place string, at int64, why string) {
	for _, w := range r.sorted() {
		s := w.State.(*state)
		if !s.out || s.place != place {
			continue
		}
		s.out, s.place, s.grace = false, "", at
		d.Touch(w.Unit)
		d.Wake(w, at+r.allowed(s))
	}
	delete(r.going, place)
	if b.Places[place] != nil {
		d.ClosePlace(b, place, at, why)
	}
}

func (r *rule) sorted() []*kind.Watch {
	out := make([]*kind.Watch, 0, len(r.members))
	for w := range r.members {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b *kind.Watch) int { return cmp.Compare(a.Unit.Key, b.Unit.Key) })
	return out
}

// Tick says of those that fell silent since the tick before what it is.
func (r *rule) Tick(d *kind.Desk, at int64) {
	if len(r.fired) == 0 {
		return
	}
	fired := r.fired
	r.fired = nil
	tried := map[string]bool{}
	for _, w := range fired {
		s := w.State.(*state)
		if _, still := r.members[w]; !still || s.silent == 0 || s.out {
			continue
		}
		r.explain(d, w, s, at, tried)
	}
}

// explain says whether a unit's silence is part of an outage, or its own: of
// the widest place where nearly all are quiet, else of the narrowest where half
// are.
func (r *rule) explain(d *kind.Desk, w *kind.Watch, s *state, at int64, tried map[string]bool) {
	places := r.places(w)
	for _, place := range places {
		if o := r.going[place]; o != nil && s.contact <= o.opened && s.grace <= o.opened {
			r.fold(d, w, s, place, o)
			return
		}
	}
	if s.grace > 0 { // one that stayed silent after the others came back is found by itself
		r.open(d, w, at)
		return
	}
	half := ""
	var some *quiet
	for _, place := range places {
		if tried[place] || r.going[place] != nil {
			continue
		}
		q := r.look(d, place, at)
		if q.nearlyAll() {
			half, some = place, q
			break
		}
		if q.half() {
			half, some = place, q // the narrowest comes last
		}
		tried[place] = !q.half()
	}
	if some == nil {
		r.open(d, w, at)
		return
	}
	r.begin(d, w.Bound, half, at, some)
	if !s.out {
		r.open(d, w, at)
	}
}

// fold makes a unit's silence part of an outage.
func (r *rule) fold(d *kind.Desk, w *kind.Watch, s *state, place string, o *outage) {
	f := w.Bound.Places[place]
	if w.Finding != nil {
		d.Close(w, o.opened, "part of an outage: finding "+f.ID)
	}
	s.out, s.place = true, place
	o.silent++
	o.affected++
	f.Units, f.Peak = max(f.Units, o.affected), max(f.Peak, float64(o.affected))
	d.Change(f)
	d.Touch(w.Unit)
}

// quiet is who is quiet at a place.
type quiet struct {
	silent              []*kind.Watch // not heard of since about last
	last                int64         // newest contact of the silent
	late, alive, before int           // soon to be found silent; heard of since; silent before
}

func (q *quiet) n() int { return len(q.silent) + q.late }

func (q *quiet) half() bool { return q.n() >= fewest && q.n() >= q.alive }

func (q *quiet) nearlyAll() bool { return q.n() >= fewest && q.n() >= 4*(q.alive+q.before) }

// look looks who is quiet at a place.
func (r *rule) look(d *kind.Desk, place string, at int64) *quiet {
	var here []*kind.Watch
	q := &quiet{last: math.MinInt64}
	for w := range r.members {
		s := w.State.(*state)
		if s.contact == 0 || place != everywhere && !slices.Contains(r.places(w), place) {
			continue
		}
		here = append(here, w)
		if s.silent > 0 {
			q.last = max(q.last, s.contact)
		}
	}
	for _, w := range here {
		s := w.State.(*state)
		switch away := d.Clock.Heard(max(s.contact, s.grace), at); {
		case s.silent >= q.last && s.silent > 0:
			q.silent = append(q.silent, w)
		case s.silent > 0:
			q.before++
		case away > r.soon(s):
			q.late++
		case s.contact > q.last:
			q.alive++
		default: // it is not yet time for it
		}
	}
	slices.SortFunc(q.silent, func(x, y *kind.Watch) int { return cmp.Compare(x.Unit.Key, y.Unit.Key) })
	return q
}

// soon is for how long a unit was not heard of that will be found silent within
// about one of its usual pauses, unless it is heard of: where all are gone, those
// that have the same habit follow one another so.
func (r *rule) soon(s *state) int64 {
	usual := s.pauses.Usual
	return max(r.allowed(s)-usual*5/4, usual*11/10)
}

// begin opens an outage.
func (r *rule) begin(d *kind.Desk, b *kind.Bound, place string, at int64, q *quiet) {
	due := int64(math.MaxInt64)
	for _, w := range q.silent {
		due = min(due, w.State.(*state).silent)
	}
	o := &outage{opened: at}
	r.going[place] = o
	f := d.OpenPlace(b, place, q.n(), q.last, max(due, q.last), at)
	f.Why = evidence(place, q, f)
	f.Peak = float64(len(q.silent))
	for _, w := range q.silent {
		s := w.State.(*state)
		if s.out { // its place's outage is part of this one
			r.end(d, b, s.place, at, "part of a wider outage: finding "+f.ID)
			s.grace = 0
		}
		r.fold(d, w, s, place, o)
	}
}

// evidence says who is quiet.
func evidence(place string, q *quiet, f *kind.Finding) string {
	at := ""
	if place != everywhere {
		at = " of " + place
	}
	names := make([]string, 0, named)
	for _, w := range q.silent[:min(named, len(q.silent))] {
		names = append(names, w.Unit.ID)
	}
	more := ""
	if q.n() > len(names) {
		more = fmt.Sprintf(" and %d more", q.n()-len(names))
	}
	return fmt.Sprintf("%d of %d units%s have gone quiet since %s: %s%s", q.n(), q.n()+q.alive, at, words.Instant(f.Onset), strings.Join(names, ", "), more)
}

// EncodeGroup appends the open outages, version 1: count, then place, opened,
// affected, silent.
func (r *rule) EncodeGroup(b []byte) []byte {
	places := make([]string, 0, len(r.going))
	for place := range r.going {
		places = append(places, place)
	}
	slices.Sort(places)
	b = code.AppendCount(append(b, 1), len(places))
	for _, place := range places {
		o := r.going[place]
		b = code.AppendString(b, place)
		b = code.AppendInt(b, o.opened, int64(o.affected), int64(o.silent))
	}
	return b
}

// DecodeGroup reads them.
func (r *rule) DecodeGroup(data []byte) error {
	in, _, err := kind.ReadState(data, 1)
	if err != nil {
		return err
	}
	for range in.Count(4, maxOpen) {
		place := in.String()
		r.going[place] = &outage{opened: in.Int(), affected: int(in.Int()), silent: int(in.Int())}
	}
	return kind.End(in)
}
