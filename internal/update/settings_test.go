package update_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/sqldb/setting"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

func gentle(name string, amperes float64) update.Release {
	return update.Release{
		Name: name, Product: campaigntest.Product, Version: name, Kind: update.Safety, Minutes: 1,
		Notes:    map[string]string{"en": "Charges more gently."},
		Settings: &update.Settings{Parameters: map[string]any{"max_current": amperes}, Features: map[string]bool{"solar_charging": true}},
	}
}

// told are a unit's settings as it is told them.
func told(t *testing.T, w *campaigntest.World, unit string) map[string]string {
	t.Helper()
	list, err := w.Updates.Settings(t.Context(), unit)
	require.NoError(t, err)
	out := map[string]string{}
	for _, x := range list {
		out[x.Component] = x.Value
	}
	return out
}

// sets is the unit reporting what it is set to.
func sets(t *testing.T, w *campaigntest.World, unit string, v map[string]string) {
	t.Helper()
	require.NoError(t, w.Updates.Reported(t.Context(), unit, v, w.Clock.Now()))
	require.NoError(t, w.DB.Fleet().SetVersions(t.Context(), unit, v, w.Clock.Now()))
}

var sixteen = map[string]string{"parameter:max_current": "16", "feature:solar_charging": "true"}

// A change of settings is a remedy like any other: the owner's time decides, the
// unit's report counts, drift is seen, and it can be taken back.
func TestSettingsAreARemedy(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w, ctx := campaigntest.New(t, db, 1), t.Context()
		require.NoError(t, w.Updates.Put(ctx, gentle("sixteen", 16)))
		c := campaigntest.Campaign(campaign.Safety)
		c.Release, c.Waves = "sixteen", []campaign.Wave{{Name: "all", Share: 1}}
		w.Started(c)
		unit := campaigntest.UnitID(1)
		task := w.Tasks(-1)[0]
		require.Equal(t, campaign.Offered, task.State)
		require.Empty(t, told(t, w, unit), "before the owner's time the unit is told nothing")

		w.Choose(task, campaign.StartNow)
		w.Settle()
		work, err := w.Updates.Work(ctx, unit)
		require.NoError(t, err)
		require.Nil(t, work.Action, "an update client sees nothing of it")
		require.Equal(t, sixteen, told(t, w, unit))
		w.Settle()
		task = w.Task(task.ID)
		require.Equal(t, campaign.Installing, task.State)
		_, err = w.Updates.Deployment(ctx, unit, task.AssignmentID)
		require.Equal(t, fault.NotFound, fault.KindOf(err))

		sets(t, w, unit, map[string]string{"parameter:max_current": "16"})
		w.Settle()
		require.Equal(t, campaign.Installing, w.Task(task.ID).State, "all of it or not yet")
		sets(t, w, unit, sixteen)
		w.Settle()
		require.Equal(t, campaign.Verifying, w.Task(task.ID).State)
		u, err := db.Fleet().Unit(ctx, unit)
		require.NoError(t, err)
		require.Equal(t, "1.0.0", u.Versions["software"], "its software is what it was")

		drift, err := w.Updates.Drift(ctx, "", "", "", 0)
		require.NoError(t, err)
		require.Empty(t, drift)
		sets(t, w, unit, map[string]string{"parameter:max_current": "32"}) // somebody reset it
		drift, err = w.Updates.Drift(ctx, campaigntest.Product, "", "", 0)
		require.NoError(t, err)
		require.Len(t, drift, 1)
		require.Equal(t, []string{unit, "parameter:max_current", "16", "32"}, []string{drift[0].UnitID, drift[0].Component, drift[0].Value, drift[0].Reported})
		require.Equal(t, sixteen, told(t, w, unit), "it is told again")

		// Back to what was: the old values under a higher counter.
		sets(t, w, unit, sixteen)
		require.NoError(t, w.Updates.Put(ctx, gentle("back", 32)))
		older, err := w.Updates.Release(ctx, "sixteen")
		require.NoError(t, err)
		back, err := w.Updates.Release(ctx, "back")
		require.NoError(t, err)
		require.Greater(t, back.Counter, older.Counter)
		a, err := w.Updates.Assign(ctx, unit, "back", "revert")
		require.NoError(t, err)
		_, err = w.Updates.Offer(ctx, a.ID, w.Clock.Now())
		require.NoError(t, err)
		require.Equal(t, "32", told(t, w, unit)["parameter:max_current"])
	})
}

