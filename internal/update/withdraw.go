package update

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update/spec"
)

// withdrawChunk is how many assignments are ended in one transaction.
const withdrawChunk = 500

// Withdrawn is what a withdrawal did.
type Withdrawn struct {
	Canceled int `json:"canceled" doc:"Assignments that no unit had begun: ended, and the way to their files closed at once."`
	Asked    int `json:"asked" doc:"Units that may have begun, and are asked to stop at their next poll."`
	TooLate  int `json:"tooLate" doc:"Units whose client says that it has installed it already."`
}

// Withdraw ends the offering of a release: from the commit on it is assigned to
// nobody, no poll shows it and no file of it can be fetched. Assignments that no unit
// has begun end at once; units that have are asked to stop. Withdrawing it
// again keeps the first reason, and goes on with what a crash may have left.
func (s *Service) Withdraw(ctx context.Context, name, by, why string) (Withdrawn, error) {
	var out Withdrawn
	if why = strings.TrimSpace(why); why == "" {
		return out, fault.Fields("withdraw release "+name, []fault.Field{{Path: "why", Expected: "why it is withdrawn, for those who look for it", Got: "nothing"}})
	}
	err := s.tx.InTx(ctx, func(ctx context.Context) error {
		r, err := s.store.Release(ctx, name)
		if err != nil || r.Withdrawn != nil {
			return err
		}
		return s.ledger.Withdraw(ctx, name, Withdrawal{At: s.clock.Now().UTC().Truncate(time.Millisecond), By: by, Why: why})
	})
	if err != nil {
		return out, err
	}
	for after := int64(0); ; {
		n, last, err := s.cancelOf(ctx, name, after, &out)
		if err != nil {
			return out, fmt.Errorf("release %s is withdrawn and offered to nobody, but not every unit has been asked to stop; withdraw it again: %w", name, err)
		}
		if n < withdrawChunk {
			return out, nil
		}
		after = last
	}
}

