package update

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// Hold is an owner's "not now" about an update that the unit has begun. Only
// clients that ask before each step can be held (Mender 3, by its update
// control map): the owner's wish is kept here, the client comes to see it.
type Hold struct {
	Possible bool      `json:"possible,omitempty"` // the client asks before it installs
	Since    time.Time `json:"since,omitzero"`     // the owner asked to wait; zero: go on
	Before   string    `json:"before,omitempty"`   // the step that the client says it waits before, as installing
}

// Wanted reports whether the owner wants the unit to wait.
func (h Hold) Wanted() bool { return !h.Since.IsZero() }

// Holdable notes that the unit's client asks before each step of an assignment.
func (s *Service) Holdable(ctx context.Context, unitID string, id int64) error {
	_, err := s.change(ctx, id, func(a *Assignment) error {
		if a.UnitID != unitID {
			return fault.New(fault.NotFound, "no action %d", id)
		}
		if a.Hold.Possible || a.Over() {
			return errSame
		}
		a.Hold.Possible = true
		return nil
	})
	return wrap("let hold assignment", id, err)
}

// Hold asks the unit to wait before its next step. It is fault.Conflict where
// the unit has not begun (withhold it instead), cannot wait, or waits for
// nothing any more.
func (s *Service) Hold(ctx context.Context, id int64) (Assignment, error) {
	a, err := s.change(ctx, id, func(a *Assignment) error {
		switch {
		case a.State != Running:
			return fault.New(fault.Conflict, "the update is %s: it cannot wait now", a.State)
		case !a.Hold.Possible:
			return fault.New(fault.Conflict, "the unit has begun, and its update client cannot wait")
		case a.Hold.Wanted():
			return errSame
		}
		a.Hold.Since = s.clock.Now()
		return nil
	})
	return a, wrap("hold assignment", id, err)
}

// Continue ends a hold.
func (s *Service) Continue(ctx context.Context, id int64) (Assignment, error) {
	a, err := s.change(ctx, id, func(a *Assignment) error {
		if !a.Hold.Wanted() {
			return errSame
		}
		a.Hold.Since = time.Time{}
		return nil
	})
	return a, wrap("continue assignment", id, err)
}

// Own is an assignment of a unit, whatever its state; another unit's is
// fault.NotFound.
func (s *Service) Own(ctx context.Context, unitID string, id int64) (Assignment, error) {
	return s.own(ctx, unitID, id)
}
