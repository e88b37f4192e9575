package campaign_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/register"
)

func TestTheRegisterNamesCampaignAndApproval(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 1)
	c := campaigntest.Campaign(campaign.Safety)
	c.Waves = []campaign.Wave{{Name: "all", Share: 1}}
	w.Started(c)
	w.Installs(w.Tasks(-1)[0])
	r, err := release.New(w.DB).Last(t.Context(), 1)
	require.NoError(t, err)
	var e register.Entry
	require.NoError(t, json.Unmarshal(r.Entry, &e))
	require.Equal(t, []string{campaigntest.Name, "op-1"}, []string{e.Campaign, e.ApprovedBy})
	require.Equal(t, campaigntest.Start, e.ApprovedAt)
}

func TestADryRunNamesWhoCannotGoBack(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w, ctx := campaigntest.New(t, db, 3), t.Context()
		require.NoError(t, w.Campaigns.Put(ctx, campaigntest.Campaign(campaign.Safety)))
		newer, err := w.Updates.Release(ctx, campaigntest.Release)
		require.NoError(t, err)
		newer.Name, newer.Version, newer.Counter = "newer", "3.0.0", 0
		require.NoError(t, w.Updates.Put(ctx, newer))
		a, err := w.Updates.Assign(ctx, campaigntest.UnitID(1), newer.Name, "x")
		require.NoError(t, err)
		_, err = w.Updates.Offer(ctx, a.ID, w.Clock.Now())
		require.NoError(t, err)
		w.Reports(campaigntest.UnitID(1), "3.0.0")
		w.Reports(campaigntest.UnitID(1), "1.0.0")
		plan, _, err := dryRun(ctx, w, campaigntest.Name)
		require.NoError(t, err)
		require.Equal(t, map[update.Code]int{update.CodeDowngrade: 1}, plan.NotByCode)
		require.Equal(t, 2, plan.OfferedN)

		skilled, err := w.Updates.Release(ctx, campaigntest.Release)
		require.NoError(t, err)
		skilled.Skilled = true
		require.NoError(t, w.Updates.Put(ctx, skilled))
		plan, _, err = dryRun(ctx, w, campaigntest.Name)
		require.NoError(t, err)
		require.Equal(t, map[update.Code]int{update.CodeDowngrade: 1, update.CodeSkilled: 2}, plan.NotByCode, "a skilled person is dispatched")
	})
}
