package campaign

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fettle.dev/fettle/internal/fault"
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

// errSame ends a change that would change nothing.
var errSame = errors.New("nothing changes")

// env is what steps of one campaign share within a pass.
type env struct {
	run     Run
	release update.Release
	size    int64
	wake    []string // units to be told, after the commit

	underWay int  // units with the update at hand; -1: not counted yet
	started  bool // run.Starts has changed
}

type envs map[string]*env

// env reads what the steps of a campaign need, and holds the campaign until the
// transaction ends: a pause waits for the steps before it, and the steps after
// it see it. Campaigns are locked before tasks, everywhere.
func (m *Manager) env(ctx context.Context, known envs, campaign string) (*env, error) {
	if e := known[campaign]; e != nil {
		return e, nil
	}
	e := &env{underWay: -1}
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

// keep writes what the steps changed of their campaigns.
func (m *Manager) keep(ctx context.Context, known envs) error {
	for name, e := range known {
		if !e.started {
			continue
		}
		if _, err := m.cfg.Store.UpdateCampaign(ctx, name, func(r *Run) error {
			r.Starts = e.run.Starts
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// Pass moves everything that is due once, and says how much moved. What it
// costs grows with what is due and with the campaigns that are open, not with
// their tasks.
func (m *Manager) Pass(ctx context.Context) (moved int, err error) {
	moved, err = m.followChanges(ctx)
	if err != nil {
		return moved, fmt.Errorf("follow updates: %w", err)
	}
	active, err := m.cfg.Store.Active(ctx)
	if err != nil {
		return moved, fmt.Errorf("look for campaigns: %w", err)
	}
	var errs []error
	for i := range active {
		n, err := m.passOne(ctx, &active[i])
		moved += n
		if err != nil {
			errs = append(errs, fmt.Errorf("campaign %s: %w", active[i].Campaign.Name, err))
		}
	}
	return moved, errors.Join(errs...)
}

func (m *Manager) passOne(ctx context.Context, r *Run) (moved int, err error) {
	name, now := r.Campaign.Name, m.cfg.Clock.Now()
	if end := r.Campaign.End; r.Open() && !end.IsZero() && !now.Before(end) {
		_, err := m.Finish(ctx, name, "its end came at "+end.UTC().Format(time.RFC3339))
		return 1, err
	}
	switch {
	case r.Closing:
		_, err := m.closePage(ctx, name)
		return 1, err
	case r.State == Planning && !r.PlanDone:
		_, err := m.planPage(ctx, name)
		return 1, err
	case r.State == Planning:
		after, err := m.planPage(ctx, name)
		if after.State != Planning || after.Why != r.Why {
			return 1, err
		}
		return 0, err
	case !r.Open():
		return 0, nil
	}
	if moved, err = m.recall(ctx, r); err != nil || r.State != Running {
		return moved, err
	}
	due, err := m.cfg.Store.DueTasks(ctx, r.ID, now, chunk)
	if err != nil {
		return 0, fmt.Errorf("look for due tasks: %w", err)
	}
	n, err := m.moveAll(ctx, idsOf(due), m.step)
	moved += n
	if err != nil {
		return moved, err
	}
	n, err = m.pull(ctx, r, now)
	moved += n
	if err == nil && r.Campaign.Dynamic && !now.Before(r.LookAt) {
		n, err = m.look(ctx, r, now)
		moved += n
	}
	return moved, err
}

// recall ends the offers of a release that has been withdrawn. What was assigned
// ends as its assignment does.
func (m *Manager) recall(ctx context.Context, r *Run) (moved int, err error) {
	release, err := m.cfg.Updates.Release(ctx, r.Campaign.Release)
	if err != nil || release.Withdrawn == nil {
		return 0, err
	}
	for _, f := range []TaskFilter{
		{States: []TaskState{Planned, Offered, Snoozed, Scheduled, Retrying}},
		{States: []TaskState{Accepted}, Unassigned: true},
	} {
		f.CampaignID, f.Wave, f.Limit = r.ID, -1, chunk
		list, err := m.cfg.Store.Tasks(ctx, f)
		if err != nil {
			return moved, fmt.Errorf("look for offers of what is withdrawn: %w", err)
		}
		n, err := m.moveAll(ctx, idsOf(list), func(_ context.Context, e *env, t *Task) error {
			if !slices.Contains(f.States, t.State) || f.Unassigned && t.AssignmentID != 0 {
				return errSame
			}
			t.block(e.withdrawn(), m.cfg.Clock.Now())
			return nil
		})
		if moved += n; err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// withdrawn is why nobody is offered a release any more.
func (e *env) withdrawn() *update.Refusal {
	return &update.Refusal{Code: update.CodeWithdrawn, Why: "the release has been withdrawn: " + e.release.Withdrawn.Why}
}

func idsOf(list []Task) []string {
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	return ids
}

// pull takes the next of the queues: units of open waves that have not been
// offered the update, and those that wait for a place among those that begin.
func (m *Manager) pull(ctx context.Context, r *Run, now time.Time) (moved int, err error) {
	free, err := m.free(ctx, r, now)
	if err != nil {
		return 0, err
	}
	for _, q := range []struct {
		queue Queue
		most  int
	}{{QueueStart, min(chunk, free)}, {QueueOffer, chunk}} {
		if q.most <= 0 {
			continue
		}
		list, err := m.cfg.Store.QueuedTasks(ctx, r.ID, q.queue, r.WaveOpen, q.most)
		if err != nil {
			return moved, fmt.Errorf("look for the next tasks: %w", err)
		}
		n, err := m.moveAll(ctx, idsOf(list), m.pullOne)
		moved += n
		if err != nil {
			return moved, err
		}
	}
	return moved, nil
}

func (m *Manager) pullOne(ctx context.Context, e *env, t *Task) error {
	queue, now := t.Queue, m.cfg.Clock.Now()
	if e.run.State != Running || queue == NotQueued || t.Wave > e.run.WaveOpen {
		return errSame
	}
	t.Queue = NotQueued
	switch {
	case queue == QueueOffer && t.State == Planned:
		return m.offer(ctx, e, t, now)
	case queue == QueueStart && t.State == Accepted:
		return m.assign(ctx, e, t, now)
	}
	return nil
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
	if err == nil || len(ids) == 1 && fault.KindOf(err) == fault.Unavailable || ctx.Err() != nil {
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
			if !t.NextAt.IsZero() || t.Queue != NotQueued {
				t.NextAt, t.Queue = m.cfg.Clock.Now().Add(retryAfter), NotQueued
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
		return m.keep(ctx, known)
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
	case Expired:
		return m.offerAgain(ctx, e, t, now)
	case Scheduled, Retrying:
		t.State, t.AcceptedAt = Accepted, now
		return m.assign(ctx, e, t, now)
	case Accepted:
		return m.assign(ctx, e, t, now)
	case Installing:
		return m.timeOut(ctx, e, t, now)
	case Claimed:
		return m.failed(ctx, e, t, now, "the unit's client said that it succeeded, but the unit has not reported version "+e.release.Version)
	default:
		t.NextAt = time.Time{}
		return nil
	}
}

// offer tells the owner, after looking once more at what may forbid it.
func (m *Manager) offer(ctx context.Context, e *env, t *Task, now time.Time) error {
	u, err := m.cfg.Fleet.Unit(ctx, t.UnitID)
	if fault.KindOf(err) == fault.NotFound {
		t.block(&update.Refusal{Code: update.CodeUnknown, Why: "the unit is not known any more"}, now)
		return nil
	}
	if err != nil {
		return err
	}
	judge, err := m.cfg.Updates.JudgeUnit(ctx, &e.release, u.ID)
	if err != nil {
		return err
	}
	if no := refuse(&u, judge, e.run.Campaign.Kind); no != nil {
		t.block(no, now)
		return nil
	}
	if free, err := m.others(ctx, e, t, now); err != nil || !free {
		return err
	}
	t.OwnerID, t.Why, t.Refusal, t.EndedAt = u.OwnerID, "", nil, time.Time{}
	t.OfferedAt, t.Deadline = now, now.Add(time.Duration(e.run.Campaign.Deadline))
	if t.OwnerID == "" { // kind.Policy().Unasked: nobody could postpone it
		t.State, t.AcceptedAt, t.Why = Accepted, now, "no owner to ask: a security update starts by itself"
		return m.assign(ctx, e, t, now)
	}
	t.State = Offered
	o, err := m.owner(ctx, t.OwnerID)
	if err != nil {
		return err
	}
	if at := o.Awake(now, o.loc); at.After(now) && !e.run.Campaign.Kind.Policy().Insists {
		t.NextAt = at // it stands in the portal, and the mail comes in the morning
		return nil
	}
	t.NextAt, t.Nudges = e.nextNudge(t, now), 1
	return m.tell(ctx, e, t, NoticeOffer, string(NoticeOffer))
}

func (t *Task) block(no *update.Refusal, now time.Time) {
	t.State, t.Why, t.Refusal, t.EndedAt, t.NextAt, t.Queue = Blocked, no.Why, no, now, time.Time{}, NotQueued
}

// wait leaves a task where it is until next.
func (t *Task) wait(no *update.Refusal, next time.Time) {
	t.Why, t.Refusal, t.NextAt = no.Why, no, next
}

// ref names an attempt's assignment: the task, and from the second attempt on
// its number.
func (t *Task) ref() string {
	if t.Attempt <= 1 {
		return t.ID
	}
	return fmt.Sprintf("%s/%d", t.ID, t.Attempt)
}

// origin is what the register of versions keeps of why an assignment was made.
func (e *env) origin() update.Origin {
	return update.Origin{Campaign: e.run.Campaign.Name, ApprovedBy: e.run.ApprovedBy, ApprovedAt: e.run.StartedAt}
}

// assign makes the assignment of the task's attempt, or takes the one there
// is, and lets the unit have it, unless it must still wait.
func (m *Manager) assign(ctx context.Context, e *env, t *Task, now time.Time) error {
	t.NextAt, t.At, t.Queue, t.Refusal = time.Time{}, time.Time{}, NotQueued, nil
	if wait, err := m.mustWait(ctx, e, t, now); err != nil || wait {
		return err
	}
	if free, err := m.nothingElse(ctx, t, now); err != nil || !free {
		return err
	}
	if t.AssignmentID == 0 {
		t.Attempt++
	}
	a, err := m.cfg.Updates.AssignFor(ctx, t.UnitID, e.release.Name, t.ref(), e.origin())
	if k := fault.KindOf(err); k == fault.Conflict || k == fault.NotFound {
		no, ok := errors.AsType[*update.Refusal](err)
		if !ok {
			no = &update.Refusal{Code: update.CodeUnknown, Why: err.Error()}
		}
		if no.Code == update.CodeVersion && t.Attempt > 1 { // the attempt that was given up has come through after all
			t.Attempt--
			t.State, t.InstalledAt, t.Refusal, t.Why = Verifying, now, nil, "installed; it is being watched whether the fault has gone"
			return nil
		}
		t.block(no, now)
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
		e.start(now)
	}
	return m.apply(ctx, e, t, a)
}

// nothingElse makes sure that a unit has no other update under way, such as
// one that it has been asked to stop and has not answered yet.
func (m *Manager) nothingElse(ctx context.Context, t *Task, now time.Time) (free bool, err error) {
	list, err := m.cfg.Updates.OfUnit(ctx, t.UnitID, chunk)
	if err != nil {
		return false, err
	}
	for i := range list {
		a := &list[i]
		if a.ID != t.AssignmentID && !a.Over() && a.State != update.Withheld {
			next := now.Add(time.Minute)
			t.wait(&update.Refusal{Code: CodeBusy, Name: a.Release, Until: next, Why: "waits until the unit is done with release " + a.Release}, next)
			return false, nil
		}
	}
	return true, nil
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
	if set, err := m.Preferences(ctx, owner.ID); err != nil {
		return err
	} else if set.TimeZone != "" {
		owner.TimeZone = set.TimeZone
	}
	return m.cfg.Notices.Tell(ctx, Notice{
		Key: t.noticeKey(key), Kind: kind, Owner: owner,
		Campaign: e.run.Campaign, Release: e.release, Size: e.size, Task: *t,
	})
}
