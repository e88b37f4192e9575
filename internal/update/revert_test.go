package update_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

// The way back from a release of several images: each component goes back to
// what it had, whichever release that came with, over the bad versions alone.
func TestTheWayBackOfSeveralImages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 2)
	ctx, unit := t.Context(), campaigntest.UnitID(1)
	several := func(name string, versions ...string) update.Release {
		return w.declare(name, name, func(r *update.Release) {
			r.Artifact = ""
			for i, c := range []string{"software", "meter"} {
				p := update.ReleasePart{Component: c, Version: versions[i], Artifact: w.image(name + c)}
				if c == "meter" {
					p.After = []string{"software"}
				}
				r.Parts = append(r.Parts, p)
			}
		})
	}
	first := several("pair-1", "3", "30")
	second := several("pair-2", "4", "40")
	w.reports(unit, second.Installs())

	// One older release has all of it.
	back, err := w.updates.Revert(ctx, "pair-2", "", "", "it burns", nil)
	require.NoError(t, err)
	require.Equal(t, "pair-1-again-4", back.Name)
	require.Greater(t, back.Counter, second.Counter)
	require.Len(t, back.Parts, 2)
	for i, p := range back.Parts {
		require.Equal(t, []string{first.Parts[i].Artifact, first.Parts[i].Version}, []string{p.Artifact, p.Version})
		require.Equal(t, []string{second.Parts[i].Version}, p.From, "over the bad versions alone")
	}
	require.Equal(t, []string{"software"}, back.Parts[1].After)
	a := w.offered(unit, back.Name)
	w.reports(unit, map[string]string{"software": "3", "meter": "30"})
	a, err = w.updates.Assignment(ctx, a.ID)
	require.NoError(t, err)
	require.Equal(t, update.Installed, a.State)
	other := campaigntest.UnitID(2)
	w.reports(other, map[string]string{"software": "9", "meter": "40"})
	_, err = w.updates.Assign(ctx, other, back.Name, "other")
	require.Equal(t, update.CodeFrom, refusal(t, err).Code, "who never had the bad one keeps what it has")

	// What the two have in common stays.
	several("pair-3", "5", "40")
	back, err = w.updates.Revert(ctx, "pair-3", "pair-2", "same-meter", "it burns", nil)
	require.NoError(t, err)
	require.Equal(t, [][]string{{"5"}, nil}, [][]string{back.Parts[0].From, back.Parts[1].From})

	// Each component's content came with a release of its own.
	w.declare("display-1", "D1", func(r *update.Release) { r.Component = "display" })
	bad := w.declare("mixed", "mixed", func(r *update.Release) {
		r.Artifact = ""
		r.Parts = []update.ReleasePart{
			{Component: "display", Version: "D2", Artifact: w.image("d2")},
			{Component: "meter", Version: "50", Artifact: w.image("m50"), After: []string{"display"}},
		}
	})
	back, err = w.updates.Revert(ctx, bad.Name, "", "", "it burns", nil)
	require.NoError(t, err)
	require.Equal(t, "before-mixed", back.Version)
	require.Equal(t, map[string]string{"display": "D1", "meter": "40"}, back.Installs(), "the newest that each had before")
	require.Equal(t, []string{"display"}, back.Parts[1].After)
	require.Contains(t, back.EngineerNotes, "display-1")
	_, err = w.updates.Revert(ctx, bad.Name, "display-1", "", "why", nil)
	require.Equal(t, fault.Conflict, fault.KindOf(err), "it has no meter")

	// A release of one component, from one of several.
	only := w.declare("meter-60", "60", func(r *update.Release) { r.Component = "meter" })
	back, err = w.updates.Revert(ctx, only.Name, "pair-2", "", "why", nil)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"meter": "40"}, back.Installs())
	require.Empty(t, back.Parts)
	require.Equal(t, []string{"60"}, back.From)
}

// What failed is not gone back to, though nobody has withdrawn it.
func TestTheWayBackIsNotToWhatFailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 3)
	ctx := t.Context()
	w.declare("one", "1", nil)
	w.declare("two", "2", nil)
	w.declare("three", "3", nil)
	_, err := w.updates.TimeOut(ctx, w.offered(campaigntest.UnitID(1), "two").ID, "it hangs")
	require.NoError(t, err)
	back, err := w.updates.Revert(ctx, "three", "", "back-1", "it burns", nil)
	require.NoError(t, err)
	require.Equal(t, "1", back.Version)
	require.Contains(t, back.EngineerNotes, "Release two was passed over, since it failed on most units (failed: 1, installed: 0). it burns")
	back, err = w.updates.Revert(ctx, "three", "two", "back-2", "it burns", nil)
	require.NoError(t, err)
	require.Equal(t, "2", back.Version, "it was named")

	// It did on as many units as it failed on.
	w.reports(campaigntest.UnitID(2), map[string]string{"software": "2"})
	back, err = w.updates.Revert(ctx, "three", "", "back-3", "it burns", nil)
	require.NoError(t, err)
	require.Equal(t, "2", back.Version)

	// Nothing is left.
	w.declare("lamp-1", "L1", func(r *update.Release) { r.Component = "lamp" })
	w.declare("lamp-2", "L2", func(r *update.Release) { r.Component = "lamp" })
	_, err = w.updates.TimeOut(ctx, w.offered(campaigntest.UnitID(3), "lamp-1").ID, "it hangs")
	require.NoError(t, err)
	_, err = w.updates.Revert(ctx, "lamp-2", "", "", "why", nil)
	require.ErrorContains(t, err, "Release lamp-1 was passed over")
	require.ErrorContains(t, err, "there is no older release")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

// The way back from settings that nothing was said of before.
func TestTheWayBackOfSettingsIsTheDefault(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 1)
	ctx, unit := t.Context(), campaigntest.UnitID(1)
	require.NoError(t, w.Updates.Put(ctx, gentle("sixteen", 16)))
	sets(t, w, unit, sixteen)
	back, err := w.Updates.Revert(ctx, "sixteen", "", "", "too slow", nil)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"parameter:max_current": "32", "feature:solar_charging": "false"}, back.Installs())
	require.Contains(t, back.EngineerNotes, "the product's defaults")
	a, err := w.Updates.Assign(ctx, unit, back.Name, "back")
	require.NoError(t, err)
	_, err = w.Updates.Offer(ctx, a.ID, w.Clock.Now())
	require.NoError(t, err)
	require.Equal(t, back.Installs(), told(t, w, unit))

	// The newest older one counts where there is one.
	require.NoError(t, w.Updates.Put(ctx, gentle("ten", 10)))
	back, err = w.Updates.Revert(ctx, "ten", "sixteen", "to-sixteen", "too slow", nil)
	require.NoError(t, err)
	require.Equal(t, sixteen, back.Installs())
}
