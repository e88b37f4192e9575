package device

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"fettle.dev/fettle/internal/device/payload"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// ErrTopic refuses a topic that is neither Fettle's nor mapped for the unit,
// or one that names another unit.
var ErrTopic = fault.New(fault.Denied, "a publish to a topic that is not the unit's")

// Route says how messages on a topic of another platform are read, and whose
// they are.
type Route struct {
	Identity Identity // the sender, or the unit that it relays for
	Relay    bool     // the sender is a relay: what is refused of one unit must not end the others' connection

	mapping *payload.Mapping // nil: acknowledged and ignored
	product *product
	values  fleet.TopicValues
}

// Route finds how a message is read that a unit sends on a topic: by the
// mappings of its product, in their order; as ThingsBoard's; or, when a
// product names the unit as its relay, by that product's mappings, for the unit
// that stands in the topic. ErrTopic when by none; Relay is told also then.
func (g *Gateway) Route(ctx context.Context, id Identity, topic string) (Route, error) {
	u, err := g.active(ctx, id.UnitID)
	if err != nil {
		return Route{}, err
	}
	for _, m := range u.product.mapped {
		if values, ok := m.Match(topic); ok && (values.Unit == "" || values.Unit == id.UnitID) {
			return Route{Identity: u.id, mapping: m, product: u.product, values: values}, nil
		}
	}
	if m := thingsBoardTopics[topic]; m != nil {
		return Route{Identity: u.id, mapping: m, product: u.product}, nil
	}
	if requestOfThingsBoard(topic) {
		return Route{Identity: u.id}, nil
	}
	products, err := g.registry.relaysOf(ctx, id.UnitID)
	if err != nil {
		return Route{}, err
	}
	for _, p := range products {
		for _, m := range p.mapped {
			values, ok := m.Match(topic)
			if !ok || values.Unit == "" {
				continue
			}
			of, err := g.active(ctx, values.Unit)
			if err != nil {
				return Route{Relay: true}, err
			}
			if of.id.Product == p.Name { // else it is for the unit of another product
				return Route{Identity: of.id, Relay: true, mapping: m, product: of.product, values: values}, nil
			}
		}
	}
	return Route{Relay: len(products) > 0}, ErrTopic
}

// Ignored reports whether messages are acknowledged and not read.
func (r *Route) Ignored() bool { return r.mapping == nil || r.mapping.Ignores() }

// MayListen reports whether a unit's subscription to another platform's topics
// is granted, though nothing ever comes: its client may not go on without.
func (g *Gateway) MayListen(ctx context.Context, id Identity, filter string) bool {
	if requestOfThingsBoard(filter) {
		return true
	}
	u, err := g.active(ctx, id.UnitID)
	return err == nil && slices.ContainsFunc(u.product.mapped, func(m *payload.Mapping) bool {
		values, ok := m.Match(filter)
		return ok && m.Ignores() && (values.Unit == "" || values.Unit == id.UnitID)
	})
}

// requestOfThingsBoard reports whether ThingsBoard's clients use a topic to
// ask for something and to be answered: nobody answers.
func requestOfThingsBoard(topic string) bool {
	return strings.HasPrefix(topic, "v1/devices/me/") || strings.HasPrefix(topic, "v2/fw/")
}

// Read reads a message of the route into out, and gives the versions that it
// reports, nil for none. A mistake is fault.Invalid and names its place.
func (r *Route) Read(out *Payload, body []byte) (versions map[string]string, err error) {
	return r.mapping.Read(out, r.product.kind, &r.values, body)
}

// kind is the type of a declared signal.
func (p *product) kind(name []byte) (fleet.ValueType, bool) {
	i, ok := p.index[string(name)]
	if !ok {
		return "", false
	}
	return p.Signals[i].Type, true
}

// mappingsOf compiles a product's mappings.
func mappingsOf(p *fleet.Product) (all []*payload.Mapping, err error) {
	for i := range p.Mappings {
		m, err := payload.NewMapping(p, &p.Mappings[i])
		if err != nil {
			return nil, fmt.Errorf("mapping %s of product %s in the records: %w", p.Mappings[i].Name, p.Name, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// thingsBoardTopics are read so unless a product maps them otherwise.
var thingsBoardTopics = func() map[string]*payload.Mapping {
	all := map[string]*payload.Mapping{}
	for _, topic := range fleet.ThingsBoardTopics() {
		all[topic] = payload.ThingsBoard()
	}
	return all
}()

// relays are the products by the units that they name as relays, read when
// first needed and after each change of a product.
type relays struct {
	mu       sync.Mutex
	changes  int
	products map[string][]*product
}

func (r *relays) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes++
	r.products = nil
}

func (r *registry) relaysOf(ctx context.Context, unitID string) ([]*product, error) {
	r.relays.mu.Lock()
	known, changes := r.relays.products, r.relays.changes
	r.relays.mu.Unlock()
	if known != nil {
		return known[unitID], nil
	}
	declared, err := r.units.Products(ctx)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "look up relays", err)
	}
	known = map[string][]*product{}
	for i := range declared {
		p := &product{Product: declared[i]}
		if len(p.Relays) == 0 {
			continue
		}
		if p.mapped, err = mappingsOf(&p.Product); err != nil {
			return nil, err
		}
		for _, id := range slices.Compact(slices.Sorted(slices.Values(p.Relays))) {
			known[id] = append(known[id], p)
		}
	}
	r.relays.mu.Lock()
	defer r.relays.mu.Unlock()
	if r.relays.changes == changes { // else it may be old already, and is good for this message only
		r.relays.products = known
	}
	return known[unitID], nil
}
