package update

import (
	"context"
	"fmt"
	"math"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update/spec"
)

// ofUnit is how many assignments of one unit are looked at: a unit has one
// that is not ended at a time, seldom two.
const ofUnit = 50

// Work is what one poll of a unit shows.
type Work struct {
	Action     *Assignment // to be installed, or canceling; nil: nothing
	Installed  int64       // action id of the latest that was installed; 0: none
	Attributes bool        // the client should describe itself
	Open       bool        // an assignment has not ended, whether its time has come or not
}

// Deployment is all that a unit needs to install an assignment.
type Deployment struct {
	Assignment Assignment
	Release    Release
	Artifact   Artifact // of the first part
	Parts      []Image  // in the order of installation; all or none
}

// Image is a part of a release with what is known of its bytes.
type Image struct {
	ReleasePart
	Artifact Artifact
	More     []Artifact // the part's other files
}

// Work tells what a unit's poll shows: the oldest assignment that is due or
// canceling. A unit for which there is none is remembered until something
// changes or the next is due, so that its polls cost no read.
func (s *Service) Work(ctx context.Context, unitID string) (Work, error) {
	rest, known, described := s.idle.look(unitID)
	w := Work{Attributes: !described}
	now := s.clock.Now()
	if !known || now.UnixMilli() < rest.until {
		w.Installed, w.Open = int64(rest.installed), rest.open
		return w, nil
	}
	list, err := s.store.OfUnit(ctx, unitID, ofUnit)
	if err != nil {
		return w, fmt.Errorf("work of %s: %w", unitID, err)
	}
	until := int64(math.MaxInt64)
	for i := range list { // newest first
		a := &list[i]
		w.Open = w.Open || !a.Over()
		switch {
		case a.Due(now), a.State == Canceling:
			settings, err := s.isSettings(ctx, a)
			if err != nil {
				return w, fmt.Errorf("work of %s: %w", unitID, err)
			}
			if !settings {
				w.Action = a
			}
		case a.State == Offered:
			until = min(until, a.NotBefore.UnixMilli())
		case a.State == Installed && w.Installed == 0:
			w.Installed = a.ID
		}
	}
	if w.Action != nil && w.Action.State == Offered {
		a, err := s.look(ctx, *w.Action)
		if err != nil {
			return w, fmt.Errorf("work of %s: %w", unitID, err)
		}
		if w.Action = &a; a.waits() || !a.Due(now) {
			w.Action = nil // and nothing is remembered: the next poll looks again
			return w, nil
		}
	}
	if w.Action == nil {
		s.idle.settle(unitID, rest, until, &w)
	}
	return w, nil
}

// Deployment is what a unit may fetch now under an action id: its own, due,
// and not yet claimed. Anything else is fault.NotFound, or fault.Conflict where it has
// ended.
func (s *Service) Deployment(ctx context.Context, unitID string, id int64) (Deployment, error) {
	a, err := s.own(ctx, unitID, id)
	if err != nil {
		return Deployment{}, err
	}
	if !a.Due(s.clock.Now()) {
		if a.Over() || a.State == Claimed || a.State == Canceling {
			return Deployment{}, errInactive(&a)
		}
		return Deployment{}, fault.New(fault.NotFound, "no action %d", id)
	}
	if a.State == Offered {
		if a, err = s.look(ctx, a); err != nil {
			return Deployment{}, err
		}
		if a.Waiting != nil {
			return Deployment{}, fault.Wrap(fault.NotFound, fmt.Sprintf("action %d waits", id), a.Waiting)
		}
	}
	d, err := s.deployment(ctx, a)
	if err == nil && d.Release.Withdrawn != nil {
		return Deployment{}, fault.New(fault.Conflict, "release %s has been withdrawn: %s", d.Release.Name, d.Release.Withdrawn.Why)
	}
	return d, err
}

// InstalledDeployment is what a unit has installed under an action id.
func (s *Service) InstalledDeployment(ctx context.Context, unitID string, id int64) (Deployment, error) {
	a, err := s.own(ctx, unitID, id)
	if err != nil {
		return Deployment{}, err
	}
	if a.State != Installed {
		return Deployment{}, fault.New(fault.NotFound, "no action %d", id)
	}
	return s.deployment(ctx, a)
}

// Canceling is the assignment that a unit is asked to stop.
func (s *Service) Canceling(ctx context.Context, unitID string, id int64) (Assignment, error) {
	a, err := s.own(ctx, unitID, id)
	if err != nil {
		return Assignment{}, err
	}
	if a.State != Canceling {
		return Assignment{}, fault.New(fault.NotFound, "no cancel of action %d", id)
	}
	return a, nil
}

func (s *Service) own(ctx context.Context, unitID string, id int64) (Assignment, error) {
	if !s.idle.knows(unitID) {
		return Assignment{}, fault.New(fault.NotFound, "no action %d", id)
	}
	a, err := s.store.Assignment(ctx, id)
	if err != nil {
		return Assignment{}, err
	}
	if a.UnitID != unitID {
		return Assignment{}, fault.New(fault.NotFound, "no action %d", id)
	}
	return a, nil
}

func (s *Service) deployment(ctx context.Context, a Assignment) (Deployment, error) {
	r, err := s.store.Release(ctx, a.Release)
	if err != nil {
		return Deployment{}, fmt.Errorf("deployment %d: %w", a.ID, err)
	}
	if r.Settings != nil {
		return Deployment{}, fault.New(fault.NotFound, "action %d changes settings: they come with fettle/v1/desired", a.ID)
	}
	images, err := s.images(ctx, &r)
	if err != nil {
		return Deployment{}, fmt.Errorf("deployment %d: %w", a.ID, err)
	}
	return Deployment{Assignment: a, Release: r, Artifact: images[0].Artifact, Parts: images}, nil
}

// images are the images of a release in the order of their installation, at
// least one.
func (s *Service) images(ctx context.Context, r *Release) ([]Image, error) {
	parts := r.Images()
	out := make([]Image, len(parts))
	for i, p := range parts {
		if r.Settings != nil {
			out[i] = Image{ReleasePart: p}
			continue
		}
		a, err := s.store.Artifact(ctx, p.SHA256())
		if err != nil {
			return nil, err
		}
		out[i] = Image{ReleasePart: p, Artifact: a.Named(p.Filename)}
		for j, f := range p.Files {
			if a, err = s.store.Artifact(ctx, spec.Sum(f)); err != nil {
				return nil, err
			}
			if j < len(p.Filenames) {
				a = a.Named(p.Filenames[j])
			}
			out[i].More = append(out[i].More, a)
		}
	}
	return out, nil
}

// Size is how many bytes the images of a release have together.
func (s *Service) Size(ctx context.Context, r *Release) (n int64, err error) {
	if r.Settings != nil {
		return 0, nil
	}
	images, err := s.images(ctx, r)
	for _, i := range images {
		n += i.Artifact.Size
	}
	return n, err
}
