package update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// maxDetails bounds what a unit may make us keep about one assignment.
const maxDetails = 50

// Config is what a Service works with.
type Config struct {
	Store Store
	Logs  LogStore // nil: logs are not kept
	Blobs Blobs
	Fleet fleet.Store
	Tx    fleet.Transactor
	Clock clock.Clock
	Log   *slog.Logger
	Dir   string // for spooling uploads; empty: the system's temporary directory
	// Room, if given, is asked now and then whether an upload may take so many
	// bytes more.
	Room func(size int64) error
	// Check, if given, may refuse a file before it is kept: one that is not
	// signed, say.
	Check func(ctx context.Context, filename, path string) error
	// Ledger keeps what becomes of releases on units.
	Ledger Ledger
	// Settings keeps what units are set to; nil: no release changes settings.
	Settings SettingStore
	// State tells units' newest values; without it no precondition holds.
	State State
	// Wake, if given, tells a connected unit to poll: it has something to see.
	Wake func(unitID string)
}

// Service keeps releases and moves assignments. Every change of an assignment
// goes through it, because it remembers which units have one: the others'
// polls, nearly all there are, cost no read.
type Service struct {
	store Store
	logs  LogStore
	blobs Blobs
	fleet fleet.Store
	tx    fleet.Transactor
	clock clock.Clock
	log   *slog.Logger
	dir   string
	room  func(size int64) error
	check func(ctx context.Context, filename, path string) error

	idle *idle

	ledger   Ledger
	settings SettingStore
	state    State
	wake     func(unitID string)
	guards   guards
	waiting  waiting
	gate     Gate
	uses     uses
	signed   Signed
	minutes  struct {
		mu sync.Mutex
		of map[string]minutesKept
	}
}

// NewService loads which units have assignments, and catches up with version
// reports that were kept without reaching their assignment.
func NewService(ctx context.Context, cfg Config) (*Service, error) {
	s := &Service{
		store: cfg.Store, logs: cfg.Logs, blobs: cfg.Blobs, fleet: cfg.Fleet, tx: cfg.Tx, clock: cfg.Clock, log: cfg.Log, dir: cfg.Dir, room: cfg.Room,
		idle: newIdle(), ledger: cfg.Ledger, settings: cfg.Settings, state: cfg.State, wake: cfg.Wake,
	}
	if s.ledger == nil {
		return nil, fault.New(fault.Internal, "the room update needs a ledger")
	}
	if s.check = cfg.Check; s.check == nil {
		s.check = func(context.Context, string, string) error { return nil }
	}
	if s.room == nil {
		s.room = func(int64) error { return nil }
	}
	if cfg.Dir != "" {
		if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("spool directory: %w", err)
		}
	}
	if err := s.store.UnitsKnown(ctx, s.idle.add); err != nil {
		return nil, fmt.Errorf("load assignments: %w", err)
	}
	if err := s.store.AttributesKnown(ctx, s.idle.describe); err != nil {
		return nil, fmt.Errorf("load attributes: %w", err)
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.loadWaiting(ctx); err != nil {
		return nil, fmt.Errorf("load what waits: %w", err)
	}
	if err := s.catchUp(ctx); err != nil {
		return nil, fmt.Errorf("catch up with version reports: %w", err)
	}
	return s, nil
}

