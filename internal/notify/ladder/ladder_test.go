package ladder_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/calls"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/letter"
	"fettle.dev/fettle/internal/notify/notifytest"
	"fettle.dev/fettle/internal/notify/preference"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

// remedies is a campaign that does as it is told.
type remedies map[string]ladder.Standing

func (r remedies) Standing(_ context.Context, task string) (ladder.Standing, error) {
	s, ok := r[task]
	if !ok {
		return s, fault.New(fault.NotFound, "no task %q", task)
	}
	return s, nil
}

type world struct {
	*notifytest.World
	m        *ladder.Manager
	remedies remedies
	gone     []string
	fail     error
}

func newWorld(t *testing.T, db *sqldb.DB) *world {
	w := &world{World: notifytest.New(t, db), remedies: remedies{}}
	w.m = ladder.NewManager(ladder.Config{
		Store: w.Words, Notices: w.Words, Door: door{w}, Remedies: w.remedies, Tx: db, Clock: w.Clock, IDs: w.IDs, Log: slog.New(slog.DiscardHandler),
		Carries:       w.People.Carries,
		OnUnreachable: func(_ context.Context, c *ladder.Climb) error { w.gone = append(w.gone, c.OwnerID); return nil },
	})
	return w
}

// door fails when it is told to, after it has kept everything: as a crash does.
type door struct{ w *world }

func (d door) ToOwner(ctx context.Context, t notify.Telling) (notify.Decision, error) {
	out, err := d.w.People.ToOwner(ctx, t)
	return out, errors.Join(err, d.w.fail)
}

const day = 24 * time.Hour

// begin tells an owner the first time, and puts them on the ladder.
func (w *world) begin(o fleet.Owner, kind string) string {
	w.T.Helper()
	task := "task-" + o.ID
	w.remedies[task] = ladder.Standing{OwnerID: o.ID}
	first := notifytest.Recall("first:"+o.ID, o)
	if kind == "service" {
		first.Kind = notify.Service
	}
	d := w.Tell(first)
	for range 2 { // a crash between may do it twice
		require.NoError(w.T, w.m.Begin(w.T.Context(), ladder.Climb{
			Key: "climb:" + o.ID, Campaign: "plug", TaskID: task, UnitID: "WC-1", OwnerID: o.ID, Kind: kind, Product: "wall-charger", Template: first.Template, Values: first.Values,
		}, d, first.Key))
	}
	return task
}

func (w *world) pass(want int) {
	w.T.Helper()
	n, err := w.m.Pass(w.T.Context())
	require.NoError(w.T, err)
	require.Equal(w.T, want, n)
}

func (w *world) climb(o fleet.Owner) ladder.Climb {
	w.T.Helper()
	list, err := w.Words.Climbs(w.T.Context(), ladder.Filter{OwnerID: o.ID})
	require.NoError(w.T, err)
	require.Len(w.T, list, 1)
	return list[0]
}

func channelsOf(list []notify.Message) (out []notify.Channel) {
	for _, m := range list {
		out = append(out, m.Channel)
	}
	return out
}

// A text that nothing carries is no step to wait at: the call follows at once.
func TestAStepWithoutAGatewayIsPassed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t))
	w.Mute = map[notify.Channel]bool{notify.SMS: true}
	o := w.Owner("kim@example.org")
	w.begin(o, "safety")
	w.Send(notify.Mail, notify.Sent)
	w.Clock.Advance(3 * day)
	w.pass(1)
	w.pass(1)
	w.pass(0)
	require.Equal(t, []notify.Channel{notify.Mail, notify.Call}, channelsOf(w.Of(o)))
	require.Equal(t, string(notify.NoAddress), w.climb(o).Taken[1].Why)
}

// A text that was queued while there was a gateway, or by a version that did not
// ask, waits no longer than to the next look once nothing carries it: the call
// follows, and the text is not sent after it.
func TestATextWhoseGatewayIsGoneIsPassed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t))
	o := w.Owner("kim@example.org")
	w.begin(o, "safety")
	w.Send(notify.Mail, notify.Sent)
	w.Clock.Advance(3 * day)
	w.pass(1) // the text is queued
	w.Mute = map[notify.Channel]bool{notify.SMS: true}
	w.Clock.Advance(4 * day)
	w.pass(1)
	require.Equal(t, []notify.Channel{notify.Mail, notify.SMS, notify.Call}, channelsOf(w.Of(o)))
	require.Equal(t, "no gateway carries it", w.climb(o).Taken[1].Why)
	text := w.Of(o)[1]
	require.Equal(t, notify.Suppressed, text.State)
	require.Equal(t, "not sent: no gateway carries it", text.LastError)
}

