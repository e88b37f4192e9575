package update

import (
	"context"
	"slices"
)

// Gate says why an assignment that is offered and due may not be shown to its
// unit at this moment, for reasons of whoever assigned it: a campaign that is
// paused, or outside its working hours. It is asked whenever the unit asks, so
// that a pause holds at once for any number of units. Nil: it may be shown.
type Gate func(ctx context.Context, a *Assignment) (*Refusal, error)

// SetGate sets what is asked; call it before units are served.
func (s *Service) SetGate(g Gate) { s.gate = g }

// TimeOut ends an assignment that has begun and shows no progress: it has
// failed, and what the unit says of it later is refused. What has ended stays
// as it is.
func (s *Service) TimeOut(ctx context.Context, id int64, why string) (Assignment, error) {
	a, err := s.change(ctx, id, func(a *Assignment) error {
		if a.Over() {
			return errSame
		}
		a.State, a.Ended, a.TimedOut = Failed, s.clock.Now(), true
		a.Details = append(a.Details, clip(why))
		if n := len(a.Details); n > maxDetails {
			a.Details = slices.Clone(a.Details[n-maxDetails:])
		}
		return nil
	})
	return a, wrap("time out assignment", id, err)
}
