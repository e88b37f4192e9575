package device

// Marked is whether the commit that is open has a mark of a unit, which later
// rows of it must follow.
func (g *Gateway) Marked(key int64) bool {
	g.commits.mu.Lock()
	defer g.commits.mu.Unlock()
	if g.commits.open == nil {
		return false
	}
	_, ok := g.commits.open.marked[key]
	return ok
}