// From mail to text to a call to a letter, and then the owner is unreachable.
func TestLadderIsClimbedStepByStep(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		o := w.Owner("kim@example.org")
		w.begin(o, "recall")
		require.Equal(t, []notify.Channel{notify.Mail}, channelsOf(w.Of(o)))
		w.pass(0)
		w.Clock.Advance(3 * day)
		w.pass(1)
		require.Len(t, w.Of(o), 1, "what still waits to be sent is not counted as seen")
		w.Send(notify.Mail, notify.Sent)
		w.Clock.Advance(time.Hour)

		// A crash after everything was kept, but before the end of the step: again, and once.
		w.fail = errors.New("crash")
		_, err := w.m.Pass(t.Context())
		require.ErrorContains(t, err, "crash")
		require.Len(t, w.Of(o), 1, "nothing stands")
		w.fail = nil
		w.Clock.Advance(5 * time.Minute)
		w.pass(1)
		w.pass(0)
		require.Equal(t, []notify.Channel{notify.Mail, notify.SMS}, channelsOf(w.Of(o)))
		require.Equal(t, 1, w.Send(notify.SMS, notify.Delivered))
		w.Clock.Advance(4 * day)
		w.pass(1)
		require.Equal(t, []notify.Channel{notify.Mail, notify.SMS, notify.Call}, channelsOf(w.Of(o)))

		// The agent gets no answer, four times: the letter follows at once.
		for range 4 {
			c, err := w.Calls.Next(t.Context(), "ann")
			for fault.KindOf(err) == fault.NotFound {
				w.Clock.Advance(time.Hour)
				c, err = w.Calls.Next(t.Context(), "ann")
			}
			require.NoError(t, err)
			_, err = w.Calls.Record(t.Context(), c.ID, "ann", calls.Ended{Outcome: calls.NoAnswer})
			require.NoError(t, err)
		}
		w.pass(1)
		require.Equal(t, notify.Letter, w.Of(o)[3].Channel)
		require.Equal(t, "bounced: not reached in 4 calls", w.climb(o).Taken[2].Why)
		b, err := w.Letters.Make(t.Context(), letter.Order{Format: letter.DIN, Sender: []string{"Nordlys AS", "Gate 1", "0150 Oslo"}})
		require.NoError(t, err)
		_, err = w.Letters.MarkSent(t.Context(), b.ID, w.Clock.Now())
		require.NoError(t, err)
		w.pass(0)
		require.Equal(t, ladder.Climbing, w.climb(o).State)
		_, err = w.Letters.MarkReturned(t.Context(), w.Of(o)[3].ID, "moved away")
		require.NoError(t, err)
		w.pass(1)
		c := w.climb(o)
		require.Equal(t, ladder.Unreachable, c.State)
		require.Contains(t, c.Why, "mail (no answer), sms (no answer), call (bounced: not reached in 4 calls), letter (bounced: moved away)")
		require.Equal(t, []string{o.ID}, w.gone)
		w.Clock.Advance(100 * day)
		w.pass(0)
		r, err := w.m.Reach(t.Context(), "plug")
		require.NoError(t, err)
		require.Equal(t, []any{1, 1, []int{1, 1, 1, 1}}, []any{r.Told, r.Unreachable, r.Steps})
	})
}

