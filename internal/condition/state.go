package condition

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/condition/kind"
)

// Changes is what has changed since the changes before: findings by id, states
// by unit. Opened and Cleared are those findings that opened and cleared.
type Changes struct {
	Findings        []Finding
	Opened, Cleared []Finding
	States          []State
	More            bool // is to be taken with it
}

// Now is the newest receive time that the stream has told, in Unix ms.
func (e *Evaluator) Now() int64 { return e.desk.Clock.Now }

// Urgent reports whether a finding has opened or cleared since the last Take.
func (e *Evaluator) Urgent() bool { return len(e.desk.Opened) > 0 || len(e.desk.Closed) > 0 }

// Changed reports whether Take has anything to give.
func (e *Evaluator) Changed() bool {
	return len(e.desk.Findings) > 0 || len(e.desk.Dirty) > 0 || len(e.behind) > 0 || e.ticked || e.desk.Gathered
}

// maxExposures is about how many exposures one Take gives: there is one for
// each detector of each unit, and they change with every row. Units that are
// not among them come first the next time.
const maxExposures = 20_000

// tell picks the units whose exposures go with the next states.
func (e *Evaluator) tell() {
	for _, u := range e.desk.Dirty {
		e.lag(e.units[u.Key])
	}
	n := 0
	for told := 0; n < len(e.behind) && told < maxExposures; n++ {
		u := e.behind[n]
		u.behind, u.tells = false, true
		told += len(u.watches)
		e.desk.Touch(&u.Unit)
	}
	e.behind = append(e.behind[:0], e.behind[n:]...)
}

// lag notes that a unit's exposures have changed since they were told.
func (e *Evaluator) lag(u *unit) {
	if !u.behind {
		u.behind = true
		e.behind = append(e.behind, u)
	}
}

// Take gives what has changed since the last Take, or some of it: then the rest
// is to be taken, too, before anything else is taken in, and all of it to be kept
// together.
func (e *Evaluator) Take(ctx context.Context) (Changes, error) {
	if !e.more {
		e.tell()
		slices.SortFunc(e.desk.Dirty, func(a, b *kind.Unit) int { return cmp.Compare(a.Key, b.Key) })
	}
	var c Changes
	for _, f := range e.desk.Findings {
		c.Findings = append(c.Findings, *f)
	}
	slices.SortFunc(c.Findings, func(a, b Finding) int { return strings.Compare(a.ID, b.ID) })
	for _, id := range e.desk.Opened {
		c.Opened = append(c.Opened, *e.desk.Findings[id])
	}
	for _, id := range e.desk.Closed {
		c.Cleared = append(c.Cleared, *e.desk.Findings[id])
	}
	if e.ticked || e.desk.Gathered {
		c.States = append(c.States, State{Data: e.encode(nil)})
	}
	n, apart, dirty := 0, 0, e.desk.Dirty
	for n < len(dirty) && (e.resident.kept == nil || n == 0 || apart < e.resident.atOnce) {
		states, bytes, err := e.states(ctx, dirty[n:min(n+e.resident.together(), len(dirty))])
		if err != nil {
			return Changes{}, err
		}
		c.States = append(c.States, states...)
		n, apart = n+len(states), apart+bytes
		e.resident.each = apart / n
	}
	c.More = n < len(e.desk.Dirty)
	e.more = c.More
	e.desk.Take(n)
	e.ticked = false
	return c, nil
}

// states are those of units, and how many bytes of them may be evicted.
func (e *Evaluator) states(ctx context.Context, of []*kind.Unit) (out []State, apart int, err error) {
	var away []*unit
	size := 0
	for _, k := range of {
		u := e.units[k.Key]
		if size += u.sizeHint(); u.evicted {
			away = append(away, u)
		}
	}
	if err := e.fill(ctx, away); err != nil {
		return nil, 0, err
	}
	out = make([]State, 0, len(of))
	arena := make([]byte, 0, size)
	for _, k := range of {
		u := e.units[k.Key]
		begin, bytes := len(arena), 0
		arena, bytes = u.encode(arena)
		apart += bytes
		out = append(out, u.state(arena[begin:len(arena):len(arena)]))
		if u.tells = false; u.evicted {
			e.empty(u, bytes)
		} else {
			e.resident.sized(u, bytes)
		}
	}
	return out, apart, nil
}

// Load takes back the states that Take gave, into an evaluator that has taken
// in nothing yet: all at once, or some after others, with that of the stream
// (key 0) among the first.
func (e *Evaluator) Load(ctx context.Context, states []State) error {
	for i := range states {
		if s := &states[i]; s.UnitKey == 0 {
			groups, err := e.decode(s.Data)
			if err == nil {
				err = e.regroup(groups)
			}
			if err != nil {
				return fmt.Errorf("state of the stream: %w", err)
			}
		}
	}
	for i := range states {
		s := &states[i]
		if s.UnitKey == 0 {
			continue
		}
		id, ok, err := e.directory(ctx, s.UnitKey)
		if err != nil {
			return fmt.Errorf("look up unit: %w", err)
		}
		if !ok {
			continue // deleted from the records
		}
		saved, err := decodeUnit(s.Data)
		if err != nil {
			return fmt.Errorf("state of unit %s: %w", id.ID, err)
		}
		for i := range saved.watches {
			if ref := saved.watches[i].ref; !slices.Contains(e.met, ref) {
				e.met = append(e.met, ref)
			}
		}
		u := &unit{}
		u.Key, u.ID, u.Product, u.Attributes = s.UnitKey, id.ID, e.intern(id.Product), id.Attributes
		e.units[u.Key] = u
		if err := e.restore(u, saved); err != nil {
			return fmt.Errorf("state of unit %s: %w", id.ID, err)
		}
		e.lag(u) // they may have been untold when the state was kept
	}
	return nil
}

