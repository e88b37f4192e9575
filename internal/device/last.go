package device

import "time"

// LastContact is when a unit was last heard of since this process started,
// within a minute; zero if it has not been.
func (g *Gateway) LastContact(unitID string) time.Time {
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
