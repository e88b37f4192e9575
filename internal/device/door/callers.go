package door

import (
	"sync"

	"golang.org/x/time/rate"
)

// maxCallers bounds the addresses that are remembered.
const maxCallers = 10_000

// Callers limits how often each address may do what nobody has to prove
// themselves for, as asking to be enrolled.
type Callers struct {
	rate  rate.Limit
	burst int

	mu sync.Mutex
	by map[string]*rate.Limiter
}

// NewCallers lets each address in so many times a second, and so many at once.
func NewCallers(perSecond float64, burst int) *Callers {
	return &Callers{rate: rate.Limit(perSecond), burst: burst, by: map[string]*rate.Limiter{}}
}

// Allow reports whether an address may go on. When too many are remembered all
// are forgotten: that grants each a burst more, and bounds memory.
func (c *Callers) Allow(host string) bool {
	c.mu.Lock()
	l := c.by[host]
	if l == nil {
		if len(c.by) >= maxCallers {
			clear(c.by)
		}
		l = rate.NewLimiter(c.rate, c.burst)
		c.by[host] = l
	}
	c.mu.Unlock()
	return l.Allow()
}
