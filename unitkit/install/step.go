package install

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"fettle.dev/fettle/unitkit"
)

// errLater says that a state changed while its work was done: Step looks again.
var errLater = errors.New("the update's state has changed meanwhile")

// Step does the next thing that is to be done and says how long to wait before
// it is called again, 0 for at once. An error means that the thing failed and
// will be tried again; it never needs more than being logged. When ctx ends a
// download stops, to be resumed by the next Step.
func (u *Updater) Step(ctx context.Context) (time.Duration, error) {
	j := u.Journal()
	var wait time.Duration
	var err error
	switch j.State {
	case Idle:
		return time.Hour, nil
	case Downloading:
		wait, err = u.download(ctx, j)
	case Downloaded:
		err = u.move(Downloaded, func(j *Journal) { j.State = Waiting })
	case Waiting:
		wait, err = u.wait(ctx, j)
	case Installing:
		wait, err = u.install(ctx, j)
	case Activating:
		err = u.activate(ctx, j)
	case Installed:
		wait, err = u.restart(ctx, j)
	case Checking:
		wait, err = u.healthy(ctx, j)
	case Committing:
		err = u.commit(ctx, j)
	case Returning:
		wait, err = u.goBack(ctx, j)
	case Committed, Returned, Failed:
		err = u.clean(ctx, j)
	default:
		err = fmt.Errorf("no state %q", j.State)
	}
	if errors.Is(err, errLater) {
		return 0, nil
	}
	if err != nil {
		wait = max(wait, retryAfter)
	}
	return wait, err
}

// move changes the journal if its state is still the one that was worked on.
func (u *Updater) move(from State, fn func(j *Journal)) error {
	return u.change(func(j *Journal) error {
		if j.State != from {
			return errLater
		}
		fn(j)
		return nil
	})
}

// task is a target for its part.
func (u *Updater) task(j *Journal, i int) (Task, Part) {
	t := j.Update.Targets[i]
	return Task{
		Action: j.Update.Action, Release: j.Update.Release, Target: t, File: u.path(t), Note: j.Tasks[i].Note, Say: u.say,
	}, u.cfg.Parts[t.Component]
}

// each calls fn for every target, in their order or backwards.
func (u *Updater) each(j *Journal, backwards bool, fn func(Task, Part) error) error {
	n := len(j.Update.Targets)
	for k := range n {
		i := k
		if backwards {
			i = n - 1 - k
		}
		t, part := u.task(j, i)
		if part == nil {
			return fmt.Errorf("%w %q: it is gone from the configuration", ErrNoPart, t.Target.Component)
		}
		if err := fn(t, part); err != nil {
			return fmt.Errorf("%s %s: %w", t.Target.Component, t.Target.Version, err)
		}
	}
	return nil
}

// wait waits for the owner's time, and for the unit to be ready.
func (u *Updater) wait(ctx context.Context, j *Journal) (time.Duration, error) {
	why, wait := j.begins(u.cfg.Now())
	if why == "" && u.cfg.MayBegin != nil {
		if err := u.cfg.MayBegin(ctx, j.Update); err != nil {
			why, wait = err.Error(), recheckAfter
		}
	}
	if why != "" {
		return wait, u.waits(Waiting, why)
	}
	return 0, u.change(func(j *Journal) error {
		if j.State != Waiting {
			return errLater
		}
		if why, _ := j.begins(u.cfg.Now()); why != "" {
			return errLater // the owner has said otherwise this moment
		}
		j.State = Installing
		u.post(j, *j.Update, unitkit.StateInstalling, "installing")
		return nil
	})
}

// waits keeps, and tells the server, what an update waits for.
func (u *Updater) waits(in State, why string) error {
	u.mu.Lock()
	u.why = why
	u.mu.Unlock()
	if why == u.waiting {
		return nil
	}
	err := u.move(in, func(j *Journal) {
		if shown(j.Update, u.cfg.Now()) {
			state := unitkit.StateDownloaded
			if in == Installing {
				state = unitkit.StateInstalling
			}
			u.post(j, *j.Update, state, "waiting: "+why)
		}
	})
	if err == nil {
		u.waiting = why
	}
	return err
}

// install makes every target ready beside what runs. What fails here has
// changed nothing.
func (u *Updater) install(ctx context.Context, j *Journal) (time.Duration, error) {
	if j.Ready {
		if u.cfg.MayBegin != nil {
			if err := u.cfg.MayBegin(ctx, j.Update); err != nil {
				return recheckAfter, u.waits(Installing, err.Error())
			}
		}
		return 0, u.move(Installing, func(j *Journal) { j.State = Activating })
	}
	notes := make([]string, 0, len(j.Tasks))
	err := u.each(j, false, func(t Task, part Part) error {
		if err := u.verify(t.Target); err != nil {
			return err
		}
		note, err := part.Prepare(ctx, t)
		notes = append(notes, note)
		return err
	})
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		return 0, u.fail(Installing, err)
	}
	return 0, u.move(Installing, func(j *Journal) {
		j.Ready = true
		for i := range j.Tasks {
			j.Tasks[i].Note = notes[i]
		}
	})
}

