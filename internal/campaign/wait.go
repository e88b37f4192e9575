package campaign

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

// The codes of what campaigns wait for; those of the unit and the release are
// the update room's.
const (
	CodeNoOwner    update.Code = "no owner"
	CodeBusy       update.Code = "other campaign" // it works on the unit
	CodeSuperseded update.Code = "superseded"
	CodeWave       update.Code = "wave" // its wave is not open
	CodeNotBegun   update.Code = "not begun"
	CodePaused     update.Code = "paused"
	CodeEnded      update.Code = "ended"
	CodeHours      update.Code = "outside hours"
	CodeConcurrent update.Code = "too many at once"
	CodeRate       update.Code = "too many an hour"
	CodeRetry      update.Code = "retry"
	CodeCountdown  update.Code = "countdown"
)

// unitZone is the attribute of a unit that tells its time zone.
const unitZone = "timeZone"

// zone is where a campaign's working hours of a task are of.
func (m *Manager) zone(ctx context.Context, c *Campaign, t *Task) (*time.Location, error) {
	switch c.Zone {
	case "", "owner":
	case "unit":
		u, err := m.cfg.Fleet.Unit(ctx, t.UnitID)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return nil, err
		}
		if name := u.Attributes[unitZone]; name != "" {
			if loc, err := time.LoadLocation(name); err == nil {
				return loc, nil
			}
		}
	default:
		return time.LoadLocation(c.Zone)
	}
	o, err := m.owner(ctx, t.OwnerID)
	return o.loc, err
}

// closed says that a campaign's working hours are over where a task is, and
// when they begin again.
func (m *Manager) closed(ctx context.Context, c *Campaign, t *Task, now time.Time) (*update.Refusal, error) {
	if len(c.Hours) == 0 {
		return nil, nil
	}
	loc, err := m.zone(ctx, c, t)
	if err != nil || window.Open(c.Hours, now, loc) {
		return nil, err
	}
	return &update.Refusal{
		Code: CodeHours, Until: window.Next(c.Hours, now, loc), Have: now.In(loc).Format("Mon 15:04"), Need: window.Words(c.Hours),
		Why: "outside the working hours, " + window.Words(c.Hours) + " in " + loc.String(),
	}, nil
}

// mustWait says whether a unit may not begin yet, and leaves the task waiting:
// for the campaign, its working hours, or a place among those that begin.
func (m *Manager) mustWait(ctx context.Context, e *env, t *Task, now time.Time) (bool, error) {
	c := &e.run.Campaign
	if e.run.State == Paused {
		t.wait(paused(&e.run), now) // it goes on when the campaign does
		return true, nil
	}
	no, err := m.closed(ctx, c, t, now)
	if err != nil {
		return false, err
	}
	if no != nil {
		t.wait(no, no.Until)
		return true, nil
	}
	if c.MaxConcurrent > 0 {
		if e.underWay < 0 {
			if e.underWay, err = m.cfg.Store.UnderWay(ctx, e.run.ID); err != nil {
				return false, err
			}
		}
		if e.underWay >= c.MaxConcurrent {
			t.inTurn(c, CodeConcurrent, c.MaxConcurrent)
			return true, nil
		}
	}
	if c.MaxPerHour > 0 && window.WithinHour(e.run.Starts, now) >= c.MaxPerHour {
		t.inTurn(c, CodeRate, c.MaxPerHour)
		return true, nil
	}
	return false, nil
}

// inTurn leaves a task waiting for its turn. A million may, and are not written
// anew when the one limit gives way to the other: the words name both, and
// nothing that changes.
func (t *Task) inTurn(c *Campaign, code update.Code, most int) {
	why := "it is taken in turn"
	if c.MaxConcurrent > 0 {
		why += fmt.Sprintf("; at most %d have it at hand at once", c.MaxConcurrent)
	}
	if c.MaxPerHour > 0 {
		why += fmt.Sprintf("; at most %d are given it an hour", c.MaxPerHour)
	}
	t.wait(&update.Refusal{Code: code, Need: fmt.Sprint(most), Why: why}, time.Time{})
	t.Queue = QueueStart
}

