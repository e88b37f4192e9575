// Package roster keeps in memory what every poll asks for: whose a token is,
// when the unit was last heard of, and whether it asks too often. It holds
// every unit of the fleet in about a hundred bytes without pointers, so that a
// poll costs no read of the records, no allocation, and the same in a fleet of
// ten as in one of a million; the garbage collector has nothing to look at.
//
// It is a cache: what is not here is asked of the records, and whoever changes
// a unit there removes it here.
package roster

import (
	"crypto/sha256"
	"crypto/subtle"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Parts is in how many parts a roster is kept, locked and saved.
const Parts = 256

// Config of a Roster; zero values stand for the defaults named.
type Config struct {
	Rate    float64       // polls a second of one unit, on the machine's clock: 1
	Burst   int           // polls of one unit that may come at once: 60
	Contact time.Duration // time on the service's clock within which a unit's contacts are one: 1 min
}

// Roster is safe for concurrent use.
type Roster struct {
	seeds   [2]maphash.Seed
	every   int64 // ns between polls of a unit
	burst   int64 // ns that it may be ahead
	contact int64 // s
	parts   [Parts]part

	mu       sync.Mutex
	products atomic.Pointer[[]string] // by their number in a unit
	numbers  map[string]uint32
}

// name stands for a unit's id: two hashes with seeds that nobody knows, of
// which the first is where it is looked for and the second stands beside it. No
// two ids share both; two that shared the first would take turns in memory.
type name [2]uint64

type part struct {
	mu     sync.RWMutex
	places map[uint64]uint32
	units  []unit

	changed atomic.Bool // since it was saved
	listed  sync.Mutex
	heard   []int64 // keys of units to be marked as heard of
}

// unit fills a cache line: in a large fleet, memory that is far is what a poll
// costs. It is written by many under the part's read lock: atomically.
type unit struct {
	token   token
	name    uint64 // the second half
	key     int64
	allowed int64  // ns since the process began: when the next poll is due, were they evenly spaced (GCRA, ITU-T I.371)
	seen    uint32 // Unix seconds of the service's clock; 0: never
	contact uint32 //nolint:modernize // the like, of the last contact listed; plain, since units are copied
	told    uint32 //nolint:modernize // seconds after which it was last told to poll again; 0: as usual
	product uint32
}

// token is the beginning of a token's SHA-256: 192 bits are as far from being
// guessed as 256, and the rest of the line is wanted.
type token [24]byte

// Member is a unit that may poll.
type Member struct {
	UnitID    string
	Key       int64
	Product   string
	TokenHash []byte // SHA-256
}

// New makes an empty Roster.
func New(c Config) *Roster {
	if c.Rate <= 0 {
		c.Rate = 1
	}
	if c.Burst <= 0 {
		c.Burst = 60
	}
	if c.Contact <= 0 {
		c.Contact = time.Minute
	}
	r := &Roster{
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		every: int64(float64(time.Second) / c.Rate), contact: int64(c.Contact / time.Second),
		numbers: map[string]uint32{},
	}
	r.burst = r.every * int64(c.Burst-1)
	for i := range r.parts {
		r.parts[i].places = map[uint64]uint32{}
	}
	return r
}

func (r *Roster) find(unitID string) (*part, name) {
	return &r.parts[number(unitID)], name{maphash.String(r.seeds[0], unitID), maphash.String(r.seeds[1], unitID)}
}

// number is the part that a unit is in, the same in every process: FNV-1a.
func number(unitID string) uint8 {
	h := uint32(2166136261)
	for i := range len(unitID) {
		h = (h ^ uint32(unitID[i])) * 16777619
	}
	return uint8(h ^ h>>8 ^ h>>16 ^ h>>24)
}

// at is a unit, nil if it is not known. The caller holds a lock.
func (p *part) at(n name) *unit {
	i, ok := p.places[n[0]]
	if !ok || p.units[i].name != n[1] {
		return nil
	}
	return &p.units[i]
}

// Trim gives back the room that is there for more units: most of a fleet comes
// at once, when it is read.
func (r *Roster) Trim() {
	for i := range r.parts {
		p := &r.parts[i]
		p.mu.Lock()
		p.units = slices.Clip(slices.Clone(p.units))
		p.mu.Unlock()
	}
}

// Put takes a unit in, or its new token.
func (r *Roster) Put(m Member) {
	if len(m.TokenHash) != sha256.Size {
		r.Remove(m.UnitID)
		return
	}
	product := r.productNumber(m.Product)
	p, n := r.find(m.UnitID)
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.places[n[0]]
	if !ok {
		i = uint32(len(p.units))
		p.units = append(p.units, unit{})
		p.places[n[0]] = i
	}
	u := &p.units[i]
	if u.name != n[1] {
		*u = unit{name: n[1]}
	}
	u.token, u.key, u.product = token(m.TokenHash), m.Key, product
}

func (r *Roster) productNumber(product string) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.numbers[product]
	if !ok {
		var known []string
		if p := r.products.Load(); p != nil {
			known = *p
		}
		n = uint32(len(known))
		known = append(known, product)
		r.products.Store(&known)
		r.numbers[product] = n
	}
	return n
}

