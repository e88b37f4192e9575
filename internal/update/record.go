package update

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update/register"
	"fettle.dev/fettle/internal/update/spec"
)

// Reported moves the unit's assignments whose versions it now reports, all of
// them, to Installed: only this, never a client's claim, counts as installed.
// It raises the unit's counters and enters the change in the register. Call it
// with every version report, in the transaction that keeps it, with the
// receive time of its Version mark.
func (s *Service) Reported(ctx context.Context, unitID string, reported map[string]string, at time.Time) error {
	if err := s.reported(ctx, unitID, reported, at); err != nil {
		return fmt.Errorf("version report of %s: %w", unitID, err)
	}
	return nil
}

func (s *Service) reported(ctx context.Context, unitID string, reported map[string]string, at time.Time) error {
	u, err := s.fleet.Unit(ctx, unitID)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	now := maps.Clone(u.Versions)
	if now == nil {
		now = map[string]string{}
	}
	maps.Copy(now, reported)
	if s.idle.knows(unitID) {
		done, err := s.advance(ctx, &u, now, at)
		if err != nil || done {
			return err
		}
	}
	return s.record(ctx, register.Entry{At: at, Event: register.Reported}, &u, now, nil)
}

// advance moves the assignments of a unit by the versions it now has, and
// reports whether one of them explains these.
func (s *Service) advance(ctx context.Context, u *fleet.Unit, versions map[string]string, at time.Time) (done bool, err error) {
	list, err := s.store.OfUnit(ctx, u.ID, ofUnit)
	if err != nil {
		return false, err
	}
	for _, a := range list {
		if a.Over() {
			continue
		}
		r, err := s.store.Release(ctx, a.Release)
		if err != nil {
			return false, err
		}
		all := r.InstalledOn(versions)
		a, err = s.change(ctx, a.ID, func(a *Assignment) error {
			parts := spec.PartStates(&r, versions)
			if a.Over() || !all && (slices.Equal(parts, a.Parts) || !a.Begun()) {
				return errSame
			}
			a.Parts = parts
			if all {
				a.State, a.Installed = Installed, at
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		if a.State != Installed || done {
			continue
		}
		done = true
		if err := s.installed(ctx, &r, &a); err != nil {
			return false, err
		}
		if err := s.record(ctx, entryOf(&a, register.Installed, at), u, versions, &r); err != nil {
			return false, err
		}
	}
	return done, nil
}

// partsOf are the parts of an assignment's release as its unit has them.
func (s *Service) partsOf(ctx context.Context, id int64) ([]PartState, error) {
	a, err := s.store.Assignment(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := s.store.Release(ctx, a.Release)
	if err != nil || len(r.Parts) == 0 {
		return nil, err
	}
	u, err := s.fleet.Unit(ctx, a.UnitID)
	return spec.PartStates(&r, u.Versions), err
}

// end ends an assignment as its client says, failed or canceled.
func (a *Assignment) end(as AssignmentState, parts []PartState, now time.Time) {
	a.State, a.Ended, a.Parts = as, now, parts
	if words := spec.StateOf(parts); words != "" {
		a.Details = append(a.Details, words)
	}
}

func entryOf(a *Assignment, event register.Event, at time.Time) register.Entry {
	return register.Entry{
		At: at, Event: event, Assignment: a.ID, Release: a.Release,
		Campaign: a.Origin.Campaign, ApprovedBy: a.Origin.ApprovedBy, ApprovedAt: a.Origin.ApprovedAt,
	}
}

// ended enters an update that a unit had begun and that did not come to its
// end in the register, with what the unit has now.
func (s *Service) ended(ctx context.Context, a *Assignment) error {
	if a.Started.IsZero() {
		return nil
	}
	u, err := s.fleet.Unit(ctx, a.UnitID)
	if err != nil {
		return err
	}
	e := entryOf(a, register.Failed, a.Ended)
	e.Why = spec.StateOf(a.Parts)
	return s.record(ctx, e, &u, u.Versions, nil)
}

// record enters what a unit has now in the register; r is the release that
// brought it, if one did. What a report merely repeats is not entered again.
func (s *Service) record(ctx context.Context, e register.Entry, u *fleet.Unit, versions map[string]string, r *Release) error {
	e.Unit, e.Product, e.Before, e.After = u.Key, u.Product, []register.Software{}, []register.Software{}
	last, err := s.ledger.Last(ctx, u.Key)
	switch {
	case err == nil:
		var before register.Entry
		if err := json.Unmarshal(last.Entry, &before); err != nil {
			return fmt.Errorf("last entry of unit %d in the register: %w", u.Key, err)
		}
		e.Before = before.After
	case fault.KindOf(err) != fault.NotFound:
		return err
	case !maps.Equal(u.Versions, versions): // the first entry of a unit that came with something
		if e.Before, err = s.software(ctx, u, u.Versions, nil, nil); err != nil {
			return err
		}
	}
	if e.After, err = s.software(ctx, u, versions, r, e.Before); err != nil {
		return err
	}
	if e.Event == register.Reported && slices.Equal(e.Before, e.After) {
		return nil
	}
	return register.Append(ctx, s.ledger, e)
}

// software describes versions with what is known of them: what the release r
// installs, what was known before of what has not changed, and else the first
// release of the component's version.
func (s *Service) software(ctx context.Context, u *fleet.Unit, versions map[string]string, r *Release, before []register.Software) ([]register.Software, error) {
	out := make([]register.Software, 0, len(versions))
	var all []Release
	for _, c := range slices.Sorted(maps.Keys(versions)) {
		if r != nil {
			if x, ok := r.Software(c, versions[c]); ok {
				out = append(out, x)
				continue
			}
		}
		if i := slices.IndexFunc(before, func(x register.Software) bool { return x.Component == c && x.Version == versions[c] }); i >= 0 {
			out = append(out, before[i])
			continue
		}
		if all == nil {
			var err error
			if all, err = s.store.Releases(ctx, u.Product); err != nil {
				return nil, err
			}
			slices.SortStableFunc(all, func(a, b Release) int { return cmp.Compare(a.Counter, b.Counter) })
		}
		x := register.Software{Component: c, Version: versions[c]}
		for i := range all {
			if found, ok := all[i].Software(c, versions[c]); ok {
				x = found
				break
			}
		}
		out = append(out, x)
	}
	return out, nil
}
