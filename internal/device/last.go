package device

import "time"

// LastContact is when a unit was last heard of, within a minute: by a poll, or
// since this process started in any way; zero if it has not been.
func (g *Gateway) LastContact(unitID string) time.Time {
	polled, _ := g.polls.roster.Seen(unitID)
	heard := g.lastHeard(unitID)
	if polled.After(heard) {
		return polled
	}
	return heard
}

func (g *Gateway) lastHeard(unitID string) time.Time {
	g.registry.mu.RLock()
	t := g.registry.times[unitID]
	g.registry.mu.RUnlock()
	if t == nil {
		return time.Time{}
	}
	if ms := t.contact.Load(); ms > 0 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Time{}
}
