package device

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"fettle.dev/fettle/internal/device/roster"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Roll is what the records know of all units that may poll, and what they keep
// of when each was last heard of.
type Roll interface {
	// Members calls fn for each active unit that has a token, with the token's SHA-256.
	Members(ctx context.Context, fn func(unitID string, key int64, product string, tokenHash []byte)) error
	// PutSeen keeps a part of what a roster saves, in place of what was kept of it.
	PutSeen(ctx context.Context, part int, body []byte, at time.Time) error
	// Seen gives what was kept of each part.
	Seen(ctx context.Context, fn func(part int, body []byte) error) error
}

// PollLimits bounds polls, on the machine's clock. Zero values stand for the
// defaults named.
type PollLimits struct {
	Unit    float64        // polls a second of one unit, 60 at once: 1
	Address float64        // polls a second from one address, two seconds' worth at once; 0: any
	Failed  float64        // failed attempts a second from one address, ten seconds' worth at once: 10
	Exempt  []netip.Prefix // addresses that Address is not for
}

// OftenError asks a unit, or all that come from its address, to poll later.
type OftenError struct {
	After time.Duration // until it may
	By    string        // "unit", "address", or "failures": failed attempts from the address
}

func (e *OftenError) Error() string {
	wait := max(e.After, time.Second).Round(time.Second).String()
	switch e.By {
	case "address":
		return "too many polls come from this address; come again in " + wait
	case "failures":
		return "too many attempts from this address failed; come again in " + wait
	default:
		return "the unit polls more often than it may; come again in " + wait
	}
}

// Unwrap makes it a want of room.
func (e *OftenError) Unwrap() error { return fault.Wrap(fault.Unavailable, "", ErrBusy) }

// polls is what the gateway needs for polls.
type polls struct {
	roster    *roster.Roster
	addresses *roster.Addresses
	exempt    []netip.Prefix
	began     time.Time
	waiting   []int64 // units heard of whose marks the stream had no room for
}

func newPolls(l PollLimits, speed float64) polls {
	setDefault(&l.Unit, 1)
	setDefault(&l.Failed, 10)
	return polls{
		roster:    roster.New(roster.Config{Rate: l.Unit * speed, Contact: contactEvery}),
		addresses: roster.NewAddresses(l.Address*speed, l.Failed),
		exempt:    l.Exempt, began: now(),
	}
}

// Poll authenticates a unit that polls, by its token, and notes that it was
// heard of. Nearly always it does so from memory, at the same cost in any
// fleet. Beside the refusals of Token there is OftenError.
func (g *Gateway) Poll(ctx context.Context, unitID, token string, from netip.Addr) (Identity, error) {
	p := &g.polls
	at := now().Sub(p.began)
	if wait := p.pace(from, at); wait > 0 {
		return Identity{}, g.often(wait, "address")
	}
	for again := false; ; again = true {
		m, verdict, wait := p.roster.Poll(unitID, token, g.cfg.Clock.Now(), at)
		switch {
		case verdict == roster.Welcome:
			return Identity{UnitID: m.UnitID, Key: m.Key, Product: m.Product}, nil
		case verdict == roster.Early:
			return Identity{}, g.often(wait, "unit")
		case again: // it was changed between
			return Identity{}, ErrCredential
		}
		if wait := p.addresses.Barred(from, at); wait > 0 {
			return Identity{}, g.often(wait, "failures")
		}
		if _, err := g.Token(ctx, unitID, token); err != nil { // which puts a unit that it finds into the roster
			if fault.KindOf(err) == fault.Denied {
				p.addresses.Failed(from, at)
			}
			return Identity{}, err
		}
		g.registry.enlist(unitID)
	}
}

func (p *polls) pace(from netip.Addr, at time.Duration) time.Duration {
	for _, free := range p.exempt {
		if free.Contains(from) {
			return 0
		}
	}
	return p.addresses.Poll(from, at)
}

func (g *Gateway) often(wait time.Duration, by string) error {
	g.metrics.often.WithLabelValues(by).Inc()
	return &OftenError{wait, by}
}

// enlist puts a unit that is in memory into the roster.
func (r *registry) enlist(unitID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u := r.byID[unitID]; u != nil {
		r.list(u)
	}
}