func TestSettingsThatAreRefusedOrCanceledAreTakenBack(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w, ctx := campaigntest.New(t, db, 1), t.Context()
		unit := campaigntest.UnitID(1)
		offer := func(name string, amperes float64) int64 {
			require.NoError(t, w.Updates.Put(ctx, gentle(name, amperes)))
			a, err := w.Updates.Assign(ctx, unit, name, name)
			require.NoError(t, err)
			_, err = w.Updates.Offer(ctx, a.ID, w.Clock.Now())
			require.NoError(t, err)
			return a.ID
		}
		offer("sixteen", 16)
		require.Equal(t, sixteen, told(t, w, unit))
		sets(t, w, unit, sixteen)

		id := offer("ten", 10)
		require.Equal(t, "10", told(t, w, unit)["parameter:max_current"])
		say := func(unit string, a update.SettingAnswer) error {
			return w.Updates.AnswerSettings(ctx, unit, map[string]update.SettingAnswer{"parameter:max_current": a})
		}
		require.NoError(t, say(unit, update.SettingAnswer{Why: "the car is charging", Revision: id}))
		require.NoError(t, say(unit, update.SettingAnswer{Refused: true, Why: "of an older one", Revision: id - 1}))
		a, err := w.Updates.Assignment(ctx, id)
		require.NoError(t, err)
		require.Equal(t, update.Running, a.State, "it goes on")
		require.Equal(t, []string{"waiting: max_current: the car is charging"}, a.Details)
		require.NoError(t, say(unit, update.SettingAnswer{Refused: true, Why: "not while charging"}))
		a, err = w.Updates.Assignment(ctx, id)
		require.NoError(t, err)
		require.Equal(t, update.Failed, a.State)
		require.Contains(t, a.Details, "max_current: not while charging")
		require.Equal(t, sixteen, told(t, w, unit), "as it was told before")
		require.NoError(t, say(unit, update.SettingAnswer{Refused: true, Why: "no"}), "of what has ended")

		id = offer("twelve", 12)
		require.Equal(t, "12", told(t, w, unit)["parameter:max_current"])
		a, err = w.Updates.Cancel(ctx, id)
		require.NoError(t, err)
		require.Equal(t, update.Canceled, a.State, "there is nothing to agree to")
		require.Equal(t, sixteen, told(t, w, unit))
		require.NoError(t, say("nobody", update.SettingAnswer{Refused: true, Why: "no"}))

		// A process of role ingest hears the refusal: it stands in the records all the same.
		id = offer("eleven", 11)
		require.Equal(t, "11", told(t, w, unit)["parameter:max_current"])
		var woken []string
		elsewhere := update.Answers(update.Config{
			Store: db.Update(), Ledger: release.New(db), Settings: setting.New(db), Fleet: db.Fleet(), Tx: db, Clock: w.Clock,
			Wake: func(unit string) { woken = append(woken, unit) },
		})
		require.NoError(t, elsewhere(ctx, unit, map[string]update.SettingAnswer{"parameter:max_current": {Why: "the car is charging"}}))
		require.NoError(t, elsewhere(ctx, unit, map[string]update.SettingAnswer{"parameter:max_current": {Refused: true, Why: "too little"}}))
		require.NoError(t, elsewhere(ctx, "nobody", map[string]update.SettingAnswer{"parameter:max_current": {Refused: true, Why: "x"}}))
		a, err = w.Updates.Assignment(ctx, id)
		require.NoError(t, err)
		require.Equal(t, update.Failed, a.State)
		require.Equal(t, []string{"waiting: max_current: the car is charging", "max_current: too little"}, a.Details)
		require.Equal(t, sixteen, told(t, w, unit), "as it was told before")
		require.Contains(t, woken, unit, "and hears so where it is connected")

		w.Clock.Advance(time.Hour)
		a, err = w.Updates.Assign(ctx, unit, "ten", "later")
		require.NoError(t, err)
		_, err = w.Updates.Offer(ctx, a.ID, w.Clock.Now().Add(time.Hour))
		require.NoError(t, err)
		require.Equal(t, sixteen, told(t, w, unit), "its time has not come")
		w.Clock.Advance(2 * time.Hour)
		require.Equal(t, "10", told(t, w, unit)["parameter:max_current"])
	})
}

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 1)
	for _, c := range []struct {
		change         func(r *update.Release)
		path, expected string
	}{
		{func(r *update.Release) { r.Settings.Parameters["max_current"] = 40.0 }, "spec.settings.parameters.max_current", "a number from 6 to 32"},
		{func(r *update.Release) { r.Settings.Parameters["max_current"] = "16" }, "spec.settings.parameters.max_current", "a number from 6 to 32"},
		{func(r *update.Release) { r.Settings.Parameters["height"] = 1.0 }, "spec.settings.parameters", "parameters of product wall-charger"},
		{func(r *update.Release) { r.Settings.Features["height"] = true }, "spec.settings.features", "features of product wall-charger"},
		{func(r *update.Release) { r.Settings = &update.Settings{} }, "spec.settings", "1 to 64 parameters and features"},
		{func(r *update.Release) { r.Artifact = "x.swu" }, "spec.artifact", "nothing here where there are settings: they have no image"},
	} {
		r := gentle("sixteen", 16)
		c.change(&r)
		err := w.Updates.Put(t.Context(), r)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		f := fault.FieldsOf(err)
		require.Equal(t, []string{c.path, c.expected}, []string{f[0].Path, f[0].Expected})
	}
	require.Equal(t, "120", update.SettingText(120.0))
	require.Equal(t, "120", update.SettingText(120))
	require.Equal(t, `"eco"`, update.SettingText("eco"))
}
