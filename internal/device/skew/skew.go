// Package skew tells how far a unit's clock is off by the messages it sends.
package skew

import (
	"sync/atomic"
	"time"
)

// windowLength is how long a message counts for the estimate: between one and
// two of these.
const windowLength = time.Hour

// mostAhead is how far a clock may be ahead. An event time beyond it is a unit
// of time that was mistaken, as nanoseconds for seconds, and no clock's: one
// such message would hide the true figure for hours.
const mostAhead = 10 * 365 * 24 * time.Hour

// Estimate tells how far a unit's clock is off. A message is received at or
// after the moment it tells of, so the least of received - event over a while
// is the unit's clock error and the fastest way a message took: what was
// buffered for days only arrives later and moves nothing as long as something
// live comes beside it. Concurrent messages may lose one another's figures;
// the next one makes up for it.
type Estimate struct {
	window       atomic.Int64 // number of the window that now is for; 0: nothing was noted
	now, before  atomic.Int64 // least received - event, ms; of that window and the one before
	beforeWindow atomic.Int64 // number of the window that before is for
}

// Note takes a message's event time and receive time, Unix ms.
func (s *Estimate) Note(event, received int64) {
	lag := received - event
	if lag < -mostAhead.Milliseconds() {
		return
	}
	w := received / windowLength.Milliseconds()
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

// Least is the least received - event of the last one to two windows with
// messages, and whether there was any.
func (s *Estimate) Least() (ms int64, ok bool) {
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
