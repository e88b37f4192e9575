package update

import (
	"context"
	"fmt"
	"sync"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// An assignment that is offered and due, but of which a precondition does not
// hold, waits: the unit's polls show nothing, its files cannot be fetched, and
// the assignment says what it waits for. Preconditions are looked at when it is
// offered, at every poll of the unit, and when the unit sends new values, so
// that it goes on as soon as they hold; that costs something only for units
// that wait.

// rewordAfter is how old the words of what an assignment waits for must be for
// new values of the same signal to be written there.
const rewordAfter = time.Minute

// waiting is the units that wait, by key, and those of them that have sent
// something since they were looked at.
type waiting struct {
	mu    sync.Mutex
	units map[int64]int64 // assignment by unit key
	fresh map[int64]int64
	bell  chan struct{}
}

func (w *waiting) set(key, assignment int64, waits bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if waits {
		w.units[key] = assignment
		return
	}
	delete(w.units, key)
	delete(w.fresh, key)
}

func (w *waiting) take() map[int64]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.fresh
	w.fresh = map[int64]int64{}
	return out
}

// Stored is told what history has taken in; it returns at once.
func (s *Service) Stored(batches []telemetry.Sequenced) {
	w := &s.waiting
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.units) == 0 {
		return
	}
	for _, b := range batches {
		for i := range b.Batch.Rows {
			key := b.Batch.Rows[i].Unit
			if id, ok := w.units[key]; ok {
				w.fresh[key] = id
			}
		}
	}
	if len(w.fresh) > 0 {
		select {
		case w.bell <- struct{}{}:
		default:
		}
	}
}

// Run looks again at assignments that wait when their units have sent new
// values, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.waiting.bell:
		}
		for key, id := range s.waiting.take() {
			if err := s.recheck(ctx, key, id); err != nil && ctx.Err() == nil {
				s.log.ErrorContext(ctx, "it could not be told whether an update can go on", "assignment", id, "err", err)
			}
		}
	}
}

// recheck looks whether an assignment that waits still does, and wakes its
// unit if it does not.
func (s *Service) recheck(ctx context.Context, key, id int64) error {
	a, err := s.store.Assignment(ctx, id)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	waited := a.waits()
	if err == nil {
		if a, err = s.look(ctx, a); err != nil {
			return err
		}
	}
	if a.waits() {
		return nil
	}
	s.waiting.set(key, id, false)
	if waited && a.Due(s.clock.Now()) {
		s.wakeUnit(a.UnitID)
	}
	return nil
}

func (a *Assignment) waits() bool { return a.Waiting != nil }

func (s *Service) wakeUnit(id string) {
	if s.wake != nil {
		s.wake(id)
	}
}

// look says in an assignment, and keeps, what it waits for at this moment.
// What the unit has begun waits for nothing: the unit has the last word.
func (s *Service) look(ctx context.Context, a Assignment) (Assignment, error) {
	no, key, err := s.waitsFor(ctx, &a)
	if err != nil {
		return a, err
	}
	defer fleet.AtEnd(ctx, func() { s.waiting.set(key, a.ID, no != nil) })
	now := s.clock.Now()
	if no.Same(a.Waiting) && (no == nil || no.Why == a.Waiting.Why || now.Sub(a.Updated) < rewordAfter) {
		a.Waiting = no
		return a, nil
	}
	kept, err := s.change(ctx, a.ID, func(a *Assignment) error {
		if !a.Due(s.clock.Now()) || a.Begun() { // changed meanwhile
			if a.Waiting == nil {
				return errSame
			}
			a.Waiting = nil
			return nil
		}
		a.Waiting = no
		return nil
	})
	return kept, wrap("keep what waits", a.ID, err)
}

// waitsFor says what an assignment waits for at this moment, nil: nothing, and
// its unit's key.
func (s *Service) waitsFor(ctx context.Context, a *Assignment) (*Refusal, int64, error) {
	if a.State != Offered || !a.Due(s.clock.Now()) {
		if a.Waiting == nil {
			return nil, 0, nil
		}
		u, err := s.fleet.Unit(ctx, a.UnitID)
		return nil, u.Key, err
	}
	r, err := s.store.Release(ctx, a.Release)
	if err != nil {
		return nil, 0, fmt.Errorf("what assignment %d waits for: %w", a.ID, err)
	}
	if len(r.Preconditions) == 0 && r.Withdrawn == nil && a.Waiting == nil && s.gate == nil && s.signed == nil {
		return nil, 0, nil
	}
	u, err := s.fleet.Unit(ctx, a.UnitID)
	if err != nil {
		return nil, 0, fmt.Errorf("what assignment %d waits for: %w", a.ID, err)
	}
	if r.Withdrawn != nil {
		return r.Refuse(&u), u.Key, nil
	}
	if no, err := s.Unsigned(ctx, &r); err != nil || no != nil {
		return no, u.Key, err
	}
	if s.gate != nil {
		if no, err := s.gate(ctx, a); err != nil || no != nil {
			return no, u.Key, err
		}
	}
	no, err := s.Precondition(ctx, &r, &u)
	return no, u.Key, err
}

// Waits says what an assignment waits for at this moment; nil: nothing. It
// changes nothing: screens ask it for the newest values.
func (s *Service) Waits(ctx context.Context, a Assignment) (*Refusal, error) {
	no, _, err := s.waitsFor(ctx, &a)
	return no, err
}

// loadWaiting fills the set of those that wait from the records.
func (s *Service) loadWaiting(ctx context.Context) error {
	s.waiting.units, s.waiting.fresh, s.waiting.bell = map[int64]int64{}, map[int64]int64{}, make(chan struct{}, 1)
	return s.store.Unended(ctx, func(a Assignment) error {
		if a.Waiting == nil {
			return nil
		}
		u, err := s.fleet.Unit(ctx, a.UnitID)
		if err == nil {
			s.waiting.set(u.Key, a.ID, true)
			return nil
		}
		if fault.KindOf(err) == fault.NotFound {
			return nil
		}
		return err
	})
}
