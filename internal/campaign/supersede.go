package campaign

import (
	"context"
	"errors"
	"slices"
	"time"

	"fettle.dev/fettle/internal/update"
)

// others looks at what other campaigns want of the unit. The newest release
// for a component wins: tasks of older campaigns that no unit has begun are
// superseded. What has begun is waited for.
func (m *Manager) others(ctx context.Context, e *env, t *Task, now time.Time) (free bool, err error) {
	list, err := m.cfg.Store.Tasks(ctx, TaskFilter{UnitID: t.UnitID, Wave: -1})
	if err != nil {
		return false, err
	}
	for i := range list {
		o := &list[i]
		if o.ID == t.ID || o.Over() && o.State != Verified && o.State != Unjudged || o.State == Planned {
			continue
		}
		run, err := m.cfg.Store.Campaign(ctx, o.Campaign)
		if err != nil {
			return false, err
		}
		release, err := m.cfg.Updates.Release(ctx, run.Campaign.Release)
		if err != nil {
			return false, err
		}
		same, newer := release.Name != e.release.Name && overlap(&e.release, &release), newer(&release, &run, &e.release, &e.run)
		holds := o.holds()
		switch {
		case same && newer:
			t.State, t.EndedAt, t.NextAt = Superseded, now, time.Time{}
			t.Refusal = &update.Refusal{Code: CodeSuperseded, Name: o.Campaign, Have: e.release.Version, Need: release.Version, Why: "campaign " + o.Campaign + " brings version " + release.Version + " instead"}
			t.Why = t.Refusal.Why
			return false, nil
		case same && holds && o.State != Installing && o.State != Claimed:
			over, err := m.supersede(ctx, e, o, now)
			if err != nil {
				return false, err
			}
			if over {
				continue
			}
			t.wait(busy(o, now.Add(time.Minute)), now.Add(time.Minute))
			return false, nil
		case holds:
			t.wait(busy(o, now.Add(busyAfter)), now.Add(busyAfter))
			return false, nil
		}
	}
	return true, nil
}

func busy(o *Task, until time.Time) *update.Refusal {
	return &update.Refusal{Code: CodeBusy, Name: o.Campaign, Until: until, Why: "waits until campaign " + o.Campaign + " is done with the unit"}
}

// holds reports whether the task holds its unit against other campaigns.
func (t *Task) holds() bool {
	return slices.Contains(Busy, t.State)
}

// overlap reports whether two releases are for a component that both change.
func overlap(a, b *update.Release) bool {
	for _, p := range a.Images() {
		for _, q := range b.Images() {
			if p.Component == q.Component {
				return true
			}
		}
	}
	return false
}

// newer reports whether release a, of campaign ra, is newer than b: by its
// counter, and between equals by which campaign began later.
func newer(a *update.Release, ra *Run, b *update.Release, rb *Run) bool {
	if a.Counter != b.Counter {
		return a.Counter > b.Counter
	}
	if !ra.StartedAt.Equal(rb.StartedAt) {
		return ra.StartedAt.After(rb.StartedAt)
	}
	return ra.ID > rb.ID
}

// supersede ends a task of an older campaign that its unit has not begun. It
// says whether nothing of it is under way any more: a unit that may have seen
// the update must first agree to leave it.
func (m *Manager) supersede(ctx context.Context, e *env, o *Task, now time.Time) (over bool, err error) {
	_, err = m.cfg.Store.UpdateTask(ctx, o.ID, func(o *Task) error {
		if !o.holds() || o.State == Installing || o.State == Claimed {
			return errSame // it was faster
		}
		over = true
		if o.AssignmentID != 0 {
			a, err := m.cfg.Updates.Cancel(ctx, o.AssignmentID)
			if err != nil {
				return err
			}
			if over = a.Over(); a.Begun() && !over && a.State != update.Canceling {
				return errSame
			}
		}
		o.State, o.EndedAt, o.NextAt, o.Queue, o.Updated = Superseded, now, time.Time{}, NotQueued, now
		o.Refusal = &update.Refusal{Code: CodeSuperseded, Name: e.run.Campaign.Name, Need: e.release.Version, Why: "campaign " + e.run.Campaign.Name + " brings version " + e.release.Version + " instead"}
		o.Why = o.Refusal.Why
		return nil
	})
	if errors.Is(err, errSame) {
		return false, nil
	}
	return over, err
}
