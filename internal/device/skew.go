package device

import (
	"sync/atomic"
	"time"
)

// skewWindow is how long a message counts for the estimate: between one and
// two of these.
const skewWindow = time.Hour

// skew estimates how far a unit's clock is off. A message is received at or
// after the moment it tells of, so the least of received - event over a while
// is the unit's clock error and the fastest way a message took: what was
// buffered for days only arrives later and moves nothing as long as something
// live comes beside it. Concurrent messages may lose one another's figures;
// the next one makes up for it.
type skew struct {
	window       atomic.Int64 // number of the window that now is for; 0: nothing was noted
	now, before  atomic.Int64 // least received - event, ms; of that window and the one before
	beforeWindow atomic.Int64 // number of the window that before is for
}

// note takes a message's event time and receive time, Unix ms.
func (s *skew) note(event, received int64) {
	lag := received - event
	w := received / skewWindow.Milliseconds()
	if at := s.window.Load(); w != at {
		if w > at {
			if s.window.CompareAndSwap(at, w) {
				s.before.Store(s.now.Load())
				s.beforeWindow.Store(at)
				s.now.Store(lag)
			}
		}
		return
	}
	for {
		least := s.now.Load()
		if lag >= least || s.now.CompareAndSwap(least, lag) {
			return
		}
	}
}

// least is the least received - event of the last one to two windows with
// messages, and whether there was any.
func (s *skew) least() (ms int64, ok bool) {
	w := s.window.Load()
	if w == 0 {
		return 0, false
	}
	ms = s.now.Load()
	if at := s.beforeWindow.Load(); at != 0 && at == w-1 {
		ms = min(ms, s.before.Load())
	}
	return ms, true
}

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
	ms, ok := t.skew.least()
	return -time.Duration(ms) * time.Millisecond, ok
}
