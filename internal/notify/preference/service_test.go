package preference_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/notifytest"
	"fettle.dev/fettle/internal/notify/preference"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

func TestDoor(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := notifytest.New(t, db)
		ctx, o := t.Context(), w.Owner("kim@example.org")
		set := func(p preference.Preferences) {
			t.Helper()
			require.NoError(t, w.People.SetPreferences(ctx, o.ID, p))
		}
		newest := func() preference.Notice {
			t.Helper()
			list, err := w.People.Notices(ctx, preference.Filter{OwnerID: o.ID, Limit: 1})
			require.NoError(t, err)
			require.Len(t, list, 1)
			return list[0]
		}

		// By day it is told at once, in the owner's language, once.
		require.Equal(t, notify.Decision{Verdict: notify.Told, Channels: []notify.Channel{notify.Mail}}, w.Tell(notifytest.Tip("1", o)))
		require.Equal(t, notify.Repeated, w.Tell(notifytest.Tip("1", o)).Reason)
		mails := w.Of(o)
		require.Len(t, mails, 1)
		require.Equal(t, "kim@example.org", mails[0].To)
		require.Equal(t, "1:mail", mails[0].Key)
		require.Equal(t, "de", mails[0].Language)
		require.Contains(t, mails[0].Body, "Guten Tag Jörg Müller,")

		// The second tip of the day is too much; the reason is kept and shown.
		require.Equal(t, notify.Decision{Verdict: notify.Withheld, Reason: notify.Capped}, w.Tell(notifytest.Tip("2", o)))
		require.Equal(t, notify.Capped, newest().Reason)
		require.Equal(t, "Tip 2", newest().Subject, "its owner may read it all the same")
		require.Len(t, w.Of(o), 1)
		set(preference.Preferences{Caps: map[string]int{"tip/day": 10, "tip/week": 2}})
		require.Equal(t, notify.Told, w.Tell(notifytest.Tip("3", o)).Verdict)
		require.Equal(t, notify.Capped, w.Tell(notifytest.Tip("4", o)).Reason, "of the week")
		w.Clock.Advance(7*24*time.Hour + time.Minute)
		require.Equal(t, notify.Told, w.Tell(notifytest.Tip("5", o)).Verdict)
		set(preference.Preferences{Caps: map[string]int{"all/day": 0}})
		require.Equal(t, notify.Capped, w.Tell(notifytest.Tip("6", o)).Reason)

		// Safety goes over caps, what was switched off and the night, and says so.
		set(preference.Preferences{Caps: map[string]int{"all/day": 0}, Off: []notify.Kind{notify.Tip}})
		w.Clock.Set(time.Date(2014, 1, 20, 2, 0, 0, 0, time.UTC))
		d := w.Tell(notifytest.Recall("r1", o))
		require.Equal(t, notify.Told, d.Verdict)
		require.Equal(t, []notify.Reason{notify.SwitchedOff, notify.Quiet, notify.Capped}, d.Overrode)
		require.Equal(t, d.Overrode, newest().Overrode)
		require.Equal(t, notify.SwitchedOff, w.Tell(notifytest.Tip("7", o)).Reason)
		call := notifytest.Recall("r2", o)
		call.Channels = []notify.Channel{notify.Voice}
		require.Equal(t, notify.Later, w.Tell(call).Verdict, "what rings waits for the morning all the same")
		post := notifytest.Recall("r3", o)
		post.Channels = []notify.Channel{notify.Letter}
		require.NotContains(t, w.Tell(post).Overrode, notify.Quiet, "a letter disturbs nobody")

		// Contact data given for safety is used for safety alone.
		set(preference.Preferences{})
		c, err := w.People.Contact(ctx, o.ID)
		require.NoError(t, err)
		c.SafetyOnly = []string{preference.OfEmail, preference.OfPhone}
		require.NoError(t, w.People.SetContact(ctx, o.ID, c))
		require.Equal(t, notify.SafetyOnly, w.Tell(notifytest.Tip("8", o)).Reason)
		require.Equal(t, notify.Told, w.Tell(notifytest.Recall("r4", o)).Verdict)

		// The channel that is liked, or one there is an address for.
		c.SafetyOnly = nil
		require.NoError(t, w.People.SetContact(ctx, o.ID, c))
		w.Clock.Set(notifytest.Noon.AddDate(0, 2, 0))
		set(preference.Preferences{Channels: map[notify.Kind][]notify.Channel{notify.Tip: {notify.Push, notify.SMS}, notify.Safety: {notify.Push}}})
		require.Equal(t, []notify.Channel{notify.SMS}, w.Tell(notifytest.Tip("9", o)).Channels)
		require.Equal(t, []notify.Channel{notify.Mail}, w.Tell(notifytest.Recall("r5", o)).Channels, "never silent for want of the channel that was liked")

		gone := notifytest.Tip("10", o)
		gone.OwnerID = "nobody"
		require.Equal(t, notify.Gone, w.Tell(gone).Reason)
		stale := notifytest.Tip("11", o)
		stale.ExpiresAt = w.Clock.Now()
		require.Equal(t, notify.TooLate, w.Tell(stale).Reason)
	})
}

