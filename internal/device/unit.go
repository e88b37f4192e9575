package device

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/device/payload"
	"fettle.dev/fettle/internal/device/roster"
	"fettle.dev/fettle/internal/device/skew"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// maxCached bounds the units kept in memory, about 600 bytes each.
const maxCached = 100_000

// product is a declaration made ready for the hot path.
type product struct {
	fleet.Product
	index   map[string]int // into Signals
	sources map[string][]source
	mapped  []*payload.Mapping
}

// unit is what the gateway needs to know of a unit to take its data. A
// change in the records replaces it.
type unit struct {
	id        Identity
	state     fleet.UnitState
	product   *product
	permitted []bool // by signal index
	events    permittedEvents
	given     []string
	tokenHash []byte // SHA-256; nil without a token
	versions  map[string]string

	times  *unitTimes // survives replacement
	limits limits
	stale  atomic.Bool // replaced: what was decided by it must be decided anew
}

// unitTimes are the moments that coalesce marks and tell messages apart.
type unitTimes struct {
	contact  atomic.Int64 // newest contact marked or implied by data, Unix ms
	stamp    atomic.Int64 // newest event time given to a message without one
	skew     skew.Estimate
	limit    *rate.Limiter // of samples; nil: none
	versions sync.Mutex    // one version report of a unit at a time
}

func (u *unit) refusal() error {
	if u.state == fleet.UnitActive {
		return nil
	}
	return &inactiveError{u.id.UnitID, u.state}
}

// inactiveError refuses a unit whose credential is right.
type inactiveError struct {
	unitID string
	state  fleet.UnitState
}

func (e *inactiveError) Error() string { return "unit " + e.unitID + " is " + string(e.state) }

// registry caches units and products. What changes in the records is dropped
// at once: a load that was under way while it changed is done again.
type registry struct {
	units    fleet.Store
	creds    fleet.CredentialStore
	consents consent.Store

	mu      sync.RWMutex
	byID    map[string]*unit
	times   map[string]*unitTimes
	known   map[string]*product
	loading map[string]*load

	relays relays
	roster *roster.Roster // units that poll

	unitRate float64                  // samples a second of a unit whose product says nothing
	rates    map[string]*rate.Limiter // by product
}

type load struct {
	done  chan struct{}
	stale bool
	unit  *unit
	err   error
}

func newRegistry(units fleet.Store, creds fleet.CredentialStore, consents consent.Store) *registry {
	return &registry{
		units: units, creds: creds, consents: consents,
		byID: map[string]*unit{}, times: map[string]*unitTimes{}, known: map[string]*product{}, loading: map[string]*load{}, rates: map[string]*rate.Limiter{},
	}
}

// unit gives what is known of a unit; fault.NotFound if there is none.
func (r *registry) unit(ctx context.Context, id string) (*unit, error) {
	r.mu.RLock()
	u := r.byID[id]
	r.mu.RUnlock()
	if u != nil {
		return u, nil
	}
	for {
		r.mu.Lock()
		if u := r.byID[id]; u != nil {
			r.mu.Unlock()
			return u, nil
		}
		l, under := r.loading[id]
		if !under {
			l = &load{done: make(chan struct{})}
			r.loading[id] = l
		}
		r.mu.Unlock()
		if under {
			select {
			case <-l.done:
			case <-ctx.Done():
				return nil, fault.Wrap(fault.Unavailable, "look up unit", ctx.Err())
			}
		} else {
			_ = r.load(ctx, id, l, nil) // l has it
		}
		hurried := errors.Is(l.err, context.Canceled) || errors.Is(l.err, context.DeadlineExceeded)
		if !l.stale && !hurried { // else another caller's end cut it short
			return l.unit, l.err
		}
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap(fault.Unavailable, "look up unit", err)
		}
	}
}

// change reads a unit anew and lets others have it only when announce has
// returned: whatever is judged by the new state comes after what announces it.
func (r *registry) change(ctx context.Context, id string, announce func(*unit) error) error {
	r.mu.Lock()
	if u := r.byID[id]; u != nil {
		u.stale.Store(true)
		delete(r.byID, id)
	}
	r.roster.Remove(id)
	before := r.loading[id]
	if before != nil {
		before.stale = true
	}
	l := &load{done: make(chan struct{})}
	r.loading[id] = l
	r.mu.Unlock()
	if before != nil {
		<-before.done // what is announced last is what was read last
	}
	return r.load(ctx, id, l, announce)
}

