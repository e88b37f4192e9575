package ladder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	Carries       func(ch notify.Channel) bool // whether anything carries a channel's messages; nil: all are
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
	wait := c.wait()
	switch d.Verdict {
	case notify.Withheld:
		c.NextAt = now
	case notify.Later:
		c.NextAt = d.At.Add(wait) // counted from when it could be seen
	default:
		c.NextAt = now.Add(wait)
	}
}

// wait is how long the step before the next is given.
func (c *Climb) wait() time.Duration {
	if c.Step < len(c.Ladder.Steps) {
		return time.Duration(c.Ladder.Steps[c.Step].After)
	}
	return c.Ladder.Patience()
}

// soon is when what others have yet to do is looked at again.
func (c *Climb) soon() time.Duration { return min(max(c.wait(), 10*time.Second), time.Hour) }

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
	end := func(state State, why string) error {
		c.State, c.Why, c.EndedAt, c.NextAt, c.Message = state, why, now, time.Time{}, ""
		if state == Unreachable {
			return nil // what waits may still reach them
		}
		keys := make([]string, len(c.Taken))
		for i, t := range c.Taken {
			keys[i] = t.Key
		}
		return m.c.Store.StopWaiting(ctx, keys, why, now)
	}
	switch {
	case s.Remedied:
		return end(Remedied, "the unit is remedied")
	case s.Over:
		return end(Ended, "the campaign is over")
	case s.OwnerID != c.OwnerID:
		return end(Ended, "the unit has another owner, who is told anew")
	case s.Declined && c.optional():
		return end(OptedOut, "the owner declined")
	case s.Paused:
		c.NextAt = now.Add(time.Hour) // looked at again: nothing is told while the campaign is paused
		return nil
	case s.Until.After(now):
		c.NextAt, c.Why = s.Until, "the owner said not now, and is left alone until then" // the step is not burnt
		return nil
	}
	if c.AckedAt.IsZero() {
		if c.AckedAt, err = m.c.Notices.Acked(ctx, c.OwnerID, c.UnitID, "campaign/"+c.Campaign, c.StartedAt); err != nil {
			return err
		}
		if c.AckedAt.IsZero() && (s.Chosen || s.Declined) {
			c.AckedAt = now
		}
	}
	last, err := m.heard(ctx, c)
	if err != nil {
		return err
	}
	if last.uncarried { // its gateway was taken away, or never was: sent late, it would come after what follows
		if err := m.c.Store.StopWaiting(ctx, []string{c.Taken[len(c.Taken)-1].Key}, last.why, now); err != nil {
			return err
		}
	}
	if last.unsent && c.AckedAt.IsZero() {
		c.NextAt = now.Add(c.soon()) // the message still waits to be sent: what nobody could see is not counted
		return nil
	}
	if last.why != "" && len(c.Taken) > 0 {
		c.Taken[len(c.Taken)-1].Why = last.why
	}
	return m.next(ctx, c, now, last, end)
}

