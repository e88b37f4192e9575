package campaign

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// each changes every task of a campaign in the states, page by page, inside
// the caller's transaction.
func (m *Manager) each(ctx context.Context, campaignID string, states []TaskState, fn func(t *Task) error) error {
	f := TaskFilter{CampaignID: campaignID, Wave: -1, States: states, Limit: chunk}
	for {
		list, err := m.cfg.Store.Tasks(ctx, f)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, t := range list {
			_, err := m.cfg.Store.UpdateTask(ctx, t.ID, func(t *Task) error {
				t.Updated = m.cfg.Clock.Now()
				return fn(t)
			})
			if err != nil {
				return err
			}
		}
		f.After = list[len(list)-1].ID
	}
}

// Pause stops offering, and takes back what units have been offered and have
// not begun. What has begun goes on, and is judged.
func (m *Manager) Pause(ctx context.Context, name, why string) (Run, error) {
	return m.control(ctx, "pause", name, func(ctx context.Context, r *Run) error {
		if r.State != Running {
			return fault.New(fault.Conflict, "campaign %s is %s: only a running one can be paused", name, r.State)
		}
		r.State, r.Why = Paused, why
		return m.each(ctx, r.ID, []TaskState{Accepted}, func(t *Task) error {
			t.Why = "the campaign is paused"
			if t.AssignmentID == 0 {
				return nil
			}
			_, err := m.cfg.Updates.Withhold(ctx, t.AssignmentID)
			if fault.KindOf(err) == fault.Conflict {
				return nil // the unit was faster
			}
			return err
		})
	})
}

// Resume goes on where Pause stopped. The open wave is judged afresh: what had
// failed by now has been looked at, and does not pause it again.
func (m *Manager) Resume(ctx context.Context, name, why string) (Run, error) {
	return m.control(ctx, "resume", name, func(ctx context.Context, r *Run) error {
		if r.State != Paused {
			return fault.New(fault.Conflict, "campaign %s is %s: only a paused one can be resumed", name, r.State)
		}
		now := m.cfg.Clock.Now()
		counts, err := m.cfg.Store.CountTasks(ctx, r.ID)
		if err != nil {
			return err
		}
		r.Excused, r.ExcusedAll = 0, 0
		for _, c := range counts {
			if c.State != FailedTask && c.State != Relapsed {
				continue
			}
			r.ExcusedAll += c.N
			if c.Wave == r.WaveOpen {
				r.Excused += c.N
			}
		}
		r.State, r.Why, r.ResumedAt, r.NextAt = Running, why, now, now
		return m.cfg.Store.WakeTasks(ctx, r.ID, -1, []TaskState{Accepted}, now)
	})
}

// Cancel ends a campaign. What no unit has begun is withdrawn; a unit that has
// begun is asked to stop, and its task ends when it answers.
func (m *Manager) Cancel(ctx context.Context, name, why string) (Run, error) {
	return m.control(ctx, "cancel", name, func(ctx context.Context, r *Run) error {
		if !r.Open() && r.State != Draft {
			return fault.New(fault.Conflict, "campaign %s is %s already", name, r.State)
		}
		r.State, r.Why, r.EndedAt, r.NextAt = Canceled, why, m.cfg.Clock.Now(), time.Time{}
		return m.close(ctx, r, func(t *Task) { t.State, t.Why = Withdrawn, "the campaign was canceled: "+why })
	})
}

// Finish ends a campaign that has done what it could. Owners who never
// reacted, and units that never came, are unreachable in a safety or recall
// campaign and expired in the others.
func (m *Manager) Finish(ctx context.Context, name, why string) (Run, error) {
	return m.control(ctx, "finish", name, func(ctx context.Context, r *Run) error {
		if !r.Open() {
			return fault.New(fault.Conflict, "campaign %s is %s", name, r.State)
		}
		r.State, r.Why, r.EndedAt, r.NextAt = Finished, why, m.cfg.Clock.Now(), time.Time{}
		p := r.Campaign.Kind.policy()
		return m.close(ctx, r, func(t *Task) {
			switch {
			case t.State == Planned:
				t.State = Withdrawn
			case t.State == Accepted:
				t.State, t.Why = Unreachable, "the unit did not come for its update before the campaign ended"
			case p.expires:
				t.State, t.Why = Expired, "the campaign ended without a choice"
			default:
				t.State, t.Why = Unreachable, fmt.Sprintf("the owner did not start it before the campaign ended; reminded %d times", t.Reminded)
			}
		})
	})
}

// close ends every task that is not under way at the unit.
func (m *Manager) close(ctx context.Context, r *Run, end func(t *Task)) error {
	now := m.cfg.Clock.Now()
	states := []TaskState{Planned, Offered, Snoozed, Scheduled, Accepted, Installing, Verifying}
	return m.each(ctx, r.ID, states, func(t *Task) error {
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
		default:
			end(t)
			t.EndedAt, t.NextAt = now, time.Time{}
		}
		if t.AssignmentID == 0 {
			return nil
		}
		_, err := m.cfg.Updates.Cancel(ctx, t.AssignmentID)
		return err
	})
}

// OpenWave records that the gate before a wave was passed, and opens the wave.
// Opening what is open changes nothing.
func (m *Manager) OpenWave(ctx context.Context, name string, wave int) (Run, error) {
	return m.control(ctx, "open wave of", name, func(ctx context.Context, r *Run) error {
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
		return m.cfg.Store.WakeTasks(ctx, r.ID, wave, []TaskState{Planned}, now)
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
