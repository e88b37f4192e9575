package update

import (
	"context"
	"fmt"
)

// Signed says why a release may not be offered for want of signatures (package
// trust); nil: it may.
type Signed func(ctx context.Context, r *Release) (*Refusal, error)

// SetSigned sets what is asked before a release is shown to a unit; call it
// before units are served.
func (s *Service) SetSigned(f Signed) { s.signed = f }

// Unsigned says what signatures keep a release from being offered; nil: none.
func (s *Service) Unsigned(ctx context.Context, r *Release) (*Refusal, error) {
	if s.signed == nil {
		return nil, nil
	}
	return s.signed(ctx, r)
}

// Directed is the assignment that a unit which installs at the owner's time by
// itself is told of: the oldest that its poll would show, or that is offered
// ahead of that time, of a release that was not withdrawn and whoever assigned
// it does not hold back. ID 0: none. A unit without an
// open assignment costs no read.
func (s *Service) Directed(ctx context.Context, unitID string) (Assignment, Release, error) {
	w, err := s.Work(ctx, unitID)
	if err != nil || !w.Open {
		return Assignment{}, Release{}, err
	}
	list, err := s.store.OfUnit(ctx, unitID, ofUnit)
	if err != nil {
		return Assignment{}, Release{}, fmt.Errorf("work of %s: %w", unitID, err)
	}
	var a Assignment
	now := s.clock.Now()
	for i := range list { // newest first
		switch x := &list[i]; {
		case w.Action != nil && x.ID == w.Action.ID && x.State != Canceling:
			a = *x // its time has come, and it waits for nothing
		case x.State == Offered && !x.Due(now):
			settings, err := s.isSettings(ctx, x)
			if err != nil {
				return Assignment{}, Release{}, fmt.Errorf("work of %s: %w", unitID, err)
			}
			if !settings {
				a = *x
			}
		}
	}
	if a.ID == 0 {
		return Assignment{}, Release{}, nil
	}
	if s.gate != nil && !a.Due(now) { // what is due was let through by Work, or has begun
		if no, err := s.gate(ctx, &a); err != nil || no != nil {
			return Assignment{}, Release{}, err
		}
	}
	r, err := s.store.Release(ctx, a.Release)
	if err != nil {
		return Assignment{}, Release{}, fmt.Errorf("work of %s: %w", unitID, err)
	}
	if r.Withdrawn != nil {
		return Assignment{}, Release{}, nil
	}
	return a, r, nil
}