func TestLadderStops(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		ctx := t.Context()

		// At an acknowledgement, at once.
		o := w.Owner("acks@example.org")
		w.begin(o, "recall")
		w.Send(notify.Mail, notify.Sent)
		list, err := w.People.Notices(ctx, preference.Filter{OwnerID: o.ID})
		require.NoError(t, err)
		_, err = w.People.Acknowledge(ctx, o.ID, list[0].ID, notify.ViaPortal)
		require.NoError(t, err)
		w.pass(1)
		require.Equal(t, ladder.Acknowledged, w.climb(o).State)

		// At the remedy.
		o = w.Owner("remedied@example.org")
		task := w.begin(o, "recall")
		w.Send(notify.Mail, notify.Sent)
		w.remedies[task] = ladder.Standing{OwnerID: o.ID, Remedied: true}
		w.Clock.Advance(3 * day)
		w.pass(1)
		require.Equal(t, ladder.Remedied, w.climb(o).State)
		require.Len(t, w.Of(o), 1, "follow-ups go to units alone that are not remedied yet")

		// A snooze is no step; the campaign's pause is none either.
		o = w.Owner("snoozes@example.org")
		task = w.begin(o, "recall")
		w.Send(notify.Mail, notify.Sent)
		until := w.Clock.Now().Add(10 * day)
		w.remedies[task] = ladder.Standing{OwnerID: o.ID, Until: until}
		w.Clock.Advance(3 * day)
		w.pass(1)
		require.Equal(t, until, w.climb(o).NextAt)
		require.Equal(t, 1, w.climb(o).Step)
		w.remedies[task] = ladder.Standing{OwnerID: o.ID, Paused: true}
		w.Clock.Set(until)
		w.pass(1)
		require.Len(t, w.Of(o), 1)
		w.remedies[task] = ladder.Standing{OwnerID: o.ID}
		w.Clock.Advance(time.Hour)
		w.pass(1)
		require.Len(t, w.Of(o), 2)
		w.remedies[task] = ladder.Standing{OwnerID: "another"}
		w.Send(notify.SMS, notify.Sent)
		w.Clock.Advance(4 * day)
		w.pass(1)
		require.Equal(t, ladder.Ended, w.climb(o).State)

		// Who declines a service is left alone; who declines a recall has seen it.
		for kind, want := range map[string]ladder.State{"service": ladder.OptedOut, "recall": ladder.Acknowledged} {
			o = w.Owner(kind + "@example.org")
			task = w.begin(o, kind)
			w.Send(notify.Mail, notify.Sent)
			w.remedies[task] = ladder.Standing{OwnerID: o.ID, Declined: true}
			w.Clock.Advance(30 * day)
			w.pass(1)
			require.Equal(t, want, w.climb(o).State)
		}
		delete(w.remedies, task)
	})
}

// A bounce, or the want of an address, takes the next step at once; a step that
// is always taken goes out also after an acknowledgement, as letters under 49
// CFR 577 do, and not to a unit that is remedied.
func TestBouncesAndStepsThatAreAlwaysTaken(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		ctx := t.Context()
		d := fleet.Duration(day)
		spec := ladder.Spec{Name: "us", Kinds: []string{"recall"}, Product: "wall-charger", Steps: []ladder.Step{
			{Channel: notify.Mail}, {Channel: notify.Push, After: d}, {Channel: notify.SMS, After: 2 * d}, {Channel: notify.Letter, After: 5 * d, Always: true},
		}, GiveUp: 3 * d}
		require.NoError(t, ladder.Put(ctx, w.Words, spec))

		o := w.Owner("bounces@example.org")
		w.begin(o, "recall")
		w.Send(notify.Mail, notify.Bounced)
		w.pass(1) // push: no browser
		w.pass(1) // at once the next
		require.Equal(t, []notify.Channel{notify.Mail, notify.SMS}, channelsOf(w.Of(o)))
		c := w.climb(o)
		require.Equal(t, "bounced: 550 no such user", c.Taken[0].Why)
		require.Equal(t, string(notify.NoAddress), c.Taken[1].Why)
		w.Send(notify.SMS, notify.Sent)
		_, err := w.Messages.Heard(ctx, notify.Delivery{MessageID: w.Of(o)[1].ID, At: w.Clock.Now(), Result: notify.Acknowledged}, func(m *notify.Message) error {
			m.AckedAt, m.AckedVia = w.Clock.Now(), notify.ViaReply
			return nil
		})
		require.NoError(t, err)
		w.pass(1)
		require.Equal(t, ladder.Climbing, w.climb(o).State, "the letter is sent all the same")
		w.Clock.Advance(5 * day)
		w.pass(1)
		require.Equal(t, notify.Letter, w.Of(o)[2].Channel)
		w.Clock.Advance(3 * day)
		w.pass(1)
		require.Equal(t, ladder.Acknowledged, w.climb(o).State)

		require.NoError(t, w.Words.DeleteLadder(ctx, "us"))
		require.Equal(t, fault.NotFound, fault.KindOf(w.Words.DeleteLadder(ctx, "us")))
	})
}

