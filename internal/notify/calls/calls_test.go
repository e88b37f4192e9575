package calls_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/calls"
	"fettle.dev/fettle/internal/notify/notifytest"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

func TestCalls(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := notifytest.New(t, db)
		ctx := t.Context()
		next := func(agent string) (calls.Call, error) { return w.Calls.Next(ctx, agent) }
		_, err := next("ann")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		for _, name := range []string{"a", "b", "c"} {
			m := notifytest.Recall(name, w.Owner(name+"@example.org"))
			m.Channels = []notify.Channel{notify.Call}
			require.Equal(t, notify.Told, w.Tell(m).Verdict)
			w.Clock.Advance(time.Minute)
		}

		// Two agents never hold the same call; each keeps their own.
		ann, err := next("ann")
		require.NoError(t, err)
		require.Equal(t, "o-a@example.org", ann.OwnerID)
		require.Equal(t, "+4915112345678", ann.Phone)
		require.Equal(t, "Mon 13:03 CET", ann.LocalTime)
		require.Contains(t, ann.Script, "betrifft die Sicherheit", "in the owner's language")
		again, err := next("ann")
		require.NoError(t, err)
		require.Equal(t, ann.ID, again.ID)
		bob, err := next("bob")
		require.NoError(t, err)
		require.NotEqual(t, ann.ID, bob.ID)
		_, err = w.Calls.Take(ctx, ann.ID, "bob")
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		require.ErrorContains(t, err, "ann has this call")
		_, err = w.Calls.Record(ctx, ann.ID, "bob", calls.Ended{Outcome: calls.Reached})
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		require.NoError(t, w.Calls.Release(ctx, bob.ID, "bob"))

		// No answer: later, at another hour; reached: acknowledged.
		got, err := w.Calls.Record(ctx, ann.ID, "ann", calls.Ended{Outcome: calls.NoAnswer, Note: " rang eight times "})
		require.NoError(t, err)
		require.Equal(t, w.Clock.Now().Add(3*time.Hour), got.DueAt)
		require.Equal(t, "rang eight times", got.Notes[0].Text)
		bob, err = next("bob")
		require.NoError(t, err)
		require.Equal(t, "o-b@example.org", bob.OwnerID)
		done, err := w.Calls.Record(ctx, bob.ID, "bob", calls.Ended{Outcome: calls.Reached, Note: "will unplug it"})
		require.NoError(t, err)
		require.Equal(t, calls.Done, done.State)
		m, err := w.Messages.Message(ctx, bob.ID)
		require.NoError(t, err)
		require.Equal(t, notify.ViaPerson, m.AckedVia)
		_, err = w.Calls.Record(ctx, bob.ID, "bob", calls.Ended{Outcome: calls.Reached})
		require.Equal(t, fault.Conflict, fault.KindOf(err), "once")

		// A wrong number reached nobody.
		c, err := next("bob")
		require.NoError(t, err)
		_, err = w.Calls.Record(ctx, c.ID, "bob", calls.Ended{Outcome: calls.CallBack, At: w.Clock.Now().Add(-time.Hour)})
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		_, err = w.Calls.Record(ctx, c.ID, "bob", calls.Ended{Outcome: "busy", Note: strings.Repeat("x", 5000)})
		require.Len(t, fault.FieldsOf(err), 2)
		_, err = w.Calls.Record(ctx, c.ID, "bob", calls.Ended{Outcome: calls.WrongNumber})
		require.NoError(t, err)
		m, err = w.Messages.Message(ctx, c.ID)
		require.NoError(t, err)
		require.Equal(t, []any{notify.Bounced, "wrong number"}, []any{m.State, m.LastError})

		// In the owner's night nobody is called; what is acknowledged otherwise is not called at all.
		_, err = next("bob")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		w.Clock.Set(time.Date(2014, 1, 6, 22, 0, 0, 0, time.UTC))
		_, err = next("bob")
		require.Equal(t, fault.NotFound, fault.KindOf(err), "23:00 in Berlin")
		w.Clock.Set(time.Date(2014, 1, 7, 7, 0, 0, 0, time.UTC))
		c, err = next("bob")
		require.NoError(t, err, "08:00")
		require.Equal(t, 1, c.Tries)
		w.Clock.Advance(21 * time.Minute) // bob went home; his time with it is over
		_, err = w.Messages.Heard(ctx, notify.Delivery{MessageID: c.ID, At: w.Clock.Now(), Result: notify.Acknowledged}, func(m *notify.Message) error {
			m.AckedAt = w.Clock.Now()
			return nil
		})
		require.NoError(t, err)
		_, err = next("ann")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		counts, err := w.Calls.Counts(ctx)
		require.NoError(t, err)
		require.Equal(t, map[calls.State]int{calls.Done: 2, calls.Stopped: 1}, counts)
		list, err := w.Calls.List(ctx, calls.Filter{Limit: 2})
		require.NoError(t, err)
		require.Len(t, list, 2)
	})
}
