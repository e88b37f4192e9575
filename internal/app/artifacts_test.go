package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device/download"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

// A download shares its campaign's rate with all of it, and the site's with
// those that stand at the same, or come from the same address.
func TestRatesOfDownloads(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 2)
	u, err := w.DB.Fleet().Unit(t.Context(), campaigntest.UnitID(2))
	require.NoError(t, err)
	u.Attributes = map[string]string{campaign.SiteAttribute: "depot north"}
	require.NoError(t, w.DB.Fleet().PutUnits(t.Context(), []fleet.Unit{u}))
	c := campaigntest.Campaign(campaign.Safety)
	c.DownloadRate, c.SiteDownloadRate = 5_000_000, 1_000_000
	w.Started(c)
	var at [2]string
	for _, task := range w.Tasks(-1) {
		at[task.UnitID[len(task.UnitID)-1]-'1'] = task.ID
	}
	s := newRates(w.DB.Campaign(), w.DB.Fleet())
	s.wall = clock.NewManual(campaigntest.Start)
	shares := func(n int, ref string) []download.Share {
		got, err := s.shares(t.Context(), update.Assignment{ID: int64(n), UnitID: campaigntest.UnitID(n), Ref: ref}, "198.51.100.7")
		require.NoError(t, err)
		return got
	}
	const name = "campaign " + campaigntest.Name
	require.Equal(t, []download.Share{{Name: name, Rate: 5e6}, {Name: name + ", address 198.51.100.7", Rate: 1e6}}, shares(1, at[0]))
	require.Equal(t, []download.Share{{Name: name, Rate: 5e6}, {Name: name + ", site depot north", Rate: 1e6}}, shares(2, at[1]+"/2"))
	require.Empty(t, shares(3, "nobody's"))
	c.SiteDownloadRate = 100
	require.ErrorContains(t, w.Campaigns.Validate(t.Context(), c), "siteDownloadRate")
}