// What waits for the morning is told then, by the owner's clock, also over the
// change to summer time, and together.
func TestWhatWaitsForTheMorning(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := notifytest.New(t, db)
		ctx, o := t.Context(), w.Owner("kim@example.org")
		require.NoError(t, w.People.SetPreferences(ctx, o.ID, preference.Preferences{
			Quiet: []window.Hours{{From: "22:00", To: "07:30"}}, Caps: map[string]int{"tip/day": 9, "tip/week": 9},
		}))
		pass := func(want int) {
			t.Helper()
			n, err := w.People.Pass(ctx)
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		// 2014-03-30, 02:00 in Berlin is 03:00.
		w.Clock.Set(time.Date(2014, 3, 29, 22, 30, 0, 0, time.UTC))
		d := w.Tell(notifytest.Tip("1", o))
		morning := time.Date(2014, 3, 30, 5, 30, 0, 0, time.UTC)
		require.Equal(t, notify.Decision{Verdict: notify.Later, Reason: notify.Quiet, Channels: []notify.Channel{notify.Mail}, At: morning}, d)
		w.Tell(notifytest.Tip("2", o))
		stale := notifytest.Tip("3", o)
		stale.ExpiresAt = morning
		require.Equal(t, notify.TooLate, w.Tell(stale).Reason)
		pass(0)
		require.Empty(t, w.Of(o))
		w.Clock.Set(morning)
		pass(2)
		pass(0)
		mails := w.Of(o)
		require.Len(t, mails, 1, "one message of both")
		require.Equal(t, "2 Nachrichten zu Ihren Geräten", mails[0].Subject)
		require.Contains(t, mails[0].Body, "- Tip 1\n- Tip 2\n")
		list, err := w.People.Notices(ctx, preference.Filter{OwnerID: o.ID, Shown: true})
		require.NoError(t, err)
		require.Len(t, list, 3)
		require.Equal(t, notify.Merged, list[2].Verdict)
		require.NotEmpty(t, list[2].Into)
		seen, err := w.People.Seen(ctx, "1")
		require.NoError(t, err)
		require.False(t, seen)
		w.Send(notify.Mail, notify.Sent)
		seen, err = w.People.Seen(ctx, "1")
		require.NoError(t, err)
		require.True(t, seen)

		// What was switched off over night is not told in the morning.
		w.Clock.Set(time.Date(2014, 4, 1, 23, 0, 0, 0, time.UTC))
		w.Tell(notifytest.Tip("4", o))
		require.NoError(t, w.People.Unsubscribe(ctx, o.ID, notify.Tip))
		require.NoError(t, w.People.Unsubscribe(ctx, o.ID, notify.Tip), "twice is once")
		require.Equal(t, fault.Invalid, fault.KindOf(w.People.Unsubscribe(ctx, o.ID, notify.Safety)))
		w.Clock.Advance(12 * time.Hour)
		pass(1)
		require.Len(t, w.Of(o), 1)
	})
}