// verify reads what was downloaded once more: a disk may have lost it.
func (u *Updater) verify(t unitkit.Target) error {
	f, err := u.cfg.FS.Open(u.path(t))
	if err != nil {
		return err
	}
	return errors.Join(unitkit.Verify(t, f), f.Close())
}

// fail ends an update that has changed nothing.
func (u *Updater) fail(in State, cause error) error {
	return u.move(in, func(j *Journal) {
		j.State, j.Why = Failed, clip(cause.Error(), maxDetailBytes)
		u.ended(j, unitkit.StateFailed, "nothing was changed: the version from before runs, and the unit may be used")
	})
}

// activate makes every target the one that runs after a restart. Whether there
// has been one since is told by the machine's boot id.
func (u *Updater) activate(ctx context.Context, j *Journal) error {
	id, err := u.bootID()
	if err != nil {
		return fmt.Errorf("find out when the machine was started: %w", err)
	}
	if id != j.BootID {
		if err := u.move(Activating, func(j *Journal) { j.BootID = id }); err != nil {
			return err
		}
	}
	err = u.each(j, false, func(t Task, part Part) error { return part.Activate(ctx, t) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return u.goingBack(Activating, fmt.Errorf("the new version could not be made active: %w", err))
	}
	return u.move(Activating, func(j *Journal) {
		j.State = Installed
		u.post(j, *j.Update, unitkit.StateRebooting, "restarting into the new version")
	})
}

func (u *Updater) bootID() (string, error) {
	if u.cfg.BootID == nil {
		return "", nil
	}
	return u.cfg.BootID()
}

// restart asks for the restart, and sees that it has been.
func (u *Updater) restart(ctx context.Context, j *Journal) (time.Duration, error) {
	id, err := u.bootID()
	if err != nil {
		return 0, fmt.Errorf("find out whether the machine was restarted: %w", err)
	}
	checking := func(j *Journal) { j.State, j.Starts, j.Restart = Checking, 0, true }
	if id != j.BootID { // both are empty when Restart itself says when it is done
		return 0, u.move(Installed, checking)
	}
	if j.Restart && u.cfg.BootID != nil && !u.asked.IsZero() && u.cfg.Now().Sub(u.asked) < restartAgain {
		return recheckAfter, nil
	}
	if j.Starts >= maxStarts {
		if u.cfg.BootID != nil {
			return 0, u.goingBack(Installed, fmt.Errorf("the machine was asked %d times to restart and did not", maxStarts))
		}
		return 0, u.move(Installed, checking) // the restart restarts this program too, it seems
	}
	if err := u.move(Installed, func(j *Journal) { j.Restart = true; j.Starts++ }); err != nil {
		return 0, err
	}
	u.asked = u.cfg.Now()
	if err := u.doRestart(ctx, j.Update); err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return 0, u.goingBack(Installed, fmt.Errorf("the restart failed: %w", err))
	}
	if u.cfg.BootID != nil {
		return recheckAfter, nil
	}
	return 0, u.move(Installed, checking)
}

func (u *Updater) doRestart(ctx context.Context, n *unitkit.Update) error {
	if u.cfg.Restart == nil {
		return nil
	}
	return u.cfg.Restart(ctx, n)
}

