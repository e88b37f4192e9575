package update

import (
	"context"
	"slices"

	"fettle.dev/fettle/internal/fault"
)

// Fetch tells whether a file of an assignment may be fetched at this moment,
// and what the assignment is. It may while the assignment is offered and its
// time has come, or running; ahead, it may before that time, for clients that
// install at it by themselves. Anything else, or a release that was withdrawn,
// is fault.Conflict or fault.NotFound: what was withdrawn a moment ago is not
// fetched any more.
func (s *Service) Fetch(ctx context.Context, id int64, sha256 string, ahead bool) (Assignment, Artifact, error) {
	a, err := s.store.Assignment(ctx, id)
	if err != nil {
		return a, Artifact{}, err
	}
	if !a.Due(s.clock.Now()) && (!ahead || a.State != Offered) {
		if a.Over() || a.State == Claimed || a.State == Canceling {
			return a, Artifact{}, errInactive(&a)
		}
		return a, Artifact{}, fault.New(fault.NotFound, "action %d is not offered at this moment", id)
	}
	d, err := s.deployment(ctx, a)
	if err != nil {
		return a, Artifact{}, err
	}
	if w := d.Release.Withdrawn; w != nil {
		return a, Artifact{}, fault.New(fault.Conflict, "release %s has been withdrawn: %s", d.Release.Name, w.Why)
	}
	for _, p := range d.Parts {
		if p.Artifact.SHA256 == sha256 {
			return a, p.Artifact, nil
		}
		if i := slices.IndexFunc(p.More, func(f Artifact) bool { return f.SHA256 == sha256 }); i >= 0 {
			return a, p.More[i], nil
		}
	}
	return a, Artifact{}, fault.New(fault.Conflict, "action %d is of another image by now", id)
}

// Begun notes that a unit has fetched the first bytes of an assignment that was
// offered to it: from then on it is running. One that is running already, or
// may not run yet, stays as it is.
func (s *Service) Begun(ctx context.Context, id int64) error {
	_, err := s.change(ctx, id, func(a *Assignment) error {
		now := s.clock.Now()
		if a.State != Offered || !a.Due(now) {
			return errSame
		}
		a.State, a.Started = Running, now
		return nil
	})
	return wrap("begin assignment", id, err)
}