// Remove forgets a unit: the records are asked about it next time. When it was
// heard of is kept by nobody else, so that goes on when it is put in again.
func (r *Roster) Remove(unitID string) {
	p, n := r.find(unitID)
	p.mu.Lock()
	defer p.mu.Unlock()
	if u := p.at(n); u != nil {
		u.token = token{} // of nothing that anybody knows
	}
}

// Clear forgets every unit, as Remove does.
func (r *Roster) Clear() {
	for i := range r.parts {
		p := &r.parts[i]
		p.mu.Lock()
		for j := range p.units {
			p.units[j].token = token{}
		}
		p.mu.Unlock()
	}
}

// Len is how many units are known.
func (r *Roster) Len() (n int) {
	for i := range r.parts {
		p := &r.parts[i]
		p.mu.RLock()
		n += len(p.units)
		p.mu.RUnlock()
	}
	return n
}

// Verdict is what becomes of a poll.
type Verdict uint8

// The verdicts. Unknown: the unit and token are not known here to belong
// together, ask the records. Early: it asks too often.
const (
	Unknown Verdict = iota
	Welcome
	Early
)

// Poll tells whether a unit may poll now and notes that it was heard of. At is
// the service's clock, now the time since the process began. Wait is how long
// a unit that is early should.
func (r *Roster) Poll(unitID, token string, at time.Time, now time.Duration) (m Member, v Verdict, wait time.Duration) {
	var space [128]byte // a token's bytes, on the stack
	if len(token) > len(space) || token == "" {
		return m, Unknown, 0
	}
	sum := sha256.Sum256(space[:copy(space[:], token)])
	p, n := r.find(unitID)
	p.mu.RLock()
	u := p.at(n)
	if u == nil || subtle.ConstantTimeCompare(sum[:len(u.token)], u.token[:]) != 1 {
		p.mu.RUnlock()
		return m, Unknown, 0
	}
	wait = allow(&u.allowed, int64(now), r.every, r.burst)
	second := at.Unix()
	atomic.StoreUint32(&u.seen, uint32(second))
	atomic.StoreUint32(&u.told, 0)
	last := atomic.LoadUint32(&u.contact)
	since := second - int64(last)
	heard := (since >= r.contact || since < 0) && atomic.CompareAndSwapUint32(&u.contact, last, uint32(second))
	m = Member{UnitID: unitID, Key: u.key, Product: (*r.products.Load())[u.product]}
	p.mu.RUnlock()
	if !p.changed.Load() {
		p.changed.Store(true)
	}
	if heard {
		p.listed.Lock()
		p.heard = append(p.heard, m.Key)
		p.listed.Unlock()
	}
	if wait > 0 {
		return m, Early, wait
	}
	return m, Welcome, 0
}

// allow takes one from a bucket that gives one every so many ns and holds a
// burst, or says how long to wait. Next is when the one after would be due.
func allow(next *int64, now, every, burst int64) time.Duration {
	for {
		due := atomic.LoadInt64(next)
		from := max(due, now)
		if from-now > burst {
			return time.Duration(from - now - burst)
		}
		if atomic.CompareAndSwapInt64(next, due, from+every) {
			return 0
		}
	}
}

// Heard takes the keys of units that were heard of since it was last asked, at
// most one a unit in a Config.Contact.
func (r *Roster) Heard(keys []int64) []int64 {
	for i := range r.parts {
		p := &r.parts[i]
		p.listed.Lock()
		keys = append(keys, p.heard...)
		p.heard = p.heard[:0]
		p.listed.Unlock()
	}
	return keys
}

// Tell notes after how long a unit was told to poll again, where that is not
// as usual. The next poll ends it.
func (r *Roster) Tell(unitID string, again time.Duration) {
	p, n := r.find(unitID)
	p.mu.RLock()
	defer p.mu.RUnlock()
	if u := p.at(n); u != nil {
		atomic.StoreUint32(&u.told, uint32(again/time.Second))
	}
}

// Seen is when a unit last polled, zero if it has not, and after how long it
// was told to poll again; 0: as usual.
func (r *Roster) Seen(unitID string) (at time.Time, again time.Duration) {
	p, n := r.find(unitID)
	p.mu.RLock()
	defer p.mu.RUnlock()
	u := p.at(n)
	if u == nil {
		return time.Time{}, 0
	}
	if second := atomic.LoadUint32(&u.seen); second > 0 {
		at = time.Unix(int64(second), 0).UTC()
	}
	return at, time.Duration(atomic.LoadUint32(&u.told)) * time.Second
}
