package campaign

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

const (
	// chunk is how many tasks share a transaction.
	chunk = 200
	// retryAfter is when a step that failed is tried again.
	retryAfter = 5 * time.Minute
	// busyAfter is when a unit that another campaign works on is looked at again.
	busyAfter = time.Hour
)

// policy is what the kind of a campaign asks for at its deadline.
type policy struct {
	starts  bool // at the deadline the update starts by itself, announced
	expires bool // at the deadline the offer ends
	unasked bool // a unit without an owner is updated all the same
}

// policy: security starts at the deadline unless the owner opted out; service
// and feature expire; safety and recall never start by themselves and never
// expire: they remind and escalate until the campaign ends.
func (k Kind) policy() policy {
	switch k {
	case Security:
		return policy{starts: true, unasked: true}
	case Service, Feature:
		return policy{expires: true}
	default:
		return policy{}
	}
}

// errSame ends a change that would change nothing.
var errSame = errors.New("nothing changes")

// env is what steps of one campaign share within a pass.
type env struct {
	run     Run
	release update.Release
	size    int64
	wake    []string // units to be told, after the commit
}

type envs map[string]*env

// env reads what the steps of a campaign need, and holds the campaign until the
// transaction ends: a pause waits for the steps before it, and the steps after
// it see it. Campaigns are locked before tasks, everywhere.
func (m *Manager) env(ctx context.Context, known envs, campaign string) (*env, error) {
	if e := known[campaign]; e != nil {
		return e, nil
	}
	e := &env{}
	_, err := m.cfg.Store.UpdateCampaign(ctx, campaign, func(r *Run) error {
		e.run = *r
		return errSame
	})
	if !errors.Is(err, errSame) {
		return nil, err
	}
	if e.release, err = m.cfg.Updates.Release(ctx, e.run.Campaign.Release); err != nil {
		return nil, err
	}
	if e.size, err = m.cfg.Updates.Size(ctx, &e.release); err != nil {
		return nil, err
	}
	known[campaign] = e
	return e, nil
}

// Pass moves everything that is due once, and says how many tasks moved.
func (m *Manager) Pass(ctx context.Context) (moved int, err error) {
	n, err := m.followChanges(ctx)
	if err != nil {
		return n, fmt.Errorf("follow updates: %w", err)
	}
	due, err := m.cfg.Store.DueTasks(ctx, m.cfg.Clock.Now(), chunk)
	if err != nil {
		return n, fmt.Errorf("look for due tasks: %w", err)
	}
	ids := make([]string, len(due))
	for i, t := range due {
		ids[i] = t.ID
	}
	k, err := m.moveAll(ctx, ids, m.step)
	return n + k, err
}

// move changes one task; it runs inside the transaction that holds the task,
// so everything it does stands or falls with the task's new state. It returns
// errSame where there is nothing to do.
type move func(ctx context.Context, e *env, t *Task) error

// moveAll moves tasks in one transaction. If that fails, each has one of its
// own, so that one bad task does not hold up the others.
func (m *Manager) moveAll(ctx context.Context, ids []string, fn move) (moved int, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	moved, err = m.moveTogether(ctx, ids, fn)
	if err == nil || len(ids) == 1 || ctx.Err() != nil {
		return moved, err
	}
	moved = 0
	var errs []error
	for _, id := range ids {
		n, err := m.moveTogether(ctx, []string{id}, fn)
		moved += n
		if err == nil {
			continue
		}
		errs = append(errs, fmt.Errorf("task %s: %w", id, err))
		_, err = m.cfg.Store.UpdateTask(ctx, id, func(t *Task) error {
			if !t.NextAt.IsZero() {
				t.NextAt = m.cfg.Clock.Now().Add(retryAfter)
			}
			return nil
		})
		if err != nil {
			return moved, errors.Join(append(errs, err)...)
		}
	}
	return moved, errors.Join(errs...)
}

