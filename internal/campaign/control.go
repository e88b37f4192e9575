package campaign

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// Pause stops offering and reminding. It is a state of the campaign that is
// looked at whenever a unit asks, so that it holds at once for any number of
// units: what has not begun is not shown to them any more, what has begun goes
// on, and is judged.
func (m *Manager) Pause(ctx context.Context, name, why string) (Run, error) {
	return m.control(ctx, "pause", name, func(_ context.Context, r *Run) error {
		switch r.State {
		case Running:
		case Planning:
			return fault.New(fault.Conflict, "campaign %s is being planned and offers nothing yet: wait until it is running, or cancel it", name)
		default:
			return fault.New(fault.Conflict, "campaign %s is %s: only a running one can be paused", name, r.State)
		}
		r.State, r.Why = Paused, why
		return nil
	})
}

// Resume goes on where Pause stopped. The open wave is judged afresh: what had
// failed by now has been looked at, and does not pause it again.
func (m *Manager) Resume(ctx context.Context, name, why string) (Run, error) {
	run, err := m.control(ctx, "resume", name, func(ctx context.Context, r *Run) error {
		if r.State != Paused {
			return fault.New(fault.Conflict, "campaign %s is %s: only a paused one can be resumed", name, r.State)
		}
		now := m.cfg.Clock.Now()
		counts, err := m.cfg.Store.CountTasks(ctx, r.ID)
		if err != nil {
			return err
		}
		r.Excused, r.ExcusedAll, r.Looked = 0, 0, Looked{}
		for _, c := range counts {
			r.Looked.add(c)
			if c.State != FailedTask && c.State != Relapsed {
				continue
			}
			r.ExcusedAll += c.N
			if c.Wave == r.WaveOpen {
				r.Excused += c.N
			}
		}
		r.State, r.Why, r.ResumedAt, r.NextAt = Running, why, now, now
		return nil
	})
	if err != nil {
		return run, err
	}
	// Units that may go on need not wait for their next poll.
	waiting, err := m.cfg.Store.Tasks(ctx, TaskFilter{CampaignID: run.ID, Wave: -1, States: []TaskState{Accepted}, Limit: wakeAtOnce})
	for _, t := range waiting {
		if t.AssignmentID != 0 {
			m.cfg.NotifyUnit(t.UnitID)
		}
	}
	return run, err
}

// wakeAtOnce is how many units are told to poll when a campaign is resumed.
const wakeAtOnce = 10_000

// Cancel ends a campaign. What no unit has begun is withdrawn; a unit that has
// begun is asked to stop, and its task ends when it answers. No unit begins
// from then on; the tasks of a large campaign go on being ended after Cancel
// has answered.
func (m *Manager) Cancel(ctx context.Context, name, why string) (Run, error) {
	return m.end(ctx, "cancel", name, func(r *Run) error {
		if !r.Open() && r.State != Draft {
			return fault.New(fault.Conflict, "campaign %s is %s already", name, r.State)
		}
		r.State, r.Why = Canceled, why
		return nil
	})
}

// Finish ends a campaign that has done what it could. Owners who never
// reacted, and units that never came, are unreachable in a safety or recall
// campaign and expired in the others.
func (m *Manager) Finish(ctx context.Context, name, why string) (Run, error) {
	return m.end(ctx, "finish", name, func(r *Run) error {
		if !r.Open() {
			return fault.New(fault.Conflict, "campaign %s is %s", name, r.State)
		}
		r.State, r.Why = Finished, why
		return nil
	})
}

// end ends a campaign and its tasks, page by page: a crash resumes after the
// last page.
func (m *Manager) end(ctx context.Context, op, name string, to func(r *Run) error) (Run, error) {
	run, err := m.control(ctx, op, name, func(ctx context.Context, r *Run) error {
		if err := to(r); err != nil {
			return err
		}
		r.EndedAt, r.NextAt, r.Closing, r.ClosedTo, r.Starts = m.cfg.Clock.Now(), time.Time{}, true, "", nil
		if r.Campaign.Dynamic {
			return m.cfg.Store.Watch(ctx, r.ID, r.Campaign.Product, false)
		}
		return nil
	})
	for closed := 0; err == nil && run.Closing && closed < closeAtOnce; closed += closePage {
		run, err = m.closePage(ctx, name)
	}
	return run, err
}

// closePage is how many tasks are ended in one transaction.
const closePage = 500

