package campaign

import "sync"

// failures counts, in this process, the tasks of each campaign that failed.
// Whoever judges a campaign looks at once when one more did.
type failures struct {
	mu sync.Mutex
	by map[string]int
}

func (f *failures) add(campaignID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[string]int{}
	}
	f.by[campaignID]++
}

// Failures is how many tasks of a campaign failed since the process began. It
// says that there is something to look at, never what; the records say that.
func (m *Manager) Failures(campaignID string) int {
	m.failures.mu.Lock()
	defer m.failures.mu.Unlock()
	return m.failures.by[campaignID]
}