// refit makes a unit's state that of its product's present rules.
func (e *Evaluator) refit(u *unit, others []*Evaluator) {
	old, values, watches := u.product, u.Values, u.watches
	saved := savedUnit{unit: *u}
	if old != nil {
		for i, name := range old.signals {
			saved.values = append(saved.values, savedReading{name, values[i]})
		}
		for i, w := range watches {
			if w != nil {
				saved.watches = append(saved.watches, savedWatch{ref: old.rules[i].Ref(), watch: w, evicted: w.State == nil})
			}
		}
	}
	for _, o := range others {
		saved.add(o.units[u.Key])
	}
	_ = e.restore(u, &saved) // states are as they were: nothing is decoded
}

// restore gives a unit what was saved of it, under the present rules.
func (e *Evaluator) restore(u *unit, saved *savedUnit) error {
	u.chosen, u.given, u.retired, u.lagKnown = saved.chosen, e.intern(saved.given), saved.retired, saved.lagKnown
	u.Versions = saved.Versions
	u.Lag, u.judged, u.known = saved.Lag, saved.judged, saved.known
	u.product, u.Values, u.watches, u.evicted = nil, nil, nil, false
	e.fit(u, e.desk.Clock.Now)
	if u.product != nil {
		for _, v := range saved.values {
			if i, ok := u.product.index[v.signal]; ok {
				v.Text = e.intern(v.Text)
				u.Values[i] = v.Reading
			}
		}
	}
	for i := range saved.watches {
		if err := e.resume(u, &saved.watches[i]); err != nil {
			return err
		}
	}
	e.join(u)
	return nil
}

// resume goes on with a watch that was saved, or ends it where its rule is gone.
func (e *Evaluator) resume(u *unit, s *savedWatch) error {
	f := s.watch.Finding
	if f != nil {
		f.ID = FindingID(s.ref, u.Key, f.Onset.UnixMilli())
		f.UnitID, f.UnitKey, f.Product = u.ID, u.Key, u.Product
	}
	i := -1
	if u.product != nil {
		i = slices.IndexFunc(u.product.rules, func(r *rule) bool { return r.Ref() == s.ref })
	}
	if i < 0 || u.watches[i] == nil {
		if f != nil {
			w := &kind.Watch{Unit: &u.Unit, Finding: f}
			e.desk.Close(w, e.desk.Clock.Now, e.superseded(s.ref))
		}
		e.desk.Touch(&u.Unit)
		return nil
	}
	r, w := u.product.rules[i], u.watches[i]
	w.Since, w.Newest, w.Exposure, w.Finding = s.watch.Since, s.watch.Newest, s.watch.Exposure, f
	if f != nil {
		f.Severity = r.Severity
	}
	if s.watch.State != nil {
		w.State = s.watch.State
		return nil
	}
	if s.evicted || e.resident.kept != nil && r.Apart {
		w.State, u.evicted = nil, true
		return nil
	}
	data := s.data
	if data == nil {
		data = s.legacy[r.Type]
	}
	state, err := r.Rule.Decode(data)
	if err != nil {
		return fmt.Errorf("under detector %s version %d: %w", s.ref.Name, s.ref.Version, err)
	}
	w.State = state
	return nil
}

// superseded says why a detector version is no longer run.
func (e *Evaluator) superseded(ref Ref) string {
	for _, p := range e.products {
		for _, r := range p.rules {
			if r.Name == ref.Name {
				return fmt.Sprintf("the detector was changed: version %d watches from here", r.Version)
			}
		}
	}
	return "the detector was deleted"
}

// group is what was saved of a rule that looks at units together, and of what
// it has open.
type group struct {
	ref    Ref
	of     string
	places []*Finding
	data   []byte
}

// groups are those of all rules, by product and place in its rules.
func (e *Evaluator) groups() []group {
	var out []group
	for _, name := range slices.Sorted(maps.Keys(e.products)) {
		for _, r := range e.products[name].rules {
			if g, ok := r.Rule.(kind.Gatherer); ok {
				saved := group{ref: r.Ref(), of: name, data: g.EncodeGroup(nil)}
				for _, place := range slices.Sorted(maps.Keys(r.Places)) {
					saved.places = append(saved.places, r.Places[place])
				}
				out = append(out, saved)
			}
		}
	}
	return out
}

// regroup gives rules what was saved of them; what a rule that is gone has open
// is closed.
func (e *Evaluator) regroup(groups []group) error {
	for _, g := range groups {
		var to *rule
		if p := e.products[g.of]; p != nil {
			if i := slices.IndexFunc(p.rules, func(r *rule) bool { return r.Ref() == g.ref }); i >= 0 {
				to = p.rules[i]
			}
		}
		if to == nil {
			for _, f := range g.places {
				b := &kind.Bound{Places: map[string]*Finding{f.Place: f}}
				e.desk.ClosePlace(b, f.Place, e.desk.Clock.Now, e.superseded(g.ref))
			}
			e.ticked = true
			continue
		}
		if err := to.Rule.(kind.Gatherer).DecodeGroup(g.data); err != nil {
			return fmt.Errorf("detector %s version %d: %w", g.ref.Name, g.ref.Version, err)
		}
		for _, f := range g.places {
			f.Product, f.Severity = g.of, to.Severity
			if to.Places == nil {
				to.Places = map[string]*Finding{}
			}
			to.Places[f.Place] = f
		}
	}
	return nil
}
