package ladder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/preference"
)

// Standing is where the remedy of a unit stands, as its campaign says.
type Standing struct {
	OwnerID  string
	Remedied bool
	Over     bool      // the campaign or the task has ended otherwise
	Declined bool      // the owner does not want it
	Chosen   bool      // the owner has chosen a time or to begin: they have seen it
	Until    time.Time // snoozed until then: they have seen it, and are left alone
	Paused   bool
}

// Remedies tell where remedies stand; fault.NotFound for what is gone.
type Remedies interface {
	Standing(ctx context.Context, taskID string) (Standing, error)
}

// Config is what a Manager works with. OnUnreachable may be nil; it is called
// in the transaction of the step.
type Config struct {
	Store         Store
	Notices       preference.Store
	Door          notify.Door
	Remedies      Remedies
	Tx            fleet.Transactor
	Clock         clock.Clock
	IDs           clock.IDs
	Log           *slog.Logger
	OnUnreachable func(ctx context.Context, c *Climb) error
}

// Manager moves climbs. A step is one transaction over climb, notice and
// message, so that a crash anywhere resumes and nobody is told twice.
type Manager struct{ c Config }

// NewManager makes a manager.
func NewManager(c Config) *Manager { return &Manager{c} }

// Begin starts a climb with what was just told: the first step. It takes part
// in the caller's transaction. A second climb with the same key is not begun.
func (m *Manager) Begin(ctx context.Context, c Climb, first notify.Decision, key string) error {
	spec, err := For(ctx, m.c.Store, c.Kind, c.Product, c.Campaign)
	if err != nil {
		return err
	}
	now := m.c.Clock.Now()
	c.ID, c.Ladder, c.State, c.StartedAt = m.c.IDs.ID(), spec, Climbing, now
	m.took(&c, Taken{Channel: spec.Steps[0].Channel, At: now, Key: key, Verdict: first.Verdict, Why: string(first.Reason)}, first, now)
	if _, err := m.c.Store.AddClimb(ctx, c); err != nil {
		return fmt.Errorf("begin to climb: %w", err)
	}
	return nil
}

// took notes a step, and when the next is due: at once where it reached nobody.
func (m *Manager) took(c *Climb, t Taken, d notify.Decision, now time.Time) {
	if len(d.Channels) > 0 {
		t.Channel = d.Channels[0]
		c.Message = preference.MessageKey(t.Key, t.Channel)
	} else {
		c.Message = ""
	}
	c.Taken = append(c.Taken, t)
	c.Step++
	wait := c.Ladder.Patience()
	if c.Step < len(c.Ladder.Steps) {
		wait = time.Duration(c.Ladder.Steps[c.Step].After)
	}
	switch d.Verdict {
	case notify.Withheld:
		c.NextAt = now
	case notify.Later:
		c.NextAt = d.At.Add(wait) // counted from when it could be seen
	default:
		c.NextAt = now.Add(wait)
	}
}

// Run moves what is due until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	return clock.Passes(ctx, 250*time.Millisecond, m.Pass, func(err error) {
		m.c.Log.ErrorContext(ctx, "ladders could not be moved", "error", err)
	})
}

// retryAfter is when a step that failed is tried again.
const retryAfter = 5 * time.Minute

// Pass moves climbs that are due one step each, and says how many moved.
func (m *Manager) Pass(ctx context.Context) (moved int, err error) {
	now := m.c.Clock.Now()
	ids, err := m.c.Store.DueClimbs(ctx, now, 200)
	if err != nil {
		return 0, fmt.Errorf("look for due climbs: %w", err)
	}
	var errs []error
	for _, id := range ids {
		err := m.c.Tx.InTx(ctx, func(ctx context.Context) error {
			_, err := m.c.Store.UpdateClimb(ctx, id, func(c *Climb) error { return m.step(ctx, c, now) })
			return err
		})
		if err == nil {
			moved++
			continue
		}
		errs = append(errs, fmt.Errorf("climb %s: %w", id, err))
		if _, err := m.c.Store.UpdateClimb(ctx, id, func(c *Climb) error { c.NextAt = now.Add(retryAfter); return nil }); err != nil {
			errs = append(errs, err)
		}
	}
	return moved, errors.Join(errs...)
}

