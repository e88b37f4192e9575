package campaign

import (
	"context"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// lateGrace is how far ahead an owner may still set a time after the deadline
// of a campaign that does not expire.
const lateGrace = 24 * time.Hour

// latest is the last moment an owner may set.
func latest(t *Task, k Kind, now time.Time) time.Time {
	p := k.Policy()
	if grace := now.Add(lateGrace); p.Insists && grace.After(t.Deadline) {
		return grace
	}
	return t.Deadline
}

// tonight is the next 02:00 where the owner is, or the first moment after it
// where clocks skip it.
func tonight(now time.Time, loc *time.Location) time.Time {
	local := now.In(loc)
	y, mo, d := local.Date()
	at := time.Date(y, mo, d, 2, 0, 0, 0, local.Location())
	if !at.After(now) {
		at = time.Date(y, mo, d+1, 2, 0, 0, 0, local.Location())
	}
	return at.UTC()
}

// Choose takes an owner's choice about a task of their own. It may change
// until the unit has begun.
func (m *Manager) Choose(ctx context.Context, ownerID, taskID string, c Choice, at time.Time) (Task, error) {
	known := envs{}
	var out Task
	err := m.cfg.Tx.InTx(ctx, func(ctx context.Context) (err error) {
		now, err := m.cfg.Store.Task(ctx, taskID)
		if err != nil {
			return err
		}
		if ownerID == "" || now.OwnerID != ownerID {
			return fault.New(fault.NotFound, "no task %q", taskID)
		}
		e, err := m.env(ctx, known, now.Campaign)
		if err != nil {
			return err
		}
		out, err = m.cfg.Store.UpdateTask(ctx, taskID, func(t *Task) error {
			t.Updated = m.cfg.Clock.Now()
			return m.choose(ctx, e, t, c, at)
		})
		if err != nil {
			return err
		}
		return m.keep(ctx, known)
	})
	if err != nil {
		return Task{}, fmt.Errorf("choose for task %s: %w", taskID, err)
	}
	m.wakeAll(known)
	return out, nil
}

func (m *Manager) choose(ctx context.Context, e *env, t *Task, c Choice, at time.Time) error {
	now, kind := m.cfg.Clock.Now(), e.run.Campaign.Kind
	if !e.run.Open() {
		return fault.New(fault.Conflict, "this update is not offered any more")
	}
	if e.release.Withdrawn != nil && c != Decline {
		return fault.New(fault.Conflict, "this update has been withdrawn: %s", e.release.Withdrawn.Why)
	}
	switch t.State {
	case Offered, Scheduled, Snoozed, Accepted, Declined, Retrying:
	case Installing:
		return m.hold(ctx, t, c)
	case Claimed, Verifying, Verified, Relapsed, Unjudged:
		return fault.New(fault.Conflict, "the update has begun: it is too late to change your choice")
	default:
		return fault.New(fault.Conflict, "this update is not offered: it is %s", t.State)
	}
	if p := kind.Policy(); p.Expires && !now.Before(t.Deadline) && t.State != Accepted {
		return fault.New(fault.Conflict, "the time to choose ended at %s", t.Deadline.Format(time.RFC3339))
	}
	when, next, err := m.timeOf(ctx, e, t, c, at, now)
	if err != nil {
		return err
	}
	if c != StartNow && t.AssignmentID != 0 {
		if _, err := m.cfg.Updates.Withhold(ctx, t.AssignmentID); err != nil {
			return err
		}
	}
	if c == StartNow && t.State == Accepted {
		return nil
	}
	t.EndedAt, t.Why, t.Refusal, t.Queue, t.Told = time.Time{}, "", nil, NotQueued, "" // who answers has not been reminded for nothing
	switch c {
	case StartNow:
		t.State, t.AcceptedAt = Accepted, now
		return m.assign(ctx, e, t, now)
	case Tonight, SetTime:
		t.State, t.At, t.NextAt = Scheduled, when, when
		return m.ahead(ctx, e, t, when)
	case NotNow:
		t.State, t.At, t.NextAt = Snoozed, next, next
	case Decline:
		t.State, t.At, t.NextAt, t.EndedAt, t.Why = Declined, time.Time{}, time.Time{}, now, "declined by the owner"
	}
	return nil
}

// timeOf checks the choice and says when the update shall start, or when the
// owner is reminded.
func (m *Manager) timeOf(ctx context.Context, e *env, t *Task, c Choice, at, now time.Time) (when, next time.Time, err error) {
	mistake := func(path, expected string, got any) error {
		return fault.Fields("choice", []fault.Field{{Path: path, Expected: expected, Got: fmt.Sprint(got)}})
	}
	kind := e.run.Campaign.Kind
	last := latest(t, kind, now)
	switch c {
	case StartNow, Decline:
	case NotNow:
		if p := kind.Policy(); (p.Starts || p.Expires) && !now.Before(t.Deadline) {
			return when, next, fault.New(fault.Conflict, "the deadline has come: it cannot be put off any more")
		}
		next = e.nextNudge(t, now)
	case Tonight:
		owner, err := m.owner(ctx, t.OwnerID)
		if err != nil {
			return when, next, err
		}
		if when = tonight(now, owner.loc); when.After(last) {
			return when, next, mistake("choice", "now, or a time before "+last.Format(time.RFC3339)+", because the deadline comes before tonight", c)
		}
	case SetTime:
		if when = at.UTC(); !when.After(now) || when.After(last) {
			return when, next, mistake("at", "a time after now, not after "+last.Format(time.RFC3339), at.Format(time.RFC3339))
		}
	default:
		return when, next, mistake("choice", "now, tonight, at, not now or decline", c)
	}
	return when, next, nil
}