func (s *Service) catchUp(ctx context.Context) error {
	var waiting []Assignment
	err := s.store.Unended(ctx, func(a Assignment) error {
		if a.State != Withheld {
			waiting = append(waiting, a)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, a := range waiting {
		u, err := s.fleet.Unit(ctx, a.UnitID)
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return err
		}
		r, err := s.store.Release(ctx, a.Release)
		if err != nil {
			return err
		}
		if !r.InstalledOn(u.Versions) {
			continue
		}
		err = s.tx.InTx(ctx, func(ctx context.Context) error { return s.Reported(ctx, u.ID, u.Versions, u.VersionAt) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Assign gives the assignment of ref, made now, withheld, if there is none: a
// second call with the same ref never makes a second.
func (s *Service) Assign(ctx context.Context, unitID, release, ref string) (Assignment, error) {
	return s.AssignFor(ctx, unitID, release, ref, Origin{})
}

// AssignFor is Assign, and says what for.
func (s *Service) AssignFor(ctx context.Context, unitID, release, ref string, origin Origin) (Assignment, error) {
	r, err := s.store.Release(ctx, release)
	if err != nil {
		return Assignment{}, fmt.Errorf("assign to %s: %w", unitID, err)
	}
	if a, err := s.store.AssignmentByRef(ctx, ref); err == nil {
		return s.same(a, unitID, release)
	} else if fault.KindOf(err) != fault.NotFound {
		return Assignment{}, fmt.Errorf("assign to %s: %w", unitID, err)
	}
	u, err := s.fleet.Unit(ctx, unitID)
	if err != nil {
		return Assignment{}, fmt.Errorf("assign to %s: %w", unitID, err)
	}
	no, err := s.Refuse(ctx, &r, &u)
	if err != nil {
		return Assignment{}, fmt.Errorf("assign to %s: %w", unitID, err)
	}
	if no != nil {
		return Assignment{}, fault.Wrap(fault.Conflict, fmt.Sprintf("release %s is not for unit %s", release, unitID), no)
	}
	changed := s.idle.changing(unitID)
	defer changed(ctx)
	now := s.clock.Now().Truncate(time.Millisecond)
	a, err := s.store.Assign(ctx, Assignment{UnitID: unitID, Release: release, Ref: ref, State: Withheld, Created: now, Updated: now, Origin: origin})
	if err != nil {
		return Assignment{}, fmt.Errorf("assign to %s: %w", unitID, err)
	}
	return s.same(a, unitID, release)
}

func (s *Service) same(a Assignment, unitID, release string) (Assignment, error) {
	if a.UnitID != unitID || a.Release != release {
		return Assignment{}, fault.New(fault.Conflict, "%s already has an assignment: release %s for unit %s", a.Ref, a.Release, a.UnitID)
	}
	return a, nil
}

// Assignment is an assignment by its action id.
func (s *Service) Assignment(ctx context.Context, id int64) (Assignment, error) {
	return s.store.Assignment(ctx, id)
}

// OfUnit lists a unit's assignments, newest first.
func (s *Service) OfUnit(ctx context.Context, unitID string, limit int) ([]Assignment, error) {
	return s.store.OfUnit(ctx, unitID, limit)
}

// ChangedSince lists assignments updated at or after t, by Updated then ID.
func (s *Service) ChangedSince(ctx context.Context, t time.Time, limit int) ([]Assignment, error) {
	return s.store.ChangedSince(ctx, t, limit)
}

// errSame ends a change that would change nothing.
var errSame = fault.New(fault.Internal, "nothing changes")

// change runs fn on an assignment; fn may return errSame. Every change has a
// later Updated than the one before, whatever the clock does, so that whoever
// follows can tell that there was one.
func (s *Service) change(ctx context.Context, id int64, fn func(*Assignment) error) (Assignment, error) {
	var kept Assignment
	changed := func(context.Context) {}
	a, err := s.store.UpdateAssignment(ctx, id, func(a *Assignment) error {
		kept, changed = *a, s.idle.changing(a.UnitID)
		if err := fn(a); err != nil {
			return err
		}
		if a.State != Offered {
			a.Waiting = nil
		}
		now := s.clock.Now().Truncate(time.Millisecond) // as the records keep it
		if !now.After(a.Updated) {
			now = a.Updated.Add(time.Millisecond)
		}
		a.Updated = now
		return nil
	})
	changed(ctx)
	if errors.Is(err, errSame) {
		return kept, nil
	}
	if err == nil && !kept.Over() && !kept.Started.IsZero() && (a.State == Failed || a.State == Canceled) {
		err = s.unset(ctx, &a)
	}
	return a, err
}

// Offer lets the unit see the deployment from notBefore on. What the unit has
// begun stays as it is.
func (s *Service) Offer(ctx context.Context, id int64, notBefore time.Time) (Assignment, error) {
	a, err := s.change(ctx, id, func(a *Assignment) error {
		switch a.State {
		case Withheld:
			a.State = Offered
		case Offered:
			if a.NotBefore.Equal(notBefore) {
				return errSame
			}
		case Running, Claimed, Installed:
			return errSame
		default:
			return fault.New(fault.Conflict, "assignment %d is %s", id, a.State)
		}
		a.NotBefore = notBefore
		if a.Offered.IsZero() {
			a.Offered = s.clock.Now()
		}
		return nil
	})
	if err == nil && a.State == Offered {
		a, err = s.look(ctx, a)
	}
	return a, wrap("offer assignment", id, err)
}

// Withhold takes an offer back that the unit has not begun; once it has, this
// is refused.
func (s *Service) Withhold(ctx context.Context, id int64) (Assignment, error) {
	a, err := s.change(ctx, id, func(a *Assignment) error {
		switch a.State {
		case Withheld:
			return errSame
		case Offered:
			a.State, a.NotBefore, a.Waiting = Withheld, time.Time{}, nil
			return nil
		case Running, Claimed:
			return fault.New(fault.Conflict, "the unit has begun the update")
		default:
			return fault.New(fault.Conflict, "assignment %d is %s", id, a.State)
		}
	})
	return a, wrap("withhold assignment", id, err)
}

// Cancel ends an assignment. One that the unit may have seen is canceling
// until the unit agrees; one it cannot have seen is canceled at once. What has
// ended, or is claimed, stays as it is.
func (s *Service) Cancel(ctx context.Context, id int64) (Assignment, error) {
	before, err := s.store.Assignment(ctx, id)
	if err != nil {
		return before, wrap("cancel assignment", id, err)
	}
	settings, err := s.isSettings(ctx, &before)
	if err != nil {
		return before, wrap("cancel assignment", id, err)
	}
	a, err := s.change(ctx, id, func(a *Assignment) error {
		now := s.clock.Now()
		if settings && (a.State == Offered || a.State == Running) {
			a.State, a.Ended = Canceled, now // the unit is told what it was before; there is nothing to agree to
			return nil
		}
		switch a.State {
		case Withheld:
			// It may have been shown before it was withheld, but no feedback
			// came and its link is dead: there is nothing to stop.
			a.State, a.Ended = Canceled, now
		case Offered:
			if now.Before(a.NotBefore) {
				a.State, a.Ended = Canceled, now
			} else {
				a.State = Canceling
			}
		case Running:
			a.State = Canceling
		default:
			return errSame
		}
		return nil
	})
	return a, wrap("cancel assignment", id, err)
}

func wrap(op string, id int64, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %d: %w", op, id, err)
}

// errInactive refuses feedback on what has ended.
func errInactive(a *Assignment) error {
	return fault.New(fault.Conflict, "action %d is %s and takes no more feedback", a.ID, a.State)
}

// Feedback takes what a unit says about its own assignment. An assignment of
// another unit, or one that the unit may not see, is fault.NotFound; one that
// has ended, or whose success was claimed already, is fault.Conflict.
func (s *Service) Feedback(ctx context.Context, unitID string, id int64, f Feedback) (Assignment, error) {
	if !s.idle.knows(unitID) {
		return Assignment{}, fault.New(fault.NotFound, "no action %d", id)
	}
	a, err := s.mayEnd(ctx, id, f, func(a *Assignment, parts []PartState) error {
		now := s.clock.Now()
		if a.UnitID != unitID || a.State == Withheld || a.State == Offered && now.Before(a.NotBefore) {
			return fault.New(fault.NotFound, "no action %d", id)
		}
		if a.Over() || a.State == Claimed {
			return errInactive(a)
		}
		for _, d := range f.Details {
			a.Details = append(a.Details, clip(d))
		}
		if n := len(a.Details); n > maxDetails {
			a.Details = slices.Clone(a.Details[n-maxDetails:])
		}
		if f.Of > 0 && f.Done >= 0 && f.Done <= f.Of {
			a.Done, a.Of = f.Done, f.Of
		}
		switch f.State {
		case Running:
			a.Hold.Before = f.Before
			a.reach(f.Step)
			// A canceling assignment goes on being canceled while the client works.
			if a.State == Offered {
				a.State = Running
			}
			if a.Started.IsZero() {
				a.Started = now
			}
		case Claimed:
			a.State, a.Claimed = Claimed, now
			if a.Started.IsZero() {
				a.Started = now
			}
		case Failed, Canceled:
			if a.State == Canceling { // stopped as it was asked to, or cut off: its words stay
				f.State = Canceled
			}
			a.end(f.State, parts, now)
		case Offered, Withheld, Canceling, Installed:
			return fault.New(fault.Invalid, "a unit cannot say that its update is %s", f.State)
		default: // words only
		}
		return nil
	})
	if fault.KindOf(err) == fault.Conflict {
		err = errors.Join(err, s.lateWords(ctx, unitID, id, f.Details))
	}
	return a, wrap("feedback on assignment", id, err)
}

// CancelFeedback takes a unit's answer to a cancel: agreed, refused (the
// update goes on), or words only.
func (s *Service) CancelFeedback(ctx context.Context, unitID string, id int64, f Feedback) (Assignment, error) {
	if !s.idle.knows(unitID) {
		return Assignment{}, fault.New(fault.NotFound, "no action %d", id)
	}
	a, err := s.mayEnd(ctx, id, f, func(a *Assignment, parts []PartState) error {
		if a.UnitID != unitID || !a.Over() && a.State != Canceling {
			return fault.New(fault.NotFound, "no cancel of action %d", id)
		}
		if a.Over() {
			return errInactive(a)
		}
		for _, d := range f.Details {
			a.Details = append(a.Details, clip(d))
		}
		if n := len(a.Details); n > maxDetails {
			a.Details = slices.Clone(a.Details[n-maxDetails:])
		}
		switch {
		case f.Refused:
			a.State = Running
			if a.Started.IsZero() {
				a.Started = s.clock.Now()
			}
		case f.State == Canceled:
			a.end(Canceled, parts, s.clock.Now())
		}
		return nil
	})
	return a, wrap("feedback on the cancel of assignment", id, err)
}

// mayEnd changes an assignment by what its client says, and enters it in the
// register if that ends it.
func (s *Service) mayEnd(ctx context.Context, id int64, f Feedback, fn func(a *Assignment, parts []PartState) error) (a Assignment, err error) {
	if f.State != Failed && f.State != Canceled {
		return s.change(ctx, id, func(a *Assignment) error { return fn(a, nil) })
	}
	err = s.tx.InTx(ctx, func(ctx context.Context) error {
		parts, err := s.partsOf(ctx, id)
		if err != nil {
			return err
		}
		if a, err = s.change(ctx, id, func(a *Assignment) error { return fn(a, parts) }); err != nil || !a.Over() {
			return err
		}
		return s.ended(ctx, &a)
	})
	return a, err
}
