package device

import "time"

// ClockSkew is how far a unit's clock is ahead of the server's (negative:
// behind), as seen in the messages with event times of the last one to two
// hours in which it sent any, since this process started. It is too low by the
// time its fastest message took, so a unit that sends nothing but what it has
// buffered seems to be behind.
func (g *Gateway) ClockSkew(unitID string) (ahead time.Duration, known bool) {
	g.registry.mu.RLock()
	t := g.registry.times[unitID]
	g.registry.mu.RUnlock()
	if t == nil {
		return 0, false
	}
	ms, ok := t.skew.Least()
	return -time.Duration(ms) * time.Millisecond, ok
}
