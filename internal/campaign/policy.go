package campaign

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// Preferences are what an owner has set; nothing yet is the defaults.
func (m *Manager) Preferences(ctx context.Context, ownerID string) (Preferences, error) {
	p, err := m.cfg.Store.Preferences(ctx, ownerID)
	if fault.KindOf(err) == fault.NotFound {
		return Preferences{}, nil
	}
	return p, err
}

// SetPreferences keeps what an owner sets.
func (m *Manager) SetPreferences(ctx context.Context, ownerID string, p Preferences) error {
	if err := p.Validate(); err != nil {
		return err
	}
	return m.cfg.Store.PutPreferences(ctx, ownerID, p)
}

// person is an owner with what they have set.
type person struct {
	Preferences
	loc *time.Location
}

// owner reads what an owner has set; an owner who is gone, or never was, has
// the defaults.
func (m *Manager) owner(ctx context.Context, id string) (person, error) {
	x := person{loc: time.UTC}
	if id == "" {
		return x, nil
	}
	o, err := m.cfg.Fleet.Owner(ctx, id)
	if fault.KindOf(err) == fault.NotFound {
		return x, nil
	}
	if err != nil {
		return x, err
	}
	if x.Preferences, err = m.Preferences(ctx, id); err != nil {
		return x, err
	}
	if x.TimeZone != "" {
		o.TimeZone = x.TimeZone
	}
	x.loc = o.Location()
	return x, nil
}

// nextNudge is when to come back to an owner who has not chosen: the next
// reminder, or the deadline if it is sooner.
func (e *env) nextNudge(t *Task, now time.Time) time.Time {
	next := now.Add(e.run.Campaign.RemindEvery())
	if now.Before(t.Deadline) && t.Deadline.Before(next) {
		return t.Deadline
	}
	return next
}

func (t *Task) noticeKey(key string) string {
	if t.Round > 0 {
		key = fmt.Sprintf("again%d:%s", t.Round, key)
	}
	if t.Handed > 0 {
		key = fmt.Sprintf("%d:%s", t.Handed, key)
	}
	return t.ID + ":" + key
}

// count counts the reminder told last, if it could be seen. It is looked at
// when the next is due, since a message may take days to be delivered.
func (m *Manager) count(ctx context.Context, t *Task) error {
	if t.Told == "" {
		return nil
	}
	seen, err := m.cfg.Notices.Delivered(ctx, t.Told)
	if err != nil {
		return err
	}
	if seen {
		t.Reminded++
	}
	t.Told = ""
	return nil
}

// nudge reminds an owner who has not reacted, or does what the kind of the
// campaign says at the deadline.
func (m *Manager) nudge(ctx context.Context, e *env, t *Task, now time.Time) error {
	p, c := e.run.Campaign.Kind.Policy(), &e.run.Campaign
	late := !now.Before(t.Deadline)
	if err := m.count(ctx, t); err != nil {
		return err
	}
	if late && p.Expires {
		t.State, t.EndedAt, t.NextAt, t.At, t.Why = Expired, now, time.Time{}, time.Time{}, "the deadline passed without a choice"
		if c.Reoffer > 0 {
			t.NextAt = now.Add(time.Duration(c.Reoffer))
		}
		return nil
	}
	owner, err := m.owner(ctx, t.OwnerID)
	if err != nil {
		return err
	}
	if at := owner.Awake(now, owner.loc); at.After(now) { // not at night
		if t.NextAt = at; !late && at.After(t.Deadline) {
			t.NextAt = t.Deadline
		}
		return nil
	}
	switch {
	case late && p.Starts && !owner.Manual:
		return m.announce(ctx, e, t, owner, now)
	case t.Nudges == 0: // the offer itself waited for the morning
		t.NextAt, t.Nudges = e.nextNudge(t, now), 1
		return m.tell(ctx, e, t, NoticeOffer, string(NoticeOffer))
	case t.Reminded >= c.MostReminders() && (!late || !p.Insists):
		t.State, t.At, t.NextAt = Offered, time.Time{}, time.Time{}
		if !late {
			t.NextAt = t.Deadline
		}
		return nil
	}
	key := fmt.Sprintf("remind:%d", t.Nudges)
	t.Nudges++
	t.State, t.At, t.Told = Offered, time.Time{}, t.noticeKey(key)
	t.NextAt = e.nextNudge(t, now)
	kind := NoticeReminder
	if late {
		if p.Insists {
			kind = NoticeEscalation
		}
		t.Why = fmt.Sprintf("the deadline has passed; reminded %d times", t.Reminded)
	}
	return m.tell(ctx, e, t, kind, key)
}