// cancelOf cancels a page of a release's assignments in one transaction.
func (s *Service) cancelOf(ctx context.Context, name string, after int64, out *Withdrawn) (n int, last int64, err error) {
	var ended, asked, late int
	var units []string
	err = s.tx.InTx(ctx, func(ctx context.Context) error {
		list, err := s.ledger.UnendedOf(ctx, name, after, withdrawChunk)
		if err != nil {
			return err
		}
		n = len(list)
		for _, a := range list {
			last = a.ID
			switch now, err := s.Cancel(ctx, a.ID); {
			case err != nil:
				return err
			case now.State == Canceled:
				ended++
			case now.State == Canceling:
				asked++
				units = append(units, now.UnitID)
			default:
				late++
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	out.Canceled, out.Asked, out.TooLate = out.Canceled+ended, out.Asked+asked, out.TooLate+late
	for _, id := range units {
		s.wakeUnit(id)
	}
	return n, last, nil
}

// Holders lists the units that a release concerns, by unit id: who has it, had
// it, or is on the way to it.
func (s *Service) Holders(ctx context.Context, name, after string, limit int) ([]Holder, error) {
	r, err := s.store.Release(ctx, name)
	if err != nil {
		return nil, err
	}
	list, err := s.ledger.Holders(ctx, &r, after, limit)
	if err != nil {
		return nil, fmt.Errorf("units of release %s: %w", name, err)
	}
	for i := range list {
		h := &list[i]
		switch {
		case r.InstalledOn(h.Versions):
			h.Holding = Has
		case h.State == Installed:
			h.Holding = Had
		case h.State == Withheld:
			h.Holding = NotBegun
		case h.State == Failed || h.State == Canceled:
			h.Holding = Never
		default:
			h.Holding = OnTheWay
		}
	}
	return list, nil
}

// Revert makes the release that brings units back from a release that went
// wrong: content of older ones, or of good, issued again as name (default: the
// old one's name and "-again-" and the counter) under a counter above all, as
// spec.Back says; of those, one that failed on more units than it was installed
// on is passed over, unless it is good. It may be installed over the bad
// release's versions, and is kept but offered to nobody: that takes a campaign.
// Notes are for owners (default: that it goes back, since the newer version has
// a fault).
func (s *Service) Revert(ctx context.Context, bad, good, name, why string, notes map[string]string) (Release, error) {
	var out Release
	err := s.tx.InTx(ctx, func(ctx context.Context) error {
		from, err := s.store.Release(ctx, bad)
		if err != nil {
			return err
		}
		if good != "" {
			if err := s.goodFor(ctx, good, &from); err != nil {
				return err
			}
		}
		all, err := s.store.Releases(ctx, from.Product)
		if err != nil {
			return err
		}
		product, err := s.fleet.Product(ctx, from.Product)
		if err != nil {
			return err
		}
		var of []Release
		var passed []string
		if out, of, passed, err = s.back(ctx, &from, all, &product, good); err != nil {
			return err
		}
		if out.Counter, err = s.next(ctx, &from); err != nil {
			return err
		}
		spec.Again(&out, &from, of, name, strings.Join(append(passed, why), " "), notes)
		if _, err := s.store.Release(ctx, out.Name); fault.KindOf(err) != fault.NotFound {
			if err == nil {
				err = fault.New(fault.Conflict, "there is a release %s already: give another name", out.Name)
			}
			return err
		}
		return s.Put(ctx, out)
	})
	if err != nil {
		return Release{}, fmt.Errorf("revert release %s: %w", bad, err)
	}
	return out, nil
}

// back is spec.Back without what has failed, unless good names it; passed says
// of each of those why.
func (s *Service) back(ctx context.Context, from *Release, all []Release, product *fleet.Product, good string) (out Release, of []Release, passed []string, err error) {
	for {
		if out, of, err = spec.Back(from, all, product, good); err != nil || good != "" {
			return out, of, passed, spec.Passed(err, passed)
		}
		before := len(passed)
		for _, r := range of {
			why, err := s.failing(ctx, r.Name)
			if err != nil {
				return out, nil, nil, err
			}
			if why != "" {
				passed = append(passed, why)
				all = slices.DeleteFunc(all, func(o Release) bool { return o.Name == r.Name })
			}
		}
		if len(passed) == before {
			return out, of, passed, nil
		}
	}
}

// failing says that a release failed on more units than have or had it, among
// the first that it concerns; "": it did not, or nobody was offered it.
func (s *Service) failing(ctx context.Context, name string) (why string, err error) {
	list, err := s.Holders(ctx, name, "", withdrawChunk)
	ran, failed := 0, 0
	for i := range list {
		switch h := &list[i]; {
		case h.Holding == Has || h.Holding == Had:
			ran++
		case h.State == Failed:
			failed++
		}
	}
	if failed > ran {
		why = fmt.Sprintf("Release %s was passed over, since it failed on most units (failed: %d, installed: %d).", name, failed, ran)
	}
	return why, err
}

// goodFor refuses to go back from a release to one that cannot be gone back to.
func (s *Service) goodFor(ctx context.Context, good string, bad *Release) error {
	r, err := s.store.Release(ctx, good)
	switch {
	case err != nil:
		return err
	case r.Product != bad.Product || slices.ContainsFunc(bad.Images(), func(p ReleasePart) bool { return r.Installs()[p.Component] == "" }):
		return fault.New(fault.Conflict, "release %s is for other components (%s) than release %s (%s)", r.Name, r.Family(), bad.Name, bad.Family())
	case r.InstalledOn(bad.Installs()):
		return fault.New(fault.Conflict, "release %s has the versions of release %s: there is nothing to go back to", r.Name, bad.Name)
	case r.Withdrawn != nil:
		return fault.New(fault.Conflict, "release %s was withdrawn itself: %s", r.Name, r.Withdrawn.Why)
	}
	return nil
}