// start counts a unit that is given the update.
func (e *env) start(now time.Time) {
	if e.underWay >= 0 {
		e.underWay++
	}
	if e.run.Campaign.MaxPerHour == 0 {
		return
	}
	e.started, e.run.Starts = true, window.Began(e.run.Starts, now)
}

// free is how many more units may begin now.
func (m *Manager) free(ctx context.Context, r *Run, now time.Time) (int, error) {
	free := math.MaxInt
	if most := r.Campaign.MaxPerHour; most > 0 {
		free = most - window.WithinHour(r.Starts, now)
	}
	if most := r.Campaign.MaxConcurrent; most > 0 && free > 0 {
		n, err := m.cfg.Store.UnderWay(ctx, r.ID)
		if err != nil {
			return 0, err
		}
		free = min(free, most-n)
	}
	return free, nil
}

func paused(r *Run) *update.Refusal {
	return &update.Refusal{Code: CodePaused, Name: r.Campaign.Name, Why: "the campaign is paused; the update starts when it goes on"}
}

// Refusal says why nothing happens with a task now; nil if something may. What
// is true of all tasks of a campaign is said here, not written on each.
func (r *Run) Refusal(t *Task) *update.Refusal {
	open := t.State == Planned || t.State == Accepted || t.State == Offered || t.State == Scheduled || t.State == Snoozed || t.State == Retrying
	switch {
	case !open:
		return t.Refusal
	case r.State == Planning:
		return &update.Refusal{Code: CodeNotBegun, Until: r.Campaign.Start, Why: "the campaign has not begun: " + r.Why}
	case r.State == Paused:
		return paused(r)
	case !r.Open():
		return &update.Refusal{Code: CodeEnded, Why: "the campaign is " + string(r.State)}
	case t.State == Planned && t.Wave > r.WaveOpen:
		return &update.Refusal{Code: CodeWave, Name: r.Campaign.Waves[t.Wave].Name, Why: "waits for wave " + r.Campaign.Waves[t.Wave].Name}
	}
	return t.Refusal
}

// Refusals count what holds a campaign's tasks, by code and state; counts are
// its tasks by wave and state.
func (m *Manager) Refusals(ctx context.Context, r *Run, counts []Count) ([]CodeCount, error) {
	list, err := m.cfg.Store.CountCodes(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	// What is true of all tasks of a state stands on none of them.
	all := map[CodeCount]int{}
	for _, c := range counts {
		t := Task{State: c.State, Wave: c.Wave}
		if no := r.Refusal(&t); no != nil {
			all[CodeCount{Code: no.Code, State: c.State}] += c.N
		}
	}
	for k, n := range all {
		if k.Code != CodeWave { // it holds those too that have a reason of their own
			list = slices.DeleteFunc(list, func(c CodeCount) bool { return c.State == k.State })
		}
		k.N = n
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b CodeCount) int {
		if c := strings.Compare(string(a.Code), string(b.Code)); c != 0 {
			return c
		}
		return strings.Compare(string(a.State), string(b.State))
	})
	return slices.Clip(append([]CodeCount{}, list...)), nil
}

// Guard says why an assignment that its unit has not begun may not be shown to
// it at this moment: the update room asks whenever the unit does. An
// assignment that is no campaign's may.
func (m *Manager) Guard(ctx context.Context, a *update.Assignment) (*update.Refusal, error) {
	id, _, _ := strings.Cut(a.Ref, "/")
	t, err := m.cfg.Store.Task(ctx, id)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := m.cfg.Store.CampaignByID(ctx, t.CampaignID)
	if err != nil {
		return nil, err
	}
	switch {
	case r.State == Paused:
		return paused(&r), nil
	case !r.Open():
		return &update.Refusal{Code: CodeEnded, Why: "the campaign is " + string(r.State)}, nil
	}
	return m.closed(ctx, &r.Campaign, &t, m.cfg.Clock.Now())
}
