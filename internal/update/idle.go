package update

import (
	"context"
	"hash/maphash"
	"math"
	"sync"

	"fettle.dev/fettle/internal/fleet"
)

// idle remembers what polls of units that have nothing to do are answered, so
// that they cost no read however many campaigns there have been. A unit is
// known by a hash of its id: 128 bits with seeds that nobody knows, so that a
// million take tens of megabytes and nothing that the garbage collector looks
// at.
type idle struct {
	seeds [2]maphash.Seed

	mu        sync.RWMutex
	known     map[unitName]rest   // units that have or had an assignment; only grows
	described map[uint64]struct{} // units whose client has described itself, by half of their name: one of 2^64 taken for another is not asked once more
}

type unitName [2]uint64

// rest is how long a unit's polls show no action.
type rest struct {
	until     int64  // Unix ms; 0: not known, the records must be asked
	installed int32  // action id of the latest that was installed; 0: none
	changing  int32  // changes of its assignments that have not ended
	stamp     uint32 // counts changes, so that an answer from before one is not kept
	open      bool   // an assignment has not ended
}

func newIdle() *idle {
	return &idle{
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		known: map[unitName]rest{}, described: map[uint64]struct{}{},
	}
}

func (i *idle) name(unitID string) unitName {
	return unitName{maphash.String(i.seeds[0], unitID), maphash.String(i.seeds[1], unitID)}
}

func (i *idle) add(unitID string) {
	n := i.name(unitID)
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.known[n]; !ok {
		i.known[n] = rest{}
	}
}

func (i *idle) describe(unitID string) {
	n := i.name(unitID)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.described[n[0]] = struct{}{}
}

// undescribe has a unit's client asked to describe itself once more.
func (i *idle) undescribe(unitID string) {
	n := i.name(unitID)
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.described, n[0])
}

func (i *idle) knows(unitID string) bool {
	_, known, _ := i.look(unitID)
	return known
}

func (i *idle) look(unitID string) (r rest, known, described bool) {
	first := maphash.String(i.seeds[0], unitID)
	i.mu.RLock()
	defer i.mu.RUnlock()
	if len(i.known) > 0 {
		r, known = i.known[unitName{first, maphash.String(i.seeds[1], unitID)}]
	}
	_, described = i.described[first]
	return r, known, described
}

// changing is called before a unit's assignments change, in whatever
// transaction ctx has: until that has ended nothing is remembered of the unit,
// since it may be rolled back, and what was read meanwhile is not either. The
// unit is known from then on: one read too many is cheaper than an assignment
// that no poll looks for.
func (i *idle) changing(unitID string) (changed func(ctx context.Context)) {
	n := i.name(unitID)
	count := func(by int32) {
		i.mu.Lock()
		defer i.mu.Unlock()
		r := i.known[n]
		r.until, r.changing, r.stamp = 0, r.changing+by, r.stamp+1
		i.known[n] = r
	}
	count(1)
	return func(ctx context.Context) { fleet.AtEnd(ctx, func() { count(-1) }) }
}

// settle remembers what the records said, unless they changed since before.
func (i *idle) settle(unitID string, before rest, until int64, w *Work) {
	if w.Installed > math.MaxInt32 {
		return
	}
	n := i.name(unitID)
	i.mu.Lock()
	defer i.mu.Unlock()
	if r := i.known[n]; r.stamp == before.stamp && r.changing == 0 {
		r.until, r.installed, r.open = until, int32(w.Installed), w.Open
		i.known[n] = r
	}
}