// An acknowledgement of an earlier message ends the climb at once: nobody is
// called, and no letter is posted, who has said that they know; nor where the
// unit is remedied meanwhile. What people have not worked off is not given up.
func TestAcknowledgedAnywhere(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db)
		ctx := t.Context()
		w.Calls = calls.NewService(calls.Config{Store: w.Words, Messages: w.Messages, People: w.People, Fleet: db.Fleet(), Tx: db, Clock: w.Clock, Needed: w.m.Needed})
		w.Letters = letter.NewService(letter.Config{Store: w.Words, Messages: w.Messages, People: w.People, Fleet: db.Fleet(), Tx: db, Clock: w.Clock, IDs: w.IDs, Needed: w.m.Needed})
		order := letter.Order{Format: letter.DIN, Sender: []string{"Nordlys AS", "Gate 1"}}
		up := func(o fleet.Owner) { // to the letter, with the call still on the list
			w.begin(o, "recall")
			for _, ch := range []notify.Channel{notify.Mail, notify.SMS} {
				w.Send(ch, notify.Sent)
				w.Clock.Advance(7 * day)
				w.pass(1)
			}
			w.Clock.Advance(7 * day)
			w.pass(1)
			require.Equal(t, []notify.Channel{notify.Mail, notify.SMS, notify.Call, notify.Letter}, channelsOf(w.Of(o)))
		}
		o := w.Owner("acks@example.org")
		up(o)
		w.Clock.Advance(60 * day)
		w.pass(1)
		require.Equal(t, ladder.Climbing, w.climb(o).State, "nobody has posted the letter")
		_, err := w.Messages.Heard(ctx, notify.Delivery{MessageID: w.Of(o)[0].ID, At: w.Clock.Now(), Result: notify.Acknowledged}, func(m *notify.Message) error {
			m.AckedAt, m.AckedVia = w.Clock.Now(), notify.ViaLink
			return nil
		})
		require.NoError(t, err)
		_, err = w.Calls.Take(ctx, w.Of(o)[2].ID, "ann")
		require.Equal(t, fault.Conflict, fault.KindOf(err), "before the ladder has looked")
		w.pass(1)
		require.Equal(t, ladder.Acknowledged, w.climb(o).State)
		list, err := w.Words.Calls(ctx, calls.Filter{State: calls.Open})
		require.NoError(t, err)
		require.Empty(t, list)
		_, err = w.Letters.Make(ctx, order)
		require.Equal(t, fault.NotFound, fault.KindOf(err))

		o = w.Owner("remedied@example.org")
		up(o)
		w.remedies["task-"+o.ID] = ladder.Standing{OwnerID: o.ID, Remedied: true}
		_, err = w.Calls.Next(ctx, "ann")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		_, err = w.Letters.Make(ctx, order)
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		l, err := w.Words.Letter(ctx, w.Of(o)[3].ID)
		require.NoError(t, err)
		require.Equal(t, letter.Stopped, l.State)
		w.Clock.Advance(14 * day)
		w.pass(1)
		require.Equal(t, ladder.Remedied, w.climb(o).State)

		// From the day it is posted, not from the day it was asked for.
		o = w.Owner("late@example.org")
		up(o)
		w.Clock.Advance(20 * day)
		b, err := w.Letters.Make(ctx, order)
		require.NoError(t, err)
		_, err = w.Letters.MarkSent(ctx, b.ID, w.Clock.Now())
		require.NoError(t, err)
		w.pass(1)
		require.Equal(t, ladder.Climbing, w.climb(o).State)
		w.Clock.Advance(14 * day)
		w.pass(1)
		require.Equal(t, ladder.Unreachable, w.climb(o).State)
	})
}

func TestWhichLadder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t))
	ctx := t.Context()
	put := func(name, product, campaign string) {
		require.NoError(t, ladder.Put(ctx, w.Words, ladder.Spec{Name: name, Product: product, Campaign: campaign, Kinds: []string{"recall", "safety"}, Steps: []ladder.Step{{Channel: notify.Mail}}}))
	}
	got := func(kind, product, campaign string) string {
		s, err := ladder.For(ctx, w.Words, kind, product, campaign)
		require.NoError(t, err)
		require.Empty(t, s.Validate())
		return s.Name
	}
	require.Equal(t, "built-in recall", got("recall", "p", "c"))
	require.Equal(t, "built-in feature", got("feature", "p", "c"))
	put("all", "", "")
	put("product", "p", "")
	put("campaign", "", "c")
	require.Equal(t, "campaign", got("recall", "p", "c"))
	require.Equal(t, "product", got("safety", "p", "d"))
	require.Equal(t, "all", got("safety", "q", "d"))
	require.Equal(t, "built-in service", got("service", "p", "c"))

	bad := ladder.Spec{Kinds: []string{"service", "service", "x"}, Steps: []ladder.Step{{Channel: "pigeon", After: -1}, {Channel: notify.Call}}, GiveUp: -1}
	var paths []string
	for _, f := range bad.Validate() {
		paths = append(paths, f.Path)
	}
	require.Equal(t, []string{"spec.kinds[1]", "spec.kinds[2]", "spec.steps[0].channel", "spec.steps[0].after", "spec.steps[1].channel", "spec.giveUp"}, paths)
	require.Len(t, (&ladder.Spec{}).Validate(), 2)
}