// load reads a unit, announces it, and ends l.
func (r *registry) load(ctx context.Context, id string, l *load, announce func(*unit) error) error {
	u, p, err := r.read(ctx, id)
	var unannounced error
	if err == nil && announce != nil {
		unannounced = announce(u)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && !l.stale {
		for old := range r.byID { // any other: the map's order is random enough
			if len(r.byID) < maxCached {
				break
			}
			delete(r.byID, old)
			delete(r.times, old)
		}
		if len(r.times) > 2*maxCached {
			clear(r.times) // a contact mark more than needed is no harm
		}
		if u.times = r.times[id]; u.times == nil {
			u.times = new(unitTimes)
			r.times[id] = u.times
		}
		r.limit(u, &p.Product)
		r.byID[id], r.known[p.Name] = u, p
		r.list(u)
	}
	l.unit, l.err = u, err
	if r.loading[id] == l {
		delete(r.loading, id)
	}
	close(l.done)
	return errors.Join(err, unannounced)
}

func (r *registry) read(ctx context.Context, id string) (*unit, *product, error) {
	rec, err := r.units.Unit(ctx, id)
	if err != nil {
		return nil, nil, fmt.Errorf("look up unit: %w", err)
	}
	r.mu.RLock()
	p := r.known[rec.Product]
	r.mu.RUnlock()
	if p == nil {
		declared, err := r.units.Product(ctx, rec.Product)
		if err != nil {
			return nil, nil, fmt.Errorf("look up product of unit %s: %w", id, err)
		}
		p = &product{Product: declared, index: make(map[string]int, len(declared.Signals))}
		for i, s := range declared.Signals {
			p.index[s.Name] = i
		}
		p.sources = sourcesOf(&declared)
		if p.mapped, err = mappingsOf(&declared); err != nil {
			return nil, nil, err
		}
	}
	mask, err := r.consents.Mask(ctx, id)
	if err != nil {
		return nil, nil, fmt.Errorf("look up consent of unit %s: %w", id, err)
	}
	creds, err := r.creds.Credentials(ctx, id)
	if err != nil {
		return nil, nil, fmt.Errorf("look up credentials of unit %s: %w", id, err)
	}
	u := &unit{
		id:    Identity{UnitID: rec.ID, Key: rec.Key, Product: rec.Product},
		state: rec.State, product: p, permitted: make([]bool, len(p.Signals)), versions: rec.Versions,
	}
	for i, s := range p.Signals {
		u.permitted[i] = mask.Permits(&p.Product, s)
	}
	u.events = permitEvents(&p.Product, mask)
	u.given = mask.Given()
	if creds.TokenHash != "" {
		if u.tokenHash, err = hex.DecodeString(creds.TokenHash); err != nil {
			return nil, nil, fmt.Errorf("token of unit %s in the records: %w", id, err)
		}
	}
	return u, p, nil
}

// drop forgets a unit.
func (r *registry) drop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u := r.byID[id]; u != nil {
		u.stale.Store(true)
		delete(r.byID, id)
	}
	r.roster.Remove(id)
	if l := r.loading[id]; l != nil {
		l.stale = true
	}
}

// dropProduct forgets a product and all its units.
func (r *registry) dropProduct(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, name)
	r.relays.forget()
	for id, u := range r.byID {
		if u.id.Product == name {
			u.stale.Store(true)
			delete(r.byID, id)
		}
	}
	for _, l := range r.loading {
		l.stale = true
	}
}

// Desired is what a unit is told to do, pushed to fettle/v1/desired and read
// from GET /fettle/v1/desired.
type Desired struct {
	Collect []string       `json:"collect"` // signals that its owner permits, in the product's order
	Events  *DesiredEvents `json:"events,omitempty"`
	// What the unit is to be set to, by name. It keeps what is not named.
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
	Features   map[string]json.RawMessage `json:"features,omitempty"`
	// By "parameter:" or "feature:" and the name: another one whenever the
	// unit is to take a value, be it the same again.
	Revisions map[string]int64 `json:"revisions,omitempty"`
}

func (u *unit) desired() Desired {
	d := Desired{Collect: []string{}, Events: u.desiredEvents()}
	for i, ok := range u.permitted {
		if ok {
			d.Collect = append(d.Collect, u.product.Signals[i].Name)
		}
	}
	return d
}

// JSON is the payload on the wire.
func (d Desired) JSON() []byte {
	b, _ := json.Marshal(d) // strings always encode
	return b
}

// stampFor gives a message without event time its receive time, or one
// millisecond more than the unit's message before: a sample's identity is
// unit, signal and event time, and two messages are not one.
func (t *unitTimes) stampFor(now time.Time) int64 {
	for {
		last := t.stamp.Load()
		next := max(now.UnixMilli(), last+1)
		if t.stamp.CompareAndSwap(last, next) {
			return next
		}
	}
}