// step moves one climb.
func (m *Manager) step(ctx context.Context, c *Climb, now time.Time) error {
	if c.NextAt.IsZero() || c.NextAt.After(now) {
		return nil
	}
	s, err := m.c.Remedies.Standing(ctx, c.TaskID)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		s = Standing{Over: true, OwnerID: c.OwnerID}
	case err != nil:
		return err
	}
	end := func(state State, why string) {
		c.State, c.Why, c.EndedAt, c.NextAt, c.Message = state, why, now, time.Time{}, ""
	}
	switch {
	case s.Remedied:
		end(Remedied, "the unit is remedied")
		return nil
	case s.Over:
		end(Ended, "the campaign is over")
		return nil
	case s.OwnerID != c.OwnerID:
		end(Ended, "the unit has another owner, who is told anew")
		return nil
	case s.Declined && c.optional():
		end(OptedOut, "the owner declined")
		return nil
	case s.Paused:
		c.NextAt = now.Add(time.Hour) // looked at again: nothing is told while the campaign is paused
		return nil
	case s.Until.After(now):
		c.NextAt, c.Why = s.Until, "the owner said not now, and is left alone until then" // the step is not burnt
		return nil
	}
	if acked, at, err := m.acked(ctx, c); err != nil {
		return err
	} else if acked || s.Chosen || s.Declined {
		if at.IsZero() {
			at = now
		}
		if c.AckedAt.IsZero() {
			c.AckedAt = at
		}
	}
	why, waits, err := m.heard(ctx, c)
	if err != nil {
		return err
	}
	if waits && c.AckedAt.IsZero() {
		c.NextAt = now.Add(time.Hour) // the message still waits to be sent: what nobody could see is not counted
		return nil
	}
	if why != "" && len(c.Taken) > 0 {
		c.Taken[len(c.Taken)-1].Why = why
	}
	return m.next(ctx, c, now, end)
}

// next takes the next step that is to be taken.
func (m *Manager) next(ctx context.Context, c *Climb, now time.Time, end func(State, string)) error {
	for ; c.Step < len(c.Ladder.Steps); c.Step++ {
		if c.AckedAt.IsZero() || c.Ladder.Steps[c.Step].Always {
			break
		}
	}
	if c.Step >= len(c.Ladder.Steps) {
		if !c.AckedAt.IsZero() {
			end(Acknowledged, "the owner has seen it")
			return nil
		}
		end(Unreachable, "nothing reached the owner: "+c.story())
		if m.c.OnUnreachable != nil {
			return m.c.OnUnreachable(ctx, c)
		}
		return nil
	}
	step := c.Ladder.Steps[c.Step]
	if due := c.last().Add(time.Duration(step.After)); !c.AckedAt.IsZero() && now.Before(due) {
		c.NextAt = due // a step that is always taken has its own time
		return nil
	}
	key := fmt.Sprintf("%s:step%d", c.Key, c.Step)
	d, err := m.c.Door.ToOwner(ctx, notify.Telling{
		Key: key, OwnerID: c.OwnerID, Kind: c.notifyKind(), Template: c.Template, Values: c.Values, Product: c.Product, Campaign: c.Campaign, UnitID: c.UnitID,
		About: "campaign/" + c.Campaign, Channels: []notify.Channel{step.Channel}, Acknowledge: true,
	})
	if err != nil {
		return err
	}
	if d.Verdict == notify.Withheld && d.Reason == notify.SwitchedOff && c.optional() {
		end(OptedOut, "the owner has switched messages of this kind off")
		return nil
	}
	c.Why = ""
	m.took(c, Taken{Channel: step.Channel, At: now, Key: key, Verdict: d.Verdict, Why: string(d.Reason)}, d, now)
	return nil
}

func (c *Climb) last() time.Time {
	if n := len(c.Taken); n > 0 {
		return c.Taken[n-1].At
	}
	return c.StartedAt
}

