package app

import (
	"os"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
)

// stepped is a clock that somebody sets back and forth while the process runs:
// a file says how far it is off.
type stepped struct {
	clock.Clock
	file string

	mu     sync.Mutex
	looked time.Time
	off    time.Duration
}

// Now is the clock's time, off by what the file says. A file that cannot be
// read changes nothing.
func (s *stepped) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := (clock.Real{}).Now(); now.Sub(s.looked) >= 10*time.Millisecond {
		s.looked = now
		if raw, err := os.ReadFile(s.file); err == nil {
			if off, err := time.ParseDuration(strings.TrimSpace(string(raw))); err == nil {
				s.off = off
			}
		}
	}
	return s.Clock.Now().Add(s.off)
}
