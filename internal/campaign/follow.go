package campaign

import (
	"context"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

// staleEvery is how many passes go by between two looks for tasks that lag
// behind their assignment. Following the changes finds them at once in nearly
// every case; the look finds those of a crash, of two transactions that were
// committed out of order, and of a clock that went back.
const staleEvery = 50

// follower remembers how far the changes of assignments have been followed.
type follower struct {
	at     time.Time
	at0    map[int64]time.Time // those at exactly that time
	passes int
}

// followChanges moves tasks by what their units have said.
func (m *Manager) followChanges(ctx context.Context) (moved int, err error) {
	f := &m.follow
	start := m.cfg.Clock.Now().Truncate(time.Millisecond)
	if f.passes%staleEvery == 0 {
		if moved, err = m.catchUp(ctx); err != nil {
			return moved, err
		}
	}
	if f.passes == 0 {
		f.at, f.at0 = start, map[int64]time.Time{}
	}
	f.passes++
	list, err := m.cfg.Updates.ChangedSince(ctx, f.at, chunk)
	if err != nil {
		return moved, err
	}
	var ids []string
	for _, a := range list {
		if at, seen := f.at0[a.ID]; !seen || !at.Equal(a.Updated) {
			id, _, _ := strings.Cut(a.Ref, "/") // attempts have one of their own
			ids = append(ids, id)
		}
	}
	n, err := m.moveAll(ctx, ids, m.followOne)
	for _, a := range list {
		if a.Updated.After(f.at) {
			f.at = a.Updated
			clear(f.at0)
		}
		f.at0[a.ID] = a.Updated
	}
	if len(list) == chunk && len(ids) == 0 && err == nil {
		// More changed within one millisecond than a page holds: look at all
		// that lag behind, and go on after that millisecond.
		n, err = m.catchUp(ctx)
		f.at = f.at.Add(time.Millisecond)
		clear(f.at0)
	}
	return moved + n, err // what failed is found again by catchUp
}

func (m *Manager) catchUp(ctx context.Context) (moved int, err error) {
	after := ""
	for {
		list, err := m.cfg.Store.StaleTasks(ctx, after, chunk)
		if err != nil || len(list) == 0 {
			return moved, err
		}
		ids := make([]string, len(list))
		for i, t := range list {
			ids[i] = t.ID
		}
		n, err := m.moveAll(ctx, ids, m.followOne)
		moved += n
		if err != nil {
			return moved, err
		}
		after = ids[len(ids)-1]
	}
}

func (m *Manager) followOne(ctx context.Context, e *env, t *Task) error {
	if t.AssignmentID == 0 {
		return errSame
	}
	a, err := m.cfg.Updates.Assignment(ctx, t.AssignmentID)
	if err != nil {
		return err
	}
	if !a.Updated.After(t.SeenAt) {
		return errSame
	}
	return m.apply(ctx, e, t, a)
}

// detailsShown is how many of the client's last words a task shows.
const detailsShown = 5

// apply moves a task to where its assignment stands. A task never goes
// backwards: what has been installed is not merely claimed again.
func (m *Manager) apply(ctx context.Context, e *env, t *Task, a update.Assignment) error {
	now := m.cfg.Clock.Now()
	t.SeenAt = a.Updated
	if t.Of != a.Of || a.Done > t.Done {
		t.Done, t.Of = a.Done, a.Of
	}
	t.Details = slices.Clone(a.Details[max(0, len(a.Details)-detailsShown):])
	if !slices.Contains([]TaskState{Accepted, Installing, Claimed, Withdrawn}, t.State) {
		return nil
	}
	t.StartedAt, t.ClaimedAt = a.Started, a.Claimed
	switch a.State {
	case update.Withheld:
	case update.Offered:
		if t.State == Accepted && t.Queue == NotQueued {
			if waited := t.Refusal != nil; a.Waiting != nil || waited {
				t.Refusal, t.Why = a.Waiting, ""
			}
			if a.Waiting != nil {
				t.Why = a.Waiting.Why
			}
		}
	case update.Running, update.Canceling:
		if t.State == Accepted && a.State == update.Running {
			t.State, t.Why, t.Refusal, t.Queue = Installing, "", nil, NotQueued
		}
		if t.State == Installing && e.run.Open() {
			t.NextAt = a.Updated.Add(e.run.Campaign.PatienceWith())
		}
	case update.Claimed:
		t.Refusal, t.Queue = nil, NotQueued
		t.State, t.NextAt = Claimed, now.Add(e.run.Campaign.Gate.WaitAtMost())
		t.Why = "waits until the unit reports version " + e.release.Version
	case update.Installed:
		if t.StartedAt.IsZero() {
			t.StartedAt = a.Installed
		}
		t.InstalledAt, t.NextAt, t.Refusal, t.Queue = a.Installed, time.Time{}, nil, NotQueued
		if !e.run.Open() {
			t.State, t.EndedAt, t.Why = Unjudged, now, "installed after the campaign had ended"
			return nil
		}
		t.State, t.EndedAt, t.Why = Verifying, time.Time{}, "installed; it is being watched whether the fault has gone"
	case update.Failed:
		return m.failed(ctx, e, t, now, reason(a.Details))
	case update.Canceled:
		t.EndedAt, t.NextAt = now, time.Time{}
		switch {
		case e.release.Withdrawn != nil:
			t.block(e.withdrawn(), now)
			return nil
		case e.run.Open():
			return m.failed(ctx, e, t, now, "the unit canceled the update: "+reason(a.Details))
		}
		t.State, t.Why = Withdrawn, "the campaign ended: "+e.run.Why
	}
	return nil
}

// reason is why an update failed, in the client's words. The closing words of
// SWUpdate only say that no image was found; what went wrong stands before.
func reason(details []string) string {
	return update.Reason(details)
}

// Judgement is what has been found out about one installed remedy.
type Judgement struct {
	TaskID string
	State  TaskState // Verified, Relapsed, Unjudged, or Verifying again
	Why    string
}

// Judge keeps judgements. Only what is installed is judged: a task that is
// being verified, a verified one that relapses, and one that could not be
// judged and now can.
func (m *Manager) Judge(ctx context.Context, list []Judgement) (moved int, err error) {
	by := make(map[string]Judgement, len(list))
	for _, j := range list {
		by[j.TaskID] = j
	}
	for part := range slices.Chunk(list, chunk) {
		ids := make([]string, len(part))
		for i, j := range part {
			ids[i] = j.TaskID
		}
		n, err := m.moveAll(ctx, ids, func(ctx context.Context, e *env, t *Task) error {
			j := by[t.ID]
			switch {
			case t.State == Verifying && (j.State == Verified || j.State == Relapsed || j.State == Unjudged),
				t.State == Verified && j.State == Relapsed,
				t.State == Unjudged && (j.State == Verifying || j.State == Relapsed):
			default:
				return errSame
			}
			t.State, t.Why, t.EndedAt = j.State, j.Why, m.cfg.Clock.Now()
			switch j.State {
			case Verifying:
				t.EndedAt = time.Time{}
			case Verified: // only now may the owner be told that it works
				return m.tell(ctx, e, t, NoticeDone, string(NoticeDone))
			default:
			}
			return nil
		})
		moved += n
		if err != nil {
			return moved, fault.Wrap(fault.KindOf(err), "keep judgements", err)
		}
	}
	return moved, nil
}
