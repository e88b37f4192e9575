package condition

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// Changes is what has changed since the changes before: findings by id, states
// by unit. Opened and Cleared are those findings that opened and cleared.
type Changes struct {
	Findings        []Finding
	Opened, Cleared []Finding
	States          []State
}

// Now is the newest receive time that the stream has told, in Unix ms.
func (e *Evaluator) Now() int64 { return e.now }

// Urgent reports whether a finding has opened or cleared since the last Take.
func (e *Evaluator) Urgent() bool { return len(e.opened) > 0 || len(e.closed) > 0 }

// Changed reports whether Take has anything to give.
func (e *Evaluator) Changed() bool {
	return len(e.findings) > 0 || len(e.dirty) > 0 || len(e.behind) > 0 || e.ticked
}

// maxExposures is about how many exposures one Take gives: there is one for
// each detector of each unit, and they change with every row. Units that are
// not among them come first the next time.
const maxExposures = 20_000

// tell picks the units whose exposures go with the next states.
func (e *Evaluator) tell() {
	for _, u := range e.dirty {
		e.lag(u)
	}
	n := 0
	for told := 0; n < len(e.behind) && told < maxExposures; n++ {
		u := e.behind[n]
		u.behind, u.tells = false, true
		told += len(u.watches)
		e.touch(u)
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

// Take gives what has changed since the last Take.
func (e *Evaluator) Take() Changes {
	var c Changes
	for _, f := range e.findings {
		c.Findings = append(c.Findings, *f)
	}
	slices.SortFunc(c.Findings, func(a, b Finding) int { return strings.Compare(a.ID, b.ID) })
	for _, id := range e.opened {
		c.Opened = append(c.Opened, *e.findings[id])
	}
	for _, id := range e.closed {
		c.Cleared = append(c.Cleared, *e.findings[id])
	}
	e.tell()
	slices.SortFunc(e.dirty, func(a, b *unit) int { return cmp.Compare(a.key, b.key) })
	c.States = make([]State, 0, len(e.dirty)+1)
	if e.ticked {
		c.States = append(c.States, State{Data: e.ticks.encode(nil, e.now)})
	}
	size := 0
	for _, u := range e.dirty {
		size += u.sizeHint()
	}
	arena := make([]byte, 0, size)
	for _, u := range e.dirty {
		u.dirty = false
		begin := len(arena)
		arena = u.encode(arena)
		c.States = append(c.States, u.state(arena[begin:len(arena):len(arena)]))
		u.tells = false
	}
	clear(e.findings)
	e.opened, e.closed, e.dirty, e.ticked = nil, nil, e.dirty[:0], false
	return c
}

// Load takes back the states that Take gave, into an evaluator that has taken
// in nothing yet.
func (e *Evaluator) Load(ctx context.Context, states []State) error {
	for i := range states {
		if s := &states[i]; s.UnitKey == 0 {
			now, err := e.ticks.decode(s.Data)
			if err != nil {
				return fmt.Errorf("state of the stream: %w", err)
			}
			e.now = now
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
		u := &unit{key: s.UnitKey, id: id.ID, of: e.intern(id.Product)}
		e.units[u.key] = u
		e.restore(u, saved)
		e.lag(u) // they may have been untold when the state was kept
	}
	e.timers.rebuild(e.units)
	return nil
}

// refit makes a unit's state that of its product's present rules.
func (e *Evaluator) refit(u *unit) {
	old, values, watches := u.product, u.values, u.watches
	saved := savedUnit{unit: *u}
	if old != nil {
		for i, name := range old.signals {
			saved.values = append(saved.values, savedReading{name, values[i]})
		}
		for i, w := range watches {
			if w != nil {
				saved.watches = append(saved.watches, savedWatch{old.rules[i].Ref(), w})
			}
		}
	}
	e.restore(u, &saved)
}

// restore gives a unit what was saved of it, under the present rules.
func (e *Evaluator) restore(u *unit, saved *savedUnit) {
	key, id, of, dirty := u.key, u.id, u.of, u.dirty
	*u = saved.unit
	u.key, u.id, u.of, u.dirty = key, id, of, dirty
	u.given = e.intern(u.given)
	u.product, u.values, u.watches = nil, nil, nil
	e.fit(u, e.now)
	if u.product != nil {
		for _, v := range saved.values {
			if i, ok := u.product.index[v.signal]; ok {
				v.Text = e.intern(v.Text)
				u.values[i] = v.Reading
			}
		}
	}
	for _, s := range saved.watches {
		i := -1
		if u.product != nil {
			i = slices.IndexFunc(u.product.rules, func(r *rule) bool { return r.Ref() == s.ref })
		}
		if i >= 0 && u.watches[i] != nil {
			u.watches[i] = s.watch
			if f := s.watch.finding; f != nil {
				f.ID = FindingID(s.ref, u.key, f.Onset.UnixMilli())
				f.Severity, f.UnitID, f.UnitKey, f.Product = u.product.rules[i].Severity, u.id, u.key, u.of
			}
			continue
		}
		if s.watch.finding != nil {
			f := s.watch.finding
			f.ID = FindingID(s.ref, u.key, f.Onset.UnixMilli())
			f.UnitID, f.UnitKey, f.Product = u.id, u.key, u.of
			e.close(u, s.watch, e.now, e.superseded(s.ref))
		}
		e.touch(u)
	}
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
