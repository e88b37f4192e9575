package tell_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/app/tell"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/notifytest"
	"fettle.dev/fettle/internal/notify/preference"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/person"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

// Whoever uses a unit that another owns is told what concerns safety, and what
// of it they may decide; their acknowledgement is not the owner's. Of other
// campaigns the owner alone is told.
func TestDriversAreToldOfSafety(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, w := t.Context(), notifytest.New(t, db)
		updates, err := update.NewService(ctx, update.Config{Store: db.Update(), Ledger: release.New(db), Fleet: db.Fleet(), Tx: db, Clock: w.Clock})
		require.NoError(t, err)
		r := tell.New(tell.Config{Records: db, Updates: updates, Clock: w.Clock, IDs: w.IDs, Log: slog.New(slog.DiscardHandler), URL: "https://fettle.example"})
		owner, may, mayNot := w.Owner("owner@example.org"), w.Owner("may@example.org"), w.Owner("may-not@example.org")
		require.NoError(t, db.Fleet().PutUnits(ctx, []fleet.Unit{{ID: "WC-1", Key: 1, Product: "wall-charger", Serial: "1", State: fleet.UnitActive, OwnerID: owner.ID, CreatedAt: w.Clock.Now()}}))
		for o, mayUpdate := range map[string]bool{may.ID: true, mayNot.ID: false} {
			require.NoError(t, person.New(db).PutDriver(ctx, people.DriverOf{UnitID: "WC-1", PersonID: o, MayUpdate: mayUpdate, JoinedAt: w.Clock.Now()}))
		}
		// What is switched off, and the night, hold nothing of it back.
		require.NoError(t, r.People.SetPreferences(ctx, may.ID, preference.Preferences{Off: []notify.Kind{notify.Service, notify.Tip}, Caps: map[string]int{"all/day": 0}}))

		say := func(kind campaign.Kind, notice campaign.NoticeKind, key string) {
			t.Helper()
			c := campaign.Notice{Key: key, Kind: notice, Owner: owner, Release: update.Release{Name: "r"}, Task: campaign.Task{ID: "t", UnitID: "WC-1", OwnerID: owner.ID}}
			c.Campaign.Name, c.Campaign.Product, c.Campaign.Kind = "plug", "wall-charger", kind
			c.Campaign.Title, c.Campaign.Reason = map[string]string{"en": "Cooler plug", "de": "Kühler Stecker"}, map[string]string{"en": "The plug can burn.", "de": "Der Stecker kann brennen."}
			for range 2 { // a crash may say it twice
				require.NoError(t, r.Tell(ctx, c))
			}
		}
		say(campaign.Safety, campaign.NoticeOffer, "safety:offer")
		require.Len(t, w.Of(owner), 1)
		require.Contains(t, w.Of(owner)[0].Body, "Sie entscheiden, wann es installiert wird")
		for o, want := range map[fleet.Owner]string{may: "Sie dürfen es selbst starten", mayNot: "entscheidet, wann es installiert wird"} {
			list := w.Of(o)
			require.Len(t, list, 1, o.Email)
			require.Equal(t, notify.Safety, list[0].Kind)
			require.True(t, list[0].Acknowledge)
			require.Contains(t, list[0].Body, "Der Stecker kann brennen.")
			require.Contains(t, list[0].Body, "das Sie benutzen")
			require.Contains(t, list[0].Body, want)
		}

		// A driver's acknowledgement is theirs; the owner's ends the climb.
		climb := func() ladder.Climb {
			t.Helper()
			list, err := r.Store.Climbs(ctx, ladder.Filter{Campaign: "plug"})
			require.NoError(t, err)
			require.Len(t, list, 1, "drivers climb no ladder")
			return list[0]
		}
		before := climb().NextAt
		for _, o := range []fleet.Owner{may, owner} {
			require.Equal(t, before, climb().NextAt)
			notices, err := r.People.Notices(ctx, preference.Filter{OwnerID: o.ID})
			require.NoError(t, err)
			_, err = r.People.Acknowledge(ctx, o.ID, notices[0].ID, notify.ViaPortal)
			require.NoError(t, err)
		}
		require.True(t, climb().NextAt.Before(before), "woken")

		late := w.Owner("late@example.org")
		require.NoError(t, person.New(db).PutDriver(ctx, people.DriverOf{UnitID: "WC-1", PersonID: late.ID, JoinedAt: w.Clock.Now()}))
		say(campaign.Safety, campaign.NoticeReminder, "safety:reminder")
		require.Len(t, w.Of(late), 1, "who has joined since the offer is told with the next reminder")
		require.Len(t, w.Of(mayNot), 2)
		say(campaign.Safety, campaign.NoticeDone, "safety:done")
		say(campaign.Service, campaign.NoticeOffer, "service:offer")
		say(campaign.Feature, campaign.NoticeOffer, "feature:offer")
		require.Len(t, w.Of(mayNot), 2)
		require.Len(t, w.Of(may), 2)
	})
}