func (m *Manager) closePage(ctx context.Context, name string) (Run, error) {
	return m.control(ctx, "close the tasks of", name, func(ctx context.Context, r *Run) error {
		if !r.Closing {
			return errSame
		}
		list, err := m.cfg.Store.Tasks(ctx, TaskFilter{
			CampaignID: r.ID, Wave: -1, After: r.ClosedTo, Limit: closePage,
			States: []TaskState{Planned, Offered, Snoozed, Scheduled, Accepted, Retrying, Installing, Verifying},
		})
		if err != nil {
			return err
		}
		for i := range list {
			if err := m.closeTask(ctx, r, &list[i]); err != nil {
				return err
			}
		}
		if len(list) > 0 {
			r.ClosedTo = list[len(list)-1].ID
		}
		r.Closing = len(list) == closePage
		return m.cfg.Store.SaveTasks(ctx, list)
	})
}

// closeTask ends a task that is not under way at its unit.
func (m *Manager) closeTask(ctx context.Context, r *Run, t *Task) error {
	now, p := m.cfg.Clock.Now(), r.Campaign.Kind.Policy()
	t.Updated = now
	switch t.State {
	case Verifying:
		// Installed all the same, and reported as not yet exposed; in a
		// canceled campaign nobody goes on judging it.
		if r.State == Canceled {
			t.State, t.EndedAt, t.Why = Unjudged, now, "the campaign was canceled before it could be judged"
		}
		return nil
	case Installing:
		t.Why = "the unit has begun and has been asked to stop"
		t.NextAt = time.Time{}
	default:
		t.EndedAt, t.NextAt, t.Queue, t.Refusal = now, time.Time{}, NotQueued, nil
		switch {
		case r.State == Canceled:
			t.State, t.Why = Withdrawn, "the campaign was canceled: "+r.Why
		case t.State == Planned:
			t.State, t.Why = Withdrawn, "the campaign ended before its turn came"
		case t.State == Retrying:
			t.State = FailedTask // its why tells how the last attempt failed
		case t.State == Accepted:
			t.State, t.Why = Unreachable, "the unit did not come for its update before the campaign ended"
		case p.Expires:
			t.State, t.Why = Expired, "the campaign ended without a choice"
		default:
			t.State, t.Why = Unreachable, fmt.Sprintf("the owner did not start it before the campaign ended; reminded %d times", t.Reminded)
		}
	}
	if t.AssignmentID == 0 {
		return nil
	}
	_, err := m.cfg.Updates.Cancel(ctx, t.AssignmentID)
	return err
}

// OpenWave records that the gate before a wave was passed, and opens the wave.
// Opening what is open changes nothing.
func (m *Manager) OpenWave(ctx context.Context, name string, wave int) (Run, error) {
	return m.control(ctx, "open wave of", name, func(_ context.Context, r *Run) error {
		switch {
		case r.State != Running:
			return fault.New(fault.Conflict, "campaign %s is %s", name, r.State)
		case wave <= r.WaveOpen:
			return errSame
		case wave != r.WaveOpen+1 || wave >= len(r.Campaign.Waves):
			return fault.New(fault.Conflict, "campaign %s has wave %d open: wave %d cannot be next", name, r.WaveOpen, wave)
		}
		now := m.cfg.Clock.Now()
		r.passed(now)
		r.WaveOpen, r.WaveOpened, r.Excused = wave, append(slices.Clone(r.WaveOpened), now), 0
		r.Why = fmt.Sprintf("wave %s is open", r.Campaign.Waves[wave].Name)
		r.NextAt = now
		return nil
	})
}

// PassLastGate records that the gate after the last wave was passed.
func (m *Manager) PassLastGate(ctx context.Context, name string) (Run, error) {
	return m.control(ctx, "pass the last gate of", name, func(_ context.Context, r *Run) error {
		if !r.Last() || len(r.GatePassed) > r.WaveOpen {
			return errSame
		}
		r.passed(m.cfg.Clock.Now())
		r.Why = "every gate has been passed"
		return nil
	})
}

func (r *Run) passed(at time.Time) {
	if len(r.GatePassed) <= r.WaveOpen {
		r.GatePassed = append(slices.Clone(r.GatePassed), at)
	}
}

// control changes a campaign and its tasks in one transaction.
func (m *Manager) control(ctx context.Context, op, name string, fn func(ctx context.Context, r *Run) error) (Run, error) {
	var out Run
	err := m.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		var same Run
		run, err := m.cfg.Store.UpdateCampaign(ctx, name, func(r *Run) error {
			same = *r
			return fn(ctx, r)
		})
		out = run
		if errors.Is(err, errSame) {
			out, err = same, nil
		}
		return err
	})
	if err != nil {
		return Run{}, fmt.Errorf("%s campaign %s: %w", op, name, err)
	}
	return out, nil
}

func (l *Looked) add(c Count) {
	switch c.State {
	case FailedTask:
		l.Failed += c.N
		l.Ended += c.N
	case Relapsed:
		l.Relapsed += c.N
		l.Judged += c.N
		l.Ended += c.N
	case Verified:
		l.Judged += c.N
		l.Ended += c.N
	case Verifying, Unjudged:
		l.Ended += c.N
	default:
	}
}
