package update

import (
	"context"
	"fmt"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update/spec"
)

// A release counter says which of two releases is the newer one, whatever
// their versions are called. A unit's counter, for each component, is that of
// the release it runs; it is raised only when the unit reports the release's
// versions after installing it, which a client does once its health check has
// passed: a unit that falls back to its old version, as A/B clients do, keeps
// its old counter. What has a lower counter is refused as a downgrade. To go
// back to old content it is issued again under a higher counter: see Revert.

// Complete gives a release that says no counter the one it has in the records,
// else one above the highest of the releases of the product that install on
// one of its components; and names to images that it gives none, those in the
// records, else those of the last upload.
func (s *Service) Complete(ctx context.Context, r *Release) error {
	old, err := s.store.Release(ctx, r.Name)
	known := err == nil
	if !known && fault.KindOf(err) != fault.NotFound {
		return fmt.Errorf("complete release %s: %w", r.Name, err)
	}
	last := func(sum string) (string, error) {
		a, err := s.store.Artifact(ctx, sum)
		return a.Filename, err
	}
	if err := spec.Names(r, &old, last); err != nil {
		return fmt.Errorf("names of release %s: %w", r.Name, err)
	}
	if r.Counter == 0 && known {
		r.Counter = old.Counter // 0 for one from before there were counters
	} else if r.Counter == 0 {
		r.Counter, err = s.next(ctx, r)
		return err
	}
	return nil
}

// next is one above the highest counter of the releases that install on one of
// r's components.
func (s *Service) next(ctx context.Context, r *Release) (int64, error) {
	others, err := s.store.Releases(ctx, r.Product)
	if err != nil {
		return 0, fmt.Errorf("counter of release %s: %w", r.Name, err)
	}
	next := int64(1)
	for i := range others {
		if others[i].Shares(r) {
			next = max(next, others[i].Counter+1)
		}
	}
	return next, nil
}

// unique refuses a counter that another release for one of r's components has:
// units could be sent back and forth between the two.
func (s *Service) unique(ctx context.Context, r *Release) error {
	if r.Counter == 0 {
		return nil
	}
	others, err := s.store.Releases(ctx, r.Product)
	if err != nil {
		return fmt.Errorf("counter of release %s: %w", r.Name, err)
	}
	highest := int64(0)
	taken := ""
	for i := range others {
		o := &others[i]
		if o.Name == r.Name || !o.Shares(r) {
			continue
		}
		highest = max(highest, o.Counter)
		if o.Counter == r.Counter {
			taken = o.Name
		}
	}
	if taken == "" {
		return nil
	}
	return fault.Fields("release "+r.Name, []fault.Field{{
		Path: "spec.counter", Expected: fmt.Sprintf("a counter that no other release of its component has, as %d: release %s has this one", highest+1, taken), Got: fmt.Sprint(r.Counter),
	}})
}

// Judge reads what is needed to judge units for a release.
func (s *Service) Judge(ctx context.Context, release string) (*Judge, error) {
	r, err := s.store.Release(ctx, release)
	if err != nil {
		return nil, err
	}
	j, err := s.judge(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("judge units for release %s: %w", release, err)
	}
	for _, p := range r.Images() {
		err := s.ledger.CountersAbove(ctx, r.Product, p.Component, r.Counter, func(unitID string, counter int64) {
			j.Ran(unitID, p.Component, counter)
		})
		if err != nil {
			return nil, fmt.Errorf("judge units for release %s: %w", release, err)
		}
	}
	return j, nil
}

func (s *Service) judge(ctx context.Context, r Release) (*Judge, error) {
	all, err := s.store.Releases(ctx, r.Product)
	if err != nil {
		return nil, err
	}
	return spec.NewJudge(r, all), nil
}

// Refuse says why a unit may not be offered a release, nil if it may, its
// preconditions aside.
func (s *Service) Refuse(ctx context.Context, r *Release, u *fleet.Unit) (*Refusal, error) {
	j, err := s.JudgeUnit(ctx, r, u.ID)
	if err != nil {
		return nil, err
	}
	return j.Refuse(u), nil
}

// JudgeUnit reads what is needed to judge one unit for a release.
func (s *Service) JudgeUnit(ctx context.Context, r *Release, unitID string) (*Judge, error) {
	j, err := s.judge(ctx, *r)
	if err != nil {
		return nil, err
	}
	counters, err := s.ledger.Counters(ctx, unitID)
	for component, counter := range counters {
		j.Ran(unitID, component, counter)
	}
	return j, err
}

// installed keeps what follows from an installation that the unit has
// reported: its counters are raised, how long it took is noted.
func (s *Service) installed(ctx context.Context, r *Release, a *Assignment) error {
	for _, p := range r.Images() {
		if r.Counter == 0 {
			continue
		}
		c := Counter{UnitID: a.UnitID, Component: p.Component, Product: r.Product, Release: r.Name, Counter: r.Counter, At: a.Installed}
		if err := s.ledger.RaiseCounter(ctx, c); err != nil {
			return err
		}
	}
	if took := a.Installed.Sub(a.Started); !a.Started.IsZero() && took > 0 {
		return s.ledger.AddTaking(ctx, Taking{Assignment: a.ID, Release: r.Name, Family: r.Family(), Took: took, At: a.Installed})
	}
	return nil
}
