package campaign_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

// More units may speak within one millisecond than a page of changes holds.
func TestManyUnitsSpeakAtOnce(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 450)
	c := campaigntest.Campaign(campaign.Safety)
	c.Waves = []campaign.Wave{{Name: "all", Share: 1}}
	w.Started(c)
	for _, x := range w.Tasks(0) {
		w.Choose(x, campaign.StartNow)
		w.Says(x, update.Running)
	}
	w.Settle()
	for _, x := range w.Tasks(0) {
		require.Equal(t, campaign.Installing, x.State)
	}
}

// A pass in which nothing is due costs next to nothing, however many tasks
// there are: fleets are large and passes are many.
func BenchmarkPassWithNothingDue(b *testing.B) {
	w := campaigntest.New(b, sqldbtest.SQLite(b), 5000)
	c := campaigntest.Campaign(campaign.Safety)
	c.Waves = []campaign.Wave{{Name: "all", Share: 1}}
	w.Started(c)
	for b.Loop() {
		n, err := w.Campaigns.Pass(b.Context())
		require.NoError(b, err)
		require.Zero(b, n)
	}
}