func (c *Climb) story() string {
	parts := make([]string, len(c.Taken))
	for i, t := range c.Taken {
		why := t.Why
		if why == "" {
			why = "no answer"
		}
		parts[i] = string(t.Channel) + " (" + why + ")"
	}
	return strings.Join(parts, ", ")
}

// optional reports whether the owner may do without being told.
func (c *Climb) optional() bool { return c.notifyKind().Optional() }

func (c *Climb) notifyKind() notify.Kind {
	if c.Kind == "recall" {
		return notify.Safety
	}
	return notify.Kind(c.Kind)
}

// acked reports whether the owner has acknowledged one of the climb's notices.
func (m *Manager) acked(ctx context.Context, c *Climb) (bool, time.Time, error) {
	if !c.AckedAt.IsZero() {
		return true, c.AckedAt, nil
	}
	for _, t := range c.Taken {
		n, err := m.c.Notices.NoticeByKey(ctx, t.Key)
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return false, time.Time{}, err
		}
		if !n.AckedAt.IsZero() {
			return true, n.AckedAt, nil
		}
		messages, err := m.c.Notices.Messages(ctx, t.Key)
		if err != nil {
			return false, time.Time{}, err
		}
		for _, x := range messages {
			if !x.AckedAt.IsZero() {
				return true, x.AckedAt, nil
			}
		}
	}
	return false, time.Time{}, nil
}

// heard says why the last step's message reached nobody ("": it may have), and
// whether it still waits to be sent.
func (m *Manager) heard(ctx context.Context, c *Climb) (why string, waits bool, err error) {
	if len(c.Taken) == 0 || c.Message == "" {
		return "", false, nil
	}
	last := c.Taken[len(c.Taken)-1]
	messages, err := m.c.Notices.Messages(ctx, last.Key)
	if err != nil || len(messages) == 0 {
		return "", false, err
	}
	for _, x := range messages {
		switch x.State {
		case notify.Bounced, notify.Failed, notify.Suppressed, notify.Expired, notify.Complained:
			why = string(x.State)
			if x.LastError != "" {
				why += ": " + x.LastError
			}
		case notify.Queued:
			// Letters and calls are worked off by people, at their own pace.
			waits = waits || x.Channel != notify.Letter && x.Channel != notify.Call
		default:
			return "", false, nil
		}
	}
	return why, waits && why == "", nil
}

// Reach is how far owners of a campaign could be reached (NHTSA's TTLUNREACH is
// Unreachable).
type Reach struct {
	Campaign     string  `json:"campaign"`
	Told         int     `json:"told" doc:"Owners for whom a ladder was begun."`
	Climbing     int     `json:"climbing"`
	Acknowledged int     `json:"acknowledged"`
	Remedied     int     `json:"remedied"`
	OptedOut     int     `json:"optedOut"`
	Unreachable  int     `json:"unreachable" doc:"TTLUNREACH of the quarterly file (49 CFR 573.7): no step of the ladder reached them."`
	Ended        int     `json:"ended"`
	Steps        []int   `json:"steps" doc:"How many took each step."`
	Counts       []Count `json:"counts"`
}

// Reach counts a campaign's climbs.
func (m *Manager) Reach(ctx context.Context, campaign string) (Reach, error) {
	r := Reach{Campaign: campaign, Steps: []int{}}
	counts, err := m.c.Store.CountClimbs(ctx, campaign)
	if err != nil {
		return r, fmt.Errorf("reach of campaign %s: %w", campaign, err)
	}
	r.Counts = append([]Count{}, counts...)
	for _, c := range counts {
		r.Told += c.N
		for len(r.Steps) < c.Step {
			r.Steps = append(r.Steps, 0)
		}
		for i := range c.Step {
			r.Steps[i] += c.N
		}
		switch c.State {
		case Climbing:
			r.Climbing += c.N
		case Acknowledged:
			r.Acknowledged += c.N
		case Remedied:
			r.Remedied += c.N
		case OptedOut:
			r.OptedOut += c.N
		case Unreachable:
			r.Unreachable += c.N
		default:
			r.Ended += c.N
		}
	}
	return r, nil
}
