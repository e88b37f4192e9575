package roster

import (
	"net/netip"
	"sync"
	"time"
)

// Addresses bounds what comes from one network address: polls, and failed
// attempts to prove who one is, which cost a look into the records. An IPv6
// address stands for its /64, which one subscriber has (RFC 6177).
type Addresses struct {
	polls, failures gauge
	parts           [64]addressPart
}

// gauge is a rate: one every so many ns, and how many ns somebody may be ahead.
type gauge struct{ every, burst int64 }

func newGauge(rate float64, burst int) gauge {
	if rate <= 0 {
		return gauge{}
	}
	every := int64(float64(time.Second) / rate)
	return gauge{max(every, 1), max(every, 1) * int64(max(burst, 1)-1)}
}

// maxAddresses bounds the addresses of a part.
const maxAddresses = 4096

type addressPart struct {
	mu    sync.Mutex
	known map[netip.Addr]*address
}

type address struct{ polls, failures int64 }

// NewAddresses allows each address polls a second (0: any) with as many at
// once as come in two seconds, and failed attempts a second with ten seconds' worth at once.
func NewAddresses(polls, failures float64) *Addresses {
	a := &Addresses{polls: newGauge(polls, int(2*polls)), failures: newGauge(failures, int(10*failures))}
	for i := range a.parts {
		a.parts[i].known = map[netip.Addr]*address{}
	}
	return a
}

func block(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// Poll takes a poll of an address, or says how long it should wait.
func (a *Addresses) Poll(from netip.Addr, now time.Duration) time.Duration {
	return a.take(from, now, a.polls, func(k *address) *int64 { return &k.polls })
}

// Failed notes a failed attempt.
func (a *Addresses) Failed(from netip.Addr, now time.Duration) {
	a.take(from, now, a.failures, func(k *address) *int64 { return &k.failures })
}

// Barred is how long an address must wait before it may try again to prove who
// it is; 0: it may.
func (a *Addresses) Barred(from netip.Addr, now time.Duration) time.Duration {
	if a.failures.every == 0 || !from.IsValid() {
		return 0
	}
	p, key := a.part(from)
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.known[key]
	if k == nil {
		return 0
	}
	return time.Duration(max(k.failures-int64(now)-a.failures.burst, 0))
}

func (a *Addresses) part(from netip.Addr) (*addressPart, netip.Addr) {
	key := block(from)
	b := key.As16()
	h := uint32(0)
	for _, c := range b {
		h = h*31 + uint32(c)
	}
	return &a.parts[h%uint32(len(a.parts))], key
}

func (a *Addresses) take(from netip.Addr, now time.Duration, g gauge, of func(*address) *int64) time.Duration {
	if g.every == 0 || !from.IsValid() {
		return 0
	}
	p, key := a.part(from)
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.known[key]
	if k == nil {
		p.makeRoom(int64(now))
		k = &address{}
		p.known[key] = k
	}
	return allow(of(k), int64(now), g.every, g.burst)
}

// makeRoom looks at a few addresses, any: those that have been quiet give way,
// or else one of them.
func (p *addressPart) makeRoom(now int64) {
	looked := 0
	for key, k := range p.known {
		if len(p.known) < maxAddresses {
			return
		}
		if looked++; k.polls <= now && k.failures <= now || looked > 8 {
			delete(p.known, key)
		}
	}
}