// healthy probes the new version.
func (u *Updater) healthy(ctx context.Context, j *Journal) (time.Duration, error) {
	if !u.resumed {
		if j.Starts >= maxStarts {
			return 0, u.goingBack(Checking, fmt.Errorf("the unit was restarted %d times while the new version was on trial", j.Starts))
		}
		if err := u.move(Checking, func(j *Journal) { j.Starts++ }); err != nil {
			return 0, err
		}
		u.resumed, u.from, u.failed, u.passed = true, u.cfg.Now(), 0, 0
	}
	err := u.each(j, false, func(t Task, part Part) error { return part.Active(ctx, t) })
	if err != nil && ctx.Err() == nil {
		u.resumed = false
		return 0, u.goingBack(Checking, fmt.Errorf("the new version does not run: %w", err))
	}
	h := u.cfg.Health
	if u.cfg.Healthy != nil {
		probe, cancel := context.WithTimeout(ctx, max(h.Deadline-u.cfg.Now().Sub(u.from), time.Second))
		err = u.cfg.Healthy(probe)
		cancel()
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err == nil {
		if u.passed++; u.passed < h.Passes {
			return h.Interval, nil
		}
		u.resumed = false
		return 0, u.move(Checking, func(j *Journal) { j.State = Committing })
	}
	u.passed = 0
	u.failed++
	spent := u.cfg.Now().Sub(u.from)
	u.log.Warn("health check", "attempt", u.failed, "of", h.Attempts, "err", err)
	if u.failed >= h.Attempts || spent+h.Interval > h.Deadline {
		attempts := u.failed
		u.resumed = false
		return 0, u.goingBack(Checking, fmt.Errorf("the health check failed %d times in %s: %w", attempts, spent.Round(time.Second), err))
	}
	return h.Interval, nil
}

// commit keeps the new version, and raises the counters.
func (u *Updater) commit(ctx context.Context, j *Journal) error {
	err := u.each(j, false, func(t Task, part Part) error { return part.Commit(ctx, t) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return u.goingBack(Committing, fmt.Errorf("the new version could not be kept: %w", err))
	}
	return u.move(Committing, func(j *Journal) {
		j.State = Committed
		for _, t := range j.Update.Targets {
			set(&j.Versions, t.Component, t.Version)
			set(&j.Counters, t.Component, max(t.Counter, j.Counters[t.Component]))
		}
		u.ended(j, unitkit.StateInstalled, "installed, restarted, healthy")
	})
}

func set[V any](m *map[string]V, k string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[k] = v
}

// goingBack begins the return to the old version.
func (u *Updater) goingBack(in State, cause error) error {
	u.log.Error("update: returning to the version before", "err", cause)
	return u.move(in, func(j *Journal) {
		j.State, j.Why, j.Attempts = Returning, clip(cause.Error(), maxDetailBytes), 0
	})
}

// goBack brings every part's old version back, last first, restarts if the new
// one may be running, and says what state the unit is in.
func (u *Updater) goBack(ctx context.Context, j *Journal) (time.Duration, error) {
	if !j.Back {
		again := false
		err := u.each(j, true, func(t Task, part Part) error {
			restart, err := part.Return(ctx, t)
			again = again || restart
			return err
		})
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			return retryAfter, u.stuck(err)
		}
		id, err := u.bootID()
		if err != nil {
			return 0, fmt.Errorf("find out whether the machine was restarted: %w", err)
		}
		return 0, u.move(Returning, func(j *Journal) {
			j.Back, j.Again, j.BootID, j.Attempts = true, again && j.Restart, id, 0
		})
	}
	if j.Again {
		id, err := u.bootID()
		if err != nil {
			return 0, fmt.Errorf("find out whether the machine was restarted: %w", err)
		}
		if id == j.BootID { // else it was restarted, by us or by whoever pulled the plug
			if err := u.doRestart(ctx, j.Update); err != nil {
				if ctx.Err() != nil {
					return 0, ctx.Err()
				}
				return retryAfter, u.stuck(fmt.Errorf("the restart failed: %w", err))
			}
			if u.cfg.BootID != nil {
				return restartAgain, nil
			}
		}
	}
	state := "the version from before runs again"
	if u.cfg.Healthy != nil {
		probe, cancel := context.WithTimeout(ctx, u.cfg.Health.Interval+time.Minute)
		err := u.cfg.Healthy(probe)
		cancel()
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil && j.Attempts+1 < u.cfg.Health.Attempts {
			return u.cfg.Health.Interval, u.move(Returning, func(j *Journal) { j.Attempts++; j.Again = false })
		}
		if err != nil {
			state += ", but its health check fails as well, so the unit needs service: " + err.Error()
		} else {
			state += ", its health check passes, and the unit may be used"
		}
	}
	return 0, u.move(Returning, func(j *Journal) {
		j.State = Returned
		u.ended(j, unitkit.StateRolledBack, state)
	})
}

// stuck counts attempts to return that failed; in the end it says so.
func (u *Updater) stuck(cause error) error {
	u.log.Error("update: the old version could not be brought back yet", "err", cause)
	return u.move(Returning, func(j *Journal) {
		if j.Attempts++; j.Attempts < maxReturns {
			return
		}
		j.State = Failed
		u.ended(j, unitkit.StateFailed, "the version from before could not be brought back in "+fmt.Sprint(maxReturns)+" attempts, so the unit needs service: "+cause.Error())
	})
}

// clean removes what was needed for the update, and forgets it.
func (u *Updater) clean(ctx context.Context, j *Journal) error {
	err := u.each(j, false, func(t Task, part Part) error { return part.Clean(ctx, t) })
	err = errors.Join(err, u.discard(nil))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		err = fmt.Errorf("remove what is no longer needed: %w", err)
		if u.retries++; u.retries <= maxRetries {
			return err
		}
		u.log.Warn("update: room is wasted", "err", err) // and nothing else
	}
	u.waiting, u.retries = "", 0
	return u.move(j.State, func(j *Journal) { j.Got = nil; j.clear() })
}

// discard removes downloads that none of the targets needs.
func (u *Updater) discard(targets []unitkit.Target) error {
	keep := map[string]bool{}
	for _, t := range targets {
		keep[t.SHA256] = true
	}
	list, err := u.cfg.FS.ReadDir(u.downloads())
	if err != nil {
		return err
	}
	var all error
	removed := false
	for _, e := range list {
		if !keep[e.Name()] {
			all = errors.Join(all, removeAll(u.cfg.FS, filepath.Join(u.downloads(), e.Name())))
			removed = true
		}
	}
	if removed {
		all = errors.Join(all, u.cfg.FS.SyncDir(u.downloads()))
	}
	return all
}