// next takes the next step that is to be taken.
func (m *Manager) next(ctx context.Context, c *Climb, now time.Time, last heard, end func(State, string) error) error {
	for ; c.Step < len(c.Ladder.Steps); c.Step++ {
		if c.AckedAt.IsZero() || c.Ladder.Steps[c.Step].Always {
			break
		}
	}
	if c.Step >= len(c.Ladder.Steps) {
		if !c.AckedAt.IsZero() {
			return end(Acknowledged, "the owner has seen it")
		}
		if last.unworked {
			c.NextAt = now.Add(c.soon()) // a letter that nobody has posted, a call that nobody has made
			return nil
		}
		if until := last.sentAt.Add(c.Ladder.Patience()); last.why == "" && until.After(now) {
			c.NextAt = until // people took their time to post it
			return nil
		}
		if err := end(Unreachable, "nothing reached the owner: "+c.Story()); err != nil {
			return err
		}
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
		return end(OptedOut, "the owner has switched messages of this kind off")
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

// Story is the steps that were taken, and what came of each.
func (c *Climb) Story() string {
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

// heard is what became of the last step's messages.
type heard struct {
	why       string    // they reached nobody ("": one of them may have)
	uncarried bool      // one waits for a way to be sent, and there is none
	unsent    bool      // one still waits to be sent
	unworked  bool      // one waits for people, who post letters and call
	sentAt    time.Time // of the first that may have reached somebody; zero: none, or unknown
}

func (m *Manager) heard(ctx context.Context, c *Climb) (out heard, err error) {
	if len(c.Taken) == 0 || c.Message == "" {
		return out, nil
	}
	messages, err := m.c.Notices.Messages(ctx, c.Taken[len(c.Taken)-1].Key)
	if err != nil {
		return out, err
	}
	for _, x := range messages {
		if x.State == notify.Queued && m.c.Carries != nil && !m.c.Carries(x.Channel) {
			out.uncarried, out.why = true, "no gateway carries it"
			continue
		}
		switch x.State {
		case notify.Bounced, notify.Failed, notify.Suppressed, notify.Expired, notify.Complained:
			out.why = string(x.State)
			if x.LastError != "" {
				out.why += ": " + x.LastError
			}
		case notify.Queued:
			// Letters and calls are worked off by people, at their own pace: the next
			// step does not wait for them.
			byPeople := x.Channel == notify.Letter || x.Channel == notify.Call
			out.unsent, out.unworked = out.unsent || !byPeople, out.unworked || byPeople
		default:
			return heard{sentAt: x.SentAt}, nil
		}
	}
	out.unsent, out.unworked = out.unsent && out.why == "", out.unworked && out.why == ""
	return out, nil
}

// Needed reports whether what a notice's message asks of people, a call or a
// letter, is still to be done: the unit is not remedied, and the owner has not
// acknowledged, or the step is taken always.
func (m *Manager) Needed(ctx context.Context, x *notify.Message) (bool, error) {
	campaign, ok := strings.CutPrefix(x.About, "campaign/")
	if !ok || x.OwnerID == "" {
		return true, nil
	}
	climbs, err := m.c.Store.Climbs(ctx, Filter{Campaign: campaign, UnitID: x.UnitID, OwnerID: x.OwnerID})
	if err != nil {
		return false, err
	}
	for i := range climbs {
		c := &climbs[i]
		step := slices.IndexFunc(c.Taken, func(t Taken) bool { return preference.MessageKey(t.Key, x.Channel) == x.Key })
		if step < 0 {
			continue
		}
		s, err := m.c.Remedies.Standing(ctx, c.TaskID)
		switch {
		case fault.KindOf(err) == fault.NotFound:
			return false, nil
		case err != nil:
			return false, err
		case s.Remedied || s.Over || s.OwnerID != c.OwnerID || s.Declined && c.optional():
			return false, nil
		case step < len(c.Ladder.Steps) && c.Ladder.Steps[step].Always:
			return true, nil
		case s.Chosen || s.Declined || !c.AckedAt.IsZero():
			return false, nil
		}
		at, err := m.c.Notices.Acked(ctx, c.OwnerID, c.UnitID, x.About, c.StartedAt)
		return at.IsZero(), err
	}
	return true, nil
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

// Line is a line of a report.
type Line struct {
	Label string
	N     int
}

// Words is a reach line by line: who was told, what came of it, and of those who
// could not be reached how far the ladder came.
func (r *Reach) Words() []Line {
	out := []Line{
		{"Owners told", r.Told},
		{"Still on the ladder", r.Climbing},
		{"Owners who acknowledged", r.Acknowledged},
		{"Remedied while being told", r.Remedied},
		{"Opted out", r.OptedOut},
		{"Owners unreachable", r.Unreachable},
		{"Ended otherwise", r.Ended},
	}
	for i, n := range r.Steps {
		out = append(out, Line{fmt.Sprintf("Took step %d", i+1), n})
	}
	for _, c := range r.Counts {
		if c.State == Unreachable {
			out = append(out, Line{fmt.Sprintf("Unreachable after step %d", c.Step), c.N})
		}
	}
	return out
}