func (m *Manager) moveTogether(ctx context.Context, ids []string, fn move) (moved int, err error) {
	known := envs{}
	err = m.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		for _, id := range ids {
			now, err := m.cfg.Store.Task(ctx, id)
			if fault.KindOf(err) == fault.NotFound {
				continue // an assignment that is no campaign's, or a campaign that was deleted
			}
			if err != nil {
				return err
			}
			e, err := m.env(ctx, known, now.Campaign)
			if err != nil {
				return err
			}
			_, err = m.cfg.Store.UpdateTask(ctx, id, func(t *Task) error {
				t.Updated = m.cfg.Clock.Now()
				return fn(ctx, e, t)
			})
			switch {
			case errors.Is(err, errSame):
			case err != nil:
				return err
			default:
				moved++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	m.wakeAll(known)
	return moved, nil
}

func (m *Manager) wakeAll(known envs) {
	for _, e := range known {
		for _, unit := range e.wake {
			m.cfg.NotifyUnit(unit)
		}
	}
}

// step moves a task that is due.
func (m *Manager) step(ctx context.Context, e *env, t *Task) error {
	now := m.cfg.Clock.Now()
	if t.NextAt.IsZero() || now.Before(t.NextAt) || e.run.State != Running {
		return errSame
	}
	switch t.State {
	case Planned:
		return m.offer(ctx, e, t, now)
	case Offered, Snoozed:
		return m.nudge(ctx, e, t, now)
	case Scheduled:
		t.State, t.AcceptedAt = Accepted, now
		return m.assign(ctx, e, t, now)
	case Accepted:
		return m.assign(ctx, e, t, now)
	case Claimed:
		t.State, t.EndedAt, t.NextAt = FailedTask, now, time.Time{}
		t.Why = "the unit's client said that it succeeded, but the unit has not reported version " + e.release.Version
		return m.tell(ctx, e, t, NoticeFailed, string(NoticeFailed))
	default:
		t.NextAt = time.Time{}
		return nil
	}
}

// offer tells the owner, after looking once more at what may forbid it.
func (m *Manager) offer(ctx context.Context, e *env, t *Task, now time.Time) error {
	u, err := m.cfg.Fleet.Unit(ctx, t.UnitID)
	if fault.KindOf(err) == fault.NotFound {
		t.block("the unit is not known any more", now)
		return nil
	}
	if err != nil {
		return err
	}
	kind := e.run.Campaign.Kind
	if _, why := refuse(&u, &e.release, kind); why != "" {
		t.block(why, now)
		return nil
	}
	others, err := m.cfg.Store.Tasks(ctx, TaskFilter{
		UnitID: t.UnitID, Wave: -1, States: []TaskState{Offered, Scheduled, Snoozed, Accepted, Installing, Claimed},
	})
	if err != nil {
		return err
	}
	for _, o := range others {
		if o.ID != t.ID {
			t.Why, t.NextAt = "waits until campaign "+o.Campaign+" is done with the unit", now.Add(busyAfter)
			return nil
		}
	}
	t.OwnerID, t.Why = u.OwnerID, ""
	t.OfferedAt, t.Deadline = now, now.Add(time.Duration(e.run.Campaign.Deadline))
	if t.OwnerID == "" { // kind.policy().unasked: nobody could postpone it
		t.State, t.AcceptedAt, t.Why = Accepted, now, "no owner to ask: a security update starts by itself"
		return m.assign(ctx, e, t, now)
	}
	t.State = Offered
	t.NextAt = e.nextNudge(t, now)
	return m.tell(ctx, e, t, NoticeOffer, string(NoticeOffer))
}

func (t *Task) block(why string, now time.Time) {
	t.State, t.Why, t.EndedAt, t.NextAt = Blocked, why, now, time.Time{}
}

// nextNudge is when to come back to an owner who has not chosen: the next
// reminder, or the deadline if it is sooner.
func (e *env) nextNudge(t *Task, now time.Time) time.Time {
	next := now.Add(e.run.Campaign.RemindEvery())
	if now.Before(t.Deadline) && t.Deadline.Before(next) {
		return t.Deadline
	}
	return next
}

// nudge reminds an owner who has not reacted, or does what the kind of the
// campaign says at the deadline.
func (m *Manager) nudge(ctx context.Context, e *env, t *Task, now time.Time) error {
	p := e.run.Campaign.Kind.policy()
	late := !now.Before(t.Deadline)
	switch {
	case late && p.starts:
		t.State, t.AcceptedAt, t.Why = Accepted, now, "the deadline has come: security updates start by themselves unless declined"
		return m.assign(ctx, e, t, now)
	case late && p.expires:
		t.State, t.EndedAt, t.NextAt, t.Why = Expired, now, time.Time{}, "the deadline passed without a choice"
		return nil
	}
	owner, err := m.cfg.Fleet.Owner(ctx, t.OwnerID)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if at := daytime(now, owner); at.After(now) && (late || at.Before(t.Deadline)) {
		t.NextAt = at // not at night
		return nil
	}
	t.Reminded++
	t.State, t.At = Offered, time.Time{}
	t.NextAt = e.nextNudge(t, now)
	kind := NoticeReminder
	if late {
		kind = NoticeEscalation
		t.Why = fmt.Sprintf("the deadline has passed; reminded %d times", t.Reminded)
	}
	return m.tell(ctx, e, t, kind, fmt.Sprintf("remind:%d", t.Reminded))
}

// daytime is t, or the next 09:00 of the owner's where it is night there
// (before 08:00, from 21:00).
func daytime(t time.Time, o fleet.Owner) time.Time {
	local := t.In(o.Location())
	y, mo, d := local.Date()
	switch h := local.Hour(); {
	case h < 8:
		return time.Date(y, mo, d, 9, 0, 0, 0, local.Location()).UTC()
	case h >= 21:
		return time.Date(y, mo, d+1, 9, 0, 0, 0, local.Location()).UTC()
	default:
		return t
	}
}

// assign makes the task's one assignment, or takes the one there is, and lets
// the unit have it.
func (m *Manager) assign(ctx context.Context, e *env, t *Task, now time.Time) error {
	t.NextAt, t.At = time.Time{}, time.Time{}
	a, err := m.cfg.Updates.Assign(ctx, t.UnitID, e.release.Name, t.ID)
	if k := fault.KindOf(err); k == fault.Conflict || k == fault.NotFound {
		t.block(err.Error(), now)
		return nil
	}
	if err != nil {
		return err
	}
	t.AssignmentID = a.ID
	if !a.Over() && !a.Begun() {
		if a, err = m.cfg.Updates.Offer(ctx, a.ID, now); err != nil {
			return err
		}
		e.wake = append(e.wake, t.UnitID)
	}
	return m.apply(ctx, e, t, a)
}

// tell keeps a notice for the owner of a task, in the transaction that moves it.
func (m *Manager) tell(ctx context.Context, e *env, t *Task, kind NoticeKind, key string) error {
	if t.OwnerID == "" {
		return nil
	}
	owner, err := m.cfg.Fleet.Owner(ctx, t.OwnerID)
	if fault.KindOf(err) == fault.NotFound {
		return nil // gone since: there is nobody to tell, and the task goes on
	}
	if err != nil {
		return fmt.Errorf("owner of %s: %w", t.UnitID, err)
	}
	if t.Handed > 0 {
		key = strconv.Itoa(t.Handed) + ":" + key
	}
	return m.cfg.Notices.Tell(ctx, Notice{
		Key: t.ID + ":" + key, Kind: kind, Owner: owner,
		Campaign: e.run.Campaign, Release: e.release, Size: e.size, Task: *t,
	})
}
