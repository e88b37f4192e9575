package device

import (
	"context"
	"slices"
	"sync"
)

// maxSessions bounds the connections of one unit; the oldest gives way.
const maxSessions = 8

// sessions are the live connections by unit.
type sessions struct {
	mu     sync.Mutex
	byUnit map[string][]*session
}

type session struct {
	Session
	client string
	id     Identity
}

// Join makes a session known, so that it hears of changes and can be ended.
// A session of the same unit and client is taken over. The unit is looked at
// once more: it may have been revoked since it was authenticated.
func (g *Gateway) Join(ctx context.Context, id Identity, client string, s Session) error {
	for _, old := range g.sessions.add(&session{s, client, id}) {
		why := Crowded
		if old.client == client {
			why = TakenOver
		}
		old.Kick(why)
	}
	g.cfg.Peers.Shout(Change{Kind: Joined, Units: []string{id.UnitID}, Client: client})
	if _, err := g.active(ctx, id.UnitID); err != nil {
		g.Leave(id, s)
		return err
	}
	g.Contact(id) // Contact is not the caller's request: it may outlive it
	return nil
}

// Leave forgets a session that has ended.
func (g *Gateway) Leave(id Identity, s Session) { g.sessions.remove(id.UnitID, s) }

func (g *Gateway) pushDesired(ctx context.Context, unitID string) {
	live := g.sessions.of(unitID)
	if len(live) == 0 {
		return
	}
	u, err := g.active(ctx, unitID)
	if err != nil {
		g.log.Warn("a unit was not told what to collect", "unit", unitID, "error", err)
		return
	}
	d, err := g.desired(ctx, u)
	if err != nil {
		g.log.Warn("a unit was not told what it is to do", "unit", unitID, "error", err)
		return
	}
	payload := d.JSON()
	for _, s := range live {
		s.Desired(payload)
	}
}

// add puts a session in and gives those that must go.
func (r *sessions) add(s *session) (out []*session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	live := r.byUnit[s.id.UnitID]
	live = slices.DeleteFunc(live, func(o *session) bool {
		if o.client == s.client {
			out = append(out, o)
		}
		return o.client == s.client
	})
	if len(live) >= maxSessions {
		out = append(out, live[0])
		live = slices.Delete(live, 0, 1)
	}
	r.byUnit[s.id.UnitID] = append(live, s)
	return out
}

func (r *sessions) remove(unitID string, s Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	live := slices.DeleteFunc(r.byUnit[unitID], func(o *session) bool { return o.Session == s })
	if len(live) == 0 {
		delete(r.byUnit, unitID)
		return
	}
	r.byUnit[unitID] = live
}

func (r *sessions) of(unitID string) []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.byUnit[unitID])
}

func (r *sessions) unitsOf(product string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for id, live := range r.byUnit {
		if live[0].id.Product == product {
			out = append(out, id)
		}
	}
	return out
}

// revoke ends all sessions of a unit.
func (r *sessions) revoke(unitID string) {
	for _, s := range r.of(unitID) {
		s.Kick(Revoked)
	}
}
