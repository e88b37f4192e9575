package device

import (
	"context"
	"slices"
	"sync"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// Peers are the other processes that take data for the same stream.
type Peers interface {
	// Tell returns when every other process has applied a change, or can take
	// nothing any more.
	Tell(ctx context.Context, c Change) error
	// Shout tells whoever hears it.
	Shout(c Change)
}

// Change is what one process must tell the others. Kind says what happened to
// Units or Product.
type Change struct {
	Kind    string   `json:"kind"`
	Units   []string `json:"units,omitempty"`
	Product string   `json:"product,omitempty"`
	Client  string   `json:"client,omitempty"`
}

// The kinds of changes. Held: nothing of the units is taken until they are
// released, and what was taken of them is durable. Changed: they are to be read
// anew. Revoked: and their connections ended. Declared: a product is to be read
// anew. Reported: new versions of theirs are in the records. Noticed: an update
// waits. Joined: a client of a unit has connected
// elsewhere.
const (
	Held     = "held"
	Released = "released"
	Changed  = "changed"
	Ended    = "revoked"
	Reported = "reported"
	Declared = "declared"
	Noticed  = "noticed"
	Joined   = "joined"
)

// alone is a process without others.
type alone struct{}

func (alone) Tell(context.Context, Change) error { return nil }
func (alone) Shout(Change)                       {}

// holdFor bounds how long a unit is held whose release does not come: its new
// state is in the records.
const holdFor = 30 * time.Second

// holds are the units that another process is changing.
type holds struct {
	mu     sync.Mutex
	byUnit map[string]*hold
}

type hold struct {
	held    chan struct{} // closed when nothing more is taken of the unit
	release chan struct{}
	once    sync.Once
}

// Apply takes in a change that another process made.
func (g *Gateway) Apply(ctx context.Context, c Change) error {
	switch c.Kind {
	case Held:
		for _, id := range c.Units {
			if err := g.hold(ctx, id); err != nil {
				return err
			}
		}
		return g.flush(ctx)
	case Released:
		for _, id := range c.Units {
			g.release(id)
			g.pushDesired(ctx, id)
		}
	case Changed, Reported, Ended:
		for _, id := range c.Units {
			g.registry.drop(id)
			if c.Kind == Ended {
				g.sessions.revoke(id)
			}
		}
		return g.flush(ctx)
	case Declared:
		g.registry.dropProduct(c.Product)
		for _, id := range g.sessions.unitsOf(c.Product) {
			g.pushDesired(ctx, id)
		}
		return g.flush(ctx)
	case Noticed:
		for _, id := range c.Units {
			for _, s := range g.sessions.of(id) {
				s.Notice()
			}
			g.pushDesired(ctx, id)
		}
	case Joined:
		for _, id := range c.Units {
			for _, s := range g.sessions.taken(id, c.Client) {
				s.Kick(TakenOver)
			}
		}
	default:
		return fault.New(fault.Invalid, "a change of kind %q is not known: another process is newer", c.Kind)
	}
	return nil
}

// hold keeps everybody from a unit's state until it is released.
func (g *Gateway) hold(ctx context.Context, unitID string) error {
	g.holds.mu.Lock()
	h, under := g.holds.byUnit[unitID]
	if !under {
		h = &hold{held: make(chan struct{}), release: make(chan struct{})}
		g.holds.byUnit[unitID] = h
	}
	g.holds.mu.Unlock()
	failed := make(chan error, 1)
	if !under {
		go func() {
			failed <- g.registry.change(context.WithoutCancel(ctx), unitID, func(*unit) error {
				close(h.held)
				select {
				case <-h.release:
				case <-time.After(holdFor):
					g.log.Warn("a unit was held for long", "unit", unitID)
				}
				return nil
			})
			g.holds.mu.Lock()
			defer g.holds.mu.Unlock()
			if g.holds.byUnit[unitID] == h {
				delete(g.holds.byUnit, unitID)
			}
		}()
	}
	select {
	case <-h.held:
		return nil
	case err := <-failed:
		select {
		case <-h.held: // and released
			return nil
		default:
		}
		if fault.KindOf(err) == fault.NotFound {
			return nil
		}
		return err
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, "hold unit", ctx.Err())
	}
}

func (g *Gateway) release(unitID string) {
	g.holds.mu.Lock()
	h := g.holds.byUnit[unitID]
	delete(g.holds.byUnit, unitID)
	g.holds.mu.Unlock()
	if h != nil {
		h.once.Do(func() { close(h.release) })
	}
}

// Forget reads every unit and product anew: changes may have been missed.
func (g *Gateway) Forget() {
	r := g.registry
	r.mu.Lock()
	products := make([]string, 0, len(r.known))
	for name := range r.known {
		products = append(products, name)
	}
	r.roster.Clear()
	r.mu.Unlock()
	for _, name := range products {
		r.dropProduct(name)
	}
}

// flush returns when everything that was taken before is durable.
func (g *Gateway) flush(ctx context.Context) error {
	done := make(awaited, 1)
	if err := g.commits.submitMarks([]telemetry.Mark{}, submission{receipt: done}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, "wait for what was taken", ctx.Err())
	}
}

// tellUnits tells the others of many units.
func (g *Gateway) tellUnits(ctx context.Context, kind string, ids []string) error {
	for some := range slices.Chunk(ids, 1000) {
		if err := g.cfg.Peers.Tell(ctx, Change{Kind: kind, Units: some}); err != nil {
			return err
		}
	}
	return nil
}

// taken are the sessions of a client that has connected elsewhere.
func (r *sessions) taken(unitID, client string) []*session {
	return slices.DeleteFunc(r.of(unitID), func(s *session) bool { return s.client != client })
}
