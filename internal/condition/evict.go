package condition

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"fettle.dev/fettle/internal/telemetry"
)

// Kept reads back the states of units, by key, as they were kept last. Units
// without one are absent.
type Kept func(ctx context.Context, units []int64) (map[int64][]byte, error)

// resident is which units have states in memory that could be read back, the
// one heard of longest ago first, and what those take up.
type resident struct {
	kept       Kept // nil: everything stays
	most, held int  // bytes, as encoded
	atOnce     int  // bytes of states that one Take gives
	each       int  // of them, of a unit as Take had them last
	first      *unit
	last       *unit
}

// push puts u last.
func (r *resident) push(u *unit) {
	if u.before = r.last; r.last != nil {
		r.last.after = u
	} else {
		r.first = u
	}
	r.last, u.in = u, true
}

func (r *resident) remove(u *unit) {
	if u.before != nil {
		u.before.after = u.after
	} else {
		r.first = u.after
	}
	if u.after != nil {
		u.after.before = u.before
	} else {
		r.last = u.before
	}
	u.before, u.after, u.in = nil, nil, false
}

// used says that a unit was heard of.
func (r *resident) used(u *unit) {
	if r.kept == nil || r.last == u {
		return
	}
	if u.in {
		r.remove(u)
	}
	r.push(u)
}

// sized says what the states of a unit take up that may be evicted.
func (r *resident) sized(u *unit, bytes int) {
	r.held += bytes - u.size
	u.size = bytes
}

// Evict has no more than about most bytes (as encoded) of those states stay in
// memory that rules look at with their unit's rows alone (kind.Kind.Apart): of
// units heard of longest ago they are dropped once they are kept, and read back
// when the unit is heard of again. It is called before Load, which then keeps
// none of them. What has changed stays until it is kept; one Take gives about
// atOnce bytes of it.
func (e *Evaluator) Evict(kept Kept, most, atOnce int) {
	e.resident.kept, e.resident.most, e.resident.atOnce = kept, most, atOnce
}

// together is how many units are encoded together.
func (r *resident) together() int {
	if r.kept == nil {
		return mostRead
	}
	return max(1, min(mostRead, r.atOnce/max(1, r.each)))
}

// Full reports whether about as much has changed as one Take gives.
func (e *Evaluator) Full() bool {
	return e.resident.kept != nil && len(e.desk.Dirty)*e.resident.each > e.resident.atOnce
}

// Keeps says that what Take gave last is kept: states beyond the bound go. What
// has changed since stays until it is kept in turn.
func (e *Evaluator) Keeps() {
	r := &e.resident
	for u := r.first; u != nil && r.held > r.most; {
		next := u.after
		if !u.Dirty() && !u.behind {
			e.evict(u)
		}
		u = next
	}
}

func (e *Evaluator) evict(u *unit) {
	for i, w := range u.watches {
		if w != nil && u.product.rules[i].Apart {
			w.State, u.evicted = nil, true
		}
	}
	e.resident.sized(u, 0)
	if u.in {
		e.resident.remove(u)
	}
	if e.last == u {
		e.last = nil
	}
}

// mostRead is how many states are read back at once.
const mostRead = 256

// recallAll reads back what a batch will ask for.
func (e *Evaluator) recallAll(ctx context.Context, b *telemetry.Batch) error {
	if e.resident.kept == nil {
		return nil
	}
	away := map[int64]*unit{}
	for i := range b.Rows {
		if u := e.units[b.Rows[i].Unit]; u != nil && u.evicted {
			away[u.Key] = u
		}
	}
	for some := range slices.Chunk(slices.Collect(maps.Values(away)), mostRead) {
		if err := e.recall(ctx, some...); err != nil {
			return err
		}
	}
	return nil
}

// recall reads back what was evicted of units.
func (e *Evaluator) recall(ctx context.Context, units ...*unit) error {
	saved, err := e.read(ctx, units)
	if err != nil {
		return err
	}
	for _, u := range units {
		bytes := 0
		for i, w := range u.watches {
			if w == nil || w.State != nil {
				continue
			}
			r := u.product.rules[i]
			data, ok := saved[u.Key].of(r)
			if !ok { // nothing is kept of it any more
				w.State = r.Rule.New()
				continue
			}
			bytes += len(data)
			if w.State, err = r.Rule.Decode(data); err != nil {
				return fmt.Errorf("state of unit %s: under detector %s version %d: %w", u.ID, r.Name, r.Version, err)
			}
		}
		u.evicted = false
		e.resident.sized(u, bytes)
		e.resident.used(u)
	}
	return nil
}

// read gives what is kept of units.
func (e *Evaluator) read(ctx context.Context, units []*unit) (map[int64]*savedUnit, error) {
	if len(units) == 0 {
		return nil, nil
	}
	keys := make([]int64, len(units))
	for i, u := range units {
		keys[i] = u.Key
	}
	kept, err := e.resident.kept(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read states back: %w", err)
	}
	out := make(map[int64]*savedUnit, len(kept))
	for _, u := range units {
		data, ok := kept[u.Key]
		if !ok {
			continue
		}
		if out[u.Key], err = decodeUnit(data); err != nil {
			return nil, fmt.Errorf("state of unit %s: %w", u.ID, err)
		}
	}
	return out, nil
}

// of is the state under a rule, as it was encoded.
func (s *savedUnit) of(r *rule) (data []byte, ok bool) {
	if s == nil {
		return nil, false
	}
	for i := range s.watches {
		if w := &s.watches[i]; w.ref == r.Ref() {
			if w.data == nil {
				return w.legacy[r.Type], true
			}
			return w.data, true
		}
	}
	return nil, false
}

// encoded is a state as it was kept: a unit of which only what stays in memory
// has changed is kept without the rest being made anew.
type encoded []byte

// Encode appends it.
func (s encoded) Encode(b []byte) []byte { return append(b, s...) }

// fill puts what is kept of units' evicted states into their places, encoded.
func (e *Evaluator) fill(ctx context.Context, units []*unit) error {
	saved, err := e.read(ctx, units)
	if err != nil {
		return err
	}
	for _, u := range units {
		for i, w := range u.watches {
			if w == nil || w.State != nil {
				continue
			}
			r := u.product.rules[i]
			data, ok := saved[u.Key].of(r)
			if !ok { // nothing is kept of it any more
				data = r.Rule.New().Encode(nil)
			}
			w.State = encoded(data)
		}
	}
	return nil
}

// empty takes them out again. What of a unit is in memory stays, as of a
// detector that is new, until it is evicted.
func (e *Evaluator) empty(u *unit, bytes int) {
	held := false
	for i, w := range u.watches {
		if w == nil || !u.product.rules[i].Apart {
			continue
		}
		if _, is := w.State.(encoded); is {
			w.State = nil
		} else {
			held = true
		}
	}
	if held {
		e.resident.sized(u, bytes)
		e.resident.used(u)
	}
}