// list takes a unit as it was read into the roster, or out of it. The caller
// holds r.mu, under which whoever changes a unit takes it out.
func (r *registry) list(u *unit) {
	if u.state != fleet.UnitActive {
		r.roster.Remove(u.id.UnitID)
		return
	}
	r.roster.Put(roster.Member{UnitID: u.id.UnitID, Key: u.id.Key, Product: u.id.Product, TokenHash: u.tokenHash})
}

// Enlist reads every unit that may poll, and when each last did, before the
// doors open: else each first poll after a start would read the records.
func (g *Gateway) Enlist(ctx context.Context) (units int, err error) {
	if g.cfg.Roll == nil {
		return 0, nil
	}
	r := g.polls.roster
	err = g.cfg.Roll.Members(ctx, func(unitID string, key int64, product string, tokenHash []byte) {
		r.Put(roster.Member{UnitID: unitID, Key: key, Product: product, TokenHash: tokenHash})
	})
	if err != nil {
		return 0, fmt.Errorf("list units that poll: %w", err)
	}
	r.Trim()
	if err := g.cfg.Roll.Seen(ctx, r.Restore); err != nil {
		return 0, fmt.Errorf("when units were last heard of: %w", err)
	}
	return r.Len(), nil
}

// saveEvery is how often it is kept when units last polled.
const saveEvery = time.Minute

// most is how many units may wait to be marked as heard of while the stream
// has no room; of what is more, the next poll counts.
const most = 1 << 20

// hear marks units that polled as heard of, all of a second together, and
// keeps when each last did, until ctx ends.
func (g *Gateway) hear(ctx context.Context) {
	every := max(time.Duration(float64(time.Second)/speed(g.cfg.Clock)), 20*time.Millisecond)
	beat, save := time.NewTicker(every), time.NewTicker(saveEvery)
	defer beat.Stop()
	defer save.Stop()
	for {
		select {
		case <-beat.C:
			g.markHeard(ctx)
		case <-save.C:
			g.keepSeen(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			g.markHeard(last)
			g.keepSeen(last)
			return
		}
	}
}

func (g *Gateway) markHeard(ctx context.Context) {
	p := &g.polls
	if p.waiting = p.roster.Heard(p.waiting); len(p.waiting) == 0 {
		return
	}
	p.waiting = p.waiting[max(len(p.waiting)-most, 0):]
	marks := make([]telemetry.Mark, len(p.waiting))
	for i, key := range p.waiting {
		marks[i] = telemetry.Mark{Kind: telemetry.MarkContact, Unit: key}
	}
	if err := g.Mark(ctx, marks...); err != nil {
		g.log.Debug("units that polled are marked as heard of later", "units", len(marks), "error", err)
		return
	}
	p.waiting = p.waiting[:0]
}

func (g *Gateway) keepSeen(ctx context.Context) {
	if g.cfg.Roll == nil {
		return
	}
	err := g.polls.roster.Save(func(part int, body []byte) error {
		return g.cfg.Roll.PutSeen(ctx, part, body, g.cfg.Clock.Now())
	})
	if err != nil && ctx.Err() == nil {
		g.log.Warn("it was not kept when units last polled; tried again", "error", err)
	}
}

// Vouched is a unit that somebody whom the operator trusts for it has proved to
// be itself. Beside the refusals of Token there is none.
func (g *Gateway) Vouched(ctx context.Context, unitID string) (Identity, error) {
	u, err := g.active(ctx, unitID)
	if err != nil {
		return Identity{}, err
	}
	return u.id, nil
}

// Told notes after how long a unit was told to poll again, where that is not as
// usual.
func (g *Gateway) Told(unitID string, again time.Duration) { g.polls.roster.Tell(unitID, again) }

// Polled is when a unit last polled, zero if it never has, and after how long
// it was told to poll again; 0: as usual.
func (g *Gateway) Polled(unitID string) (at time.Time, again time.Duration) {
	return g.polls.roster.Seen(unitID)
}

// Listening reports whether a unit has a connection here on which it hears at
// once that an update waits for it.
func (g *Gateway) Listening(unitID string) bool {
	g.sessions.mu.Lock()
	defer g.sessions.mu.Unlock()
	for _, s := range g.sessions.byUnit[unitID] {
		if l, ok := s.Session.(interface{ Listening() bool }); ok && l.Listening() {
			return true
		}
	}
	return false
}
