// Package wave says which step of a rollout a unit belongs to: by name, by what
// is known of it, or by lot.
//
// Lots are drawn by a hash of seed and unit alone, so that a unit's place does
// not change when others join or leave, and anybody can draw again.
package wave

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"cel.dev/cel-go/cel"

	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/fleet"
)

// Wave is a step of a rollout. Units that a wave names or matches belong to
// the first such wave; all others are drawn by lot, first into the waves with
// a count, then into those with a share. The last wave takes the rest.
type Wave struct {
	Name  string             `json:"name"`
	Share float64            `json:"share,omitempty" doc:"Of the units drawn by lot, 0 to 1; with where or match, of those that match."`
	Count int                `json:"count,omitempty" doc:"So many units, drawn by lot; with where or match, of those that match."`
	Where string             `json:"where,omitempty" doc:"CEL over a unit, as region == 'NO' && attributes.plug == 'NEMA 14-50': id, serial, hardware, batch, region, version, versions, attributes."`
	Match *cohort.Attributes `json:"match,omitempty" doc:"Units that have one of the values of each attribute, in place of where."`
	Units []string           `json:"units,omitempty" doc:"Ids of units, in place of the others."`
}

// Random reports whether units come into the wave by lot alone, which is what
// makes waves comparable.
func (w *Wave) Random() bool { return w.Where == "" && w.Match == nil && len(w.Units) == 0 }

// How places are drawn: the first 8 bytes of SHA-256 of the seed (8 bytes, big
// endian), the name of the lot, a zero byte, and the unit's id.
const (
	lotShare = "share"
	lotCount = "count"
)

// Place is where a unit stands in a lot, uniform over all 64-bit numbers.
func Place(seed int64, lot, unit string) uint64 {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(seed))
	b = append(append(append(b, lot...), 0), unit...)
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}

func below(place uint64, share float64) bool {
	return share >= 1 || float64(place) < share*math.MaxUint64
}

// Draw puts units into waves.
type Draw struct {
	seed  int64
	waves []Wave
	where []cel.Program  // by wave; nil: no condition
	named map[string]int // unit to wave
	lots  []lot          // by wave; those that count
	// Counted waves share one lot: the first takes the lowest places, the next
	// those after them.
	pool lot
}

// lot finds the places of the lowest n.
type lot struct {
	n   int
	top drawn
}

// ticket is a unit's place in a lot, and in the pool that it falls back to.
type ticket struct {
	place, pool uint64
	unit        string
}

// drawn is a heap of tickets with the greatest place at the top.
type drawn []ticket

func (p drawn) Len() int           { return len(p) }
func (p drawn) Less(i, j int) bool { return p[i].place > p[j].place }
func (p drawn) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *drawn) Push(x any)        { *p = append(*p, x.(ticket)) } // container/heap
func (p *drawn) Pop() any {
	old := *p
	x := old[len(old)-1]
	*p = old[:len(old)-1]
	return x
}

// see takes a ticket, and gives back the one that is beyond the count for it.
func (l *lot) see(t ticket) (out ticket, beyond bool) {
	switch {
	case len(l.top) < l.n:
		heap.Push(&l.top, t)
		return out, false
	case l.n > 0 && t.place < l.top[0].place:
		t, l.top[0] = l.top[0], t
		heap.Fix(&l.top, 0)
	}
	return t, true
}

// New compiles the waves of a campaign; they have been validated.
func New(seed int64, waves []Wave) (*Draw, error) {
	d := &Draw{
		seed: seed, waves: waves, where: make([]cel.Program, len(waves)),
		named: map[string]int{}, lots: make([]lot, len(waves)),
	}
	for i, w := range waves {
		if w.Where != "" {
			p, err := compile(w.Where)
			if err != nil {
				return nil, fmt.Errorf("wave %s: %w", w.Name, err)
			}
			d.where[i] = p
		}
		for _, id := range w.Units {
			if _, taken := d.named[id]; !taken {
				d.named[id] = i
			}
		}
		switch {
		case w.Random():
			d.pool.n += w.Count
		default:
			d.lots[i].n = w.Count
		}
	}
	return d, nil
}

// Counts reports whether a wave takes a number of units: which they are is
// known when all members have been Seen.
func (d *Draw) Counts() bool {
	for i := range d.waves {
		if d.waves[i].Count > 0 {
			return true
		}
	}
	return false
}

// directed is the wave that names or matches a unit, -1 if none does.
func (d *Draw) directed(u *fleet.Unit) int {
	if i, ok := d.named[u.ID]; ok {
		return i
	}
	for i := range d.waves {
		w := &d.waves[i]
		switch {
		case w.Match != nil:
			if ok, _ := w.Match.Holds(u); ok {
				return i
			}
		case d.where[i] != nil && holds(d.where[i], u):
			return i
		}
	}
	return -1
}

// See looks at a member before the waves are drawn.
func (d *Draw) See(u *fleet.Unit) {
	t := ticket{pool: Place(d.seed, lotCount, u.ID), unit: u.ID}
	if i := d.directed(u); i >= 0 {
		w := &d.waves[i]
		t.place = Place(d.seed, w.Name, u.ID)
		switch {
		case w.Count > 0:
			var beyond bool
			if t, beyond = d.lots[i].see(t); !beyond {
				return
			}
		case w.Share == 0 || below(t.place, w.Share):
			return
		}
	}
	t.place = t.pool
	d.pool.see(t)
}

// Cuts are the greatest places that counted waves take, by wave (0: none), and
// the units that they take, of those seen. They are frozen with a campaign, so
// that the waves stay as they are when others join.
func (d *Draw) Cuts() (cuts []uint64, taken map[string]int) {
	if !d.Counts() {
		return nil, nil
	}
	cuts, taken = make([]uint64, len(d.waves)), map[string]int{}
	pool := slices.Clone(d.pool.top)
	slices.SortFunc(pool, func(a, b ticket) int { return cmp.Compare(a.place, b.place) })
	for i := range d.waves {
		w := &d.waves[i]
		list := d.lots[i].top
		if w.Random() {
			n := min(w.Count, len(pool))
			list, pool = pool[:n], pool[n:]
		}
		for _, t := range list {
			cuts[i] = max(cuts[i], t.place)
			taken[t.unit] = i
		}
	}
	return cuts, taken
}

// Wave is the wave of a unit. Who joins a campaign that has begun comes into
// no wave that counts: those are full.
func (d *Draw) Wave(u *fleet.Unit, cuts []uint64, joins bool) int {
	cut := func(i int) uint64 {
		if joins || i >= len(cuts) {
			return 0
		}
		return cuts[i]
	}
	if i := d.directed(u); i >= 0 {
		w := &d.waves[i]
		switch {
		case w.Count > 0:
			if c := cut(i); c > 0 && Place(d.seed, w.Name, u.ID) <= c {
				return i
			}
		case w.Share > 0:
			if below(Place(d.seed, w.Name, u.ID), w.Share) {
				return i
			}
		default:
			return i
		}
	}
	counted, shared := Place(d.seed, lotCount, u.ID), Place(d.seed, lotShare, u.ID)
	for i := range d.waves {
		if w := &d.waves[i]; w.Random() && w.Count > 0 && cut(i) > 0 && counted <= cut(i) {
			return i
		}
	}
	sum := 0.0
	for i := range d.waves {
		w := &d.waves[i]
		if !w.Random() || w.Count > 0 {
			continue
		}
		if sum += w.Share; below(shared, sum) {
			return i
		}
	}
	return len(d.waves) - 1
}