func TestReadAndAcknowledged(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := notifytest.New(t, db)
		ctx, o, other := t.Context(), w.Owner("kim@example.org"), w.Owner("sam@example.org")
		w.Tell(notifytest.Recall("r", o))
		list, err := w.People.Notices(ctx, preference.Filter{OwnerID: o.ID})
		require.NoError(t, err)
		id := list[0].ID
		_, err = w.People.Read(ctx, other.ID, id)
		require.Equal(t, fault.NotFound, fault.KindOf(err), "another's")
		n, err := w.People.Read(ctx, o.ID, id)
		require.NoError(t, err)
		require.Equal(t, notifytest.Noon, n.ReadAt)
		require.True(t, n.AckedAt.IsZero())
		w.Clock.Advance(time.Hour)
		n, err = w.People.Acknowledge(ctx, o.ID, id, notify.ViaPortal)
		require.NoError(t, err)
		require.Equal(t, notifytest.Noon.Add(time.Hour), n.AckedAt)
		w.Clock.Advance(time.Hour)
		again, err := w.People.Acknowledge(ctx, o.ID, id, notify.ViaLink)
		require.NoError(t, err)
		require.Equal(t, n, again, "the first counts")
		require.Equal(t, n.AckedAt, w.Of(o)[0].AckedAt, "the message knows, too")
		require.Empty(t, w.Of(other))
	})
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for path, p := range map[string]preference.Preferences{
		"off[0]": {Off: []notify.Kind{notify.Safety}}, "channels.tip[0]": {Channels: map[notify.Kind][]notify.Channel{notify.Tip: {notify.Letter}}},
		"channels.x": {Channels: map[notify.Kind][]notify.Channel{"x": {notify.Mail}}}, "caps.tip/year": {Caps: map[string]int{"tip/year": 1}}, "caps.tip/day": {Caps: map[string]int{"tip/day": -1}},
		"language": {Language: "german please"}, "units": {Units: "imperial"}, "timeZone": {TimeZone: "Mars"}, "quiet": {Quiet: []window.Hours{{From: "00:00", To: "00:00"}}},
	} {
		fields := fault.FieldsOf(p.Validate())
		require.Len(t, fields, 1, path)
		require.Equal(t, path, fields[0].Path)
	}
	good := preference.Preferences{Channels: map[notify.Kind][]notify.Channel{notify.Safety: {notify.SMS, notify.Mail}}, Caps: map[string]int{"all/week": 0}, Language: "sv", Units: "us"}
	require.NoError(t, good.Validate())
	address := preference.Address{Lines: []string{"x"}, City: "Oslo", Country: "NO"}
	for path, change := range map[string]func(*preference.Contact){
		"phone":            func(c *preference.Contact) { c.Phone = "0151 123" },
		"address.country":  func(c *preference.Contact) { c.Address.Country = "Norway" },
		"address.city":     func(c *preference.Contact) { c.Address.City = "" },
		"address.lines":    func(c *preference.Contact) { c.Address.Lines = nil },
		"address.lines[0]": func(c *preference.Contact) { c.Address.Lines = []string{"a\nb"} },
		"safetyOnly[0]":    func(c *preference.Contact) { c.SafetyOnly = []string{"all"} },
	} {
		a := address
		c := preference.Contact{Phone: "+4712345678", Address: &a}
		change(&c)
		fields := fault.FieldsOf(c.Validate())
		require.Len(t, fields, 1, path)
		require.Equal(t, path, fields[0].Path)
	}
}