// announce sets the time at which a security update starts by itself: in the
// owner's hours, and never without a warning before.
func (m *Manager) announce(ctx context.Context, e *env, t *Task, owner person, now time.Time) error {
	at := window.Next(owner.Hours, now.Add(e.run.Campaign.Warning()), owner.loc)
	if at.IsZero() {
		at = now.Add(e.run.Campaign.Warning())
	}
	t.State, t.At = Scheduled, at
	t.wait(&update.Refusal{
		Code: CodeCountdown, Until: at, Why: "the deadline has come: this security update starts by itself, unless it is declined, at " + at.Format(time.RFC3339),
	}, at)
	return m.tell(ctx, e, t, NoticeCountdown, string(NoticeCountdown))
}

// offerAgain offers anew what expired.
func (m *Manager) offerAgain(ctx context.Context, e *env, t *Task, now time.Time) error {
	if e.run.Campaign.Reoffer <= 0 || !e.run.Campaign.Kind.Policy().Expires {
		t.NextAt = time.Time{}
		return nil
	}
	t.State, t.EndedAt, t.Reminded, t.Nudges, t.Told = Planned, time.Time{}, 0, 0, ""
	t.Round++
	return m.offer(ctx, e, t, now)
}

// failed ends an attempt: another follows, later each time, or the task ends.
func (m *Manager) failed(ctx context.Context, e *env, t *Task, now time.Time, why string) error {
	retry := &e.run.Campaign.Retry
	if t.Attempt <= retry.Limit && e.run.Open() && e.release.Withdrawn == nil {
		at := now.Add(retry.Wait(t.Attempt))
		t.State, t.AssignmentID, t.Done, t.Of, t.StartedAt, t.ClaimedAt = Retrying, 0, 0, 0, time.Time{}, time.Time{}
		t.wait(&update.Refusal{
			Code: CodeRetry, Have: fmt.Sprint(t.Attempt), Need: fmt.Sprint(retry.Limit + 1), Until: at,
			Why: fmt.Sprintf("attempt %d failed (%s); the next of %d follows", t.Attempt, why, retry.Limit+1),
		}, at)
		return nil
	}
	t.State, t.EndedAt, t.NextAt, t.Why, t.Refusal = FailedTask, now, time.Time{}, why, nil
	m.failures.add(t.CampaignID)
	return m.tell(ctx, e, t, NoticeFailed, string(NoticeFailed))
}

// timeOut ends an installation that has begun and shows no progress: what the
// unit says of it later is refused.
func (m *Manager) timeOut(ctx context.Context, e *env, t *Task, now time.Time) error {
	a, err := m.cfg.Updates.Assignment(ctx, t.AssignmentID)
	if err != nil {
		return err
	}
	limit := e.run.Campaign.PatienceWith()
	switch {
	case a.Updated.After(t.SeenAt):
		return m.apply(ctx, e, t, a)
	case a.Hold.Wanted(), now.Before(a.Updated.Add(limit)):
		t.NextAt = now.Add(limit)
		return nil
	}
	why := "no progress for " + fleet.Duration(limit).String()
	a, err = m.cfg.Updates.TimeOut(ctx, a.ID, why)
	if err != nil && !errors.Is(err, errSame) {
		return err
	}
	return m.apply(ctx, e, t, a)
}
