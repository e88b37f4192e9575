// Package clock gives every room its time and its ids, so that the same input
// gives the same findings live, in a test and in a backtest. No domain code
// calls time.Now.
package clock

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Clock tells the time. Waiting is always real: loops look for what is due by
// Now at a short real interval.
type Clock interface {
	Now() time.Time
}

// Real is the machine's clock, in UTC.
type Real struct{}

// Now is the current time.
func (Real) Now() time.Time { return time.Now().UTC() }

// Scaled runs Speed times as fast as the machine's clock: at the real instant
// Origin it shows Start. Two processes with the same three values agree, and a
// process that restarts goes on where it would have been.
type Scaled struct {
	Origin time.Time
	Start  time.Time
	Speed  float64
}

// Now is the scaled time, in UTC.
func (s Scaled) Now() time.Time {
	return s.Start.Add(time.Duration(float64(time.Since(s.Origin)) * s.Speed)).UTC()
}

// Manual is a clock for tests; it moves only when told.
type Manual struct {
	mu  sync.Mutex
	now time.Time
}

// NewManual starts a manual clock.
func NewManual(t time.Time) *Manual { return &Manual{now: t.UTC()} }

// Now is the time last set.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Advance moves the clock on by d.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}

// Set moves the clock to t, which may be in the past.
func (m *Manual) Set(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = t.UTC()
}

// IDs makes identifiers.
type IDs interface {
	// ID is a new identifier, unique and roughly sortable by time.
	ID() string
	// Key is a new random unit key: positive, 63 bits, says nothing about the unit.
	Key() int64
}

// Random makes UUIDv7 ids (RFC 9562) and keys from the system's entropy.
type Random struct{}

// ID is a UUIDv7.
func (Random) ID() string { return uuid.Must(uuid.NewV7()).String() }

// Key is a random positive 63-bit number.
func (Random) Key() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	k := int64(binary.BigEndian.Uint64(b[:]) >> 1)
	if k == 0 {
		return 1
	}
	return k
}

// Sequence makes predictable ids for tests: prefix-1, prefix-2, and keys 1, 2.
type Sequence struct {
	mu     sync.Mutex
	Prefix string
	n, k   int64
}

// ID is the next id.
func (s *Sequence) ID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.Prefix + "-" + strconv.FormatInt(s.n, 10)
}

// Key is the next key.
func (s *Sequence) Key() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.k++
	return s.k
}

// Passes calls pass until ctx ends: again at once after one that moved
// something, else after a real interval. What fails is told and tried again.
func Passes(ctx context.Context, interval time.Duration, pass func(context.Context) (moved int, err error), failed func(error)) error {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wait.C:
		}
		moved, err := pass(ctx)
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
		if moved > 0 && err == nil {
			wait.Reset(0)
			continue
		}
		wait.Reset(interval)
	}
}
