package update

import (
	"context"
	"fmt"
)

// ArtifactSHA256 is the name of the uploaded artifact that p refers to, or ""
// while it still names a file beside the declaration.
func (p *ReleasePart) ArtifactSHA256() string { return sum(p.Artifact) }

// Directed is the assignment that a unit which installs at the owner's time by
// itself is told of: the oldest that is offered, be it ahead of that time, or
// running, of a release that was not withdrawn. ID 0: none. A unit without an
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
	for i := range list { // newest first
		if st := list[i].State; st == Offered || st == Running {
			a = list[i]
		}
	}
	if a.ID == 0 {
		return Assignment{}, Release{}, nil
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
