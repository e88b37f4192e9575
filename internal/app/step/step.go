// Package step sets a clock back and forth while the process runs.
package step

import (
	"os"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
)

// Clock is a clock that somebody sets back and forth while the process runs: a
// file says how far it is off.
type Clock struct {
	clock.Clock
	File string

	mu     sync.Mutex
	looked time.Time
	off    time.Duration
}

// Now is the clock's time, off by what the file says. A file that cannot be
// read changes nothing.
func (s *Clock) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := (clock.Real{}).Now(); now.Sub(s.looked) >= 10*time.Millisecond {
		s.looked = now
		if raw, err := os.ReadFile(s.File); err == nil {
			if off, err := time.ParseDuration(strings.TrimSpace(string(raw))); err == nil {
				s.off = off
			}
		}
	}
	return s.Clock.Now().Add(s.off)
}
