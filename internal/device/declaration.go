package device

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/fleet"
)

// Declaration is what a unit's product says of the signals it may send, for
// frontends whose protocols have names and units of measure of their own. It
// is a snapshot; the gateway decides anew what may be kept.
type Declaration struct{ product *product }

// source is a fleet.Source made ready: under its name, what else must hold.
type source struct {
	where  map[string]string
	signal int // into Signals
}

func sourcesOf(p *fleet.Product) map[string][]source {
	out := map[string][]source{}
	for i, s := range p.Signals {
		for _, from := range s.Sources {
			out[from.Name] = append(out[from.Name], source{from.Where, i})
		}
	}
	return out
}

// Declaration gives the declaration of a unit's product.
func (g *Gateway) Declaration(ctx context.Context, id Identity) (Declaration, error) {
	u, err := g.active(ctx, id.UnitID)
	if err != nil {
		return Declaration{}, err
	}
	return Declaration{u.product}, nil
}

// Product is the product's name.
func (d Declaration) Product() string { return d.product.Name }

// Signals is the number of signals; they are known by their index below it.
func (d Declaration) Signals() int { return len(d.product.Signals) }

// Signal is a signal by its index.
func (d Declaration) Signal(index int) *fleet.Signal { return &d.product.Signals[index] }

// Named finds a signal by its own name.
func (d Declaration) Named(name []byte) (index int, ok bool) {
	index, ok = d.product.index[string(name)]
	return index, ok
}

// Source finds the signal that declares a name of another protocol as its
// source. Value gives the tags or attributes that came with the sample, ""
// for one that did not; the first declared source whose conditions all hold
// is taken.
func (d Declaration) Source(name []byte, value func(tag string) string) (index int, ok bool) {
next:
	for _, s := range d.product.sources[string(name)] {
		for tag, want := range s.where {
			if value == nil || value(tag) != want {
				continue next
			}
		}
		return s.signal, true
	}
	return 0, false
}

// Now is the server's time.
func (g *Gateway) Now() time.Time { return g.cfg.Clock.Now() }
