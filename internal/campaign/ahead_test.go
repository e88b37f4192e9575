package campaign_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

// Units that keep their owner's time themselves are told it ahead; whoever
// polls is shown nothing before.
func TestTheOwnersTimeIsToldAhead(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 10)
	w.Campaigns.SetAhead(func(product string) bool { return product == campaigntest.Product })
	w.Started(campaigntest.Campaign(campaign.Service))
	ctx, task := t.Context(), w.Tasks(0)[0]
	directed := func() update.Assignment {
		a, _, err := w.Updates.Directed(ctx, task.UnitID)
		require.NoError(t, err)
		return a
	}
	shown := func() *update.Assignment {
		work, err := w.Updates.Work(ctx, task.UnitID)
		require.NoError(t, err)
		return work.Action
	}
	require.Zero(t, directed().ID, "not before its owner has chosen")
	at := w.Clock.Now().Add(5 * time.Hour)
	got, err := w.Campaigns.Choose(ctx, task.OwnerID, task.ID, campaign.SetTime, at)
	require.NoError(t, err)
	require.Equal(t, campaign.Scheduled, got.State)
	a := directed()
	require.NotZero(t, a.ID)
	require.True(t, a.NotBefore.Equal(at))
	require.Nil(t, shown())

	later := at.Add(time.Hour)
	_, err = w.Campaigns.Choose(ctx, task.OwnerID, task.ID, campaign.SetTime, later)
	require.NoError(t, err)
	require.Equal(t, a.ID, directed().ID, "the same assignment")
	require.True(t, directed().NotBefore.Equal(later))
	w.Choose(task, campaign.NotNow)
	require.Zero(t, directed().ID, "a change of mind takes it back")
	_, err = w.Campaigns.Choose(ctx, task.OwnerID, task.ID, campaign.SetTime, later)
	require.NoError(t, err)

	w.Clock.Advance(later.Sub(w.Clock.Now()))
	w.Settle()
	require.Equal(t, campaign.Accepted, w.Task(task.ID).State)
	require.Equal(t, a.ID, w.Task(task.ID).AssignmentID, "one attempt")
	require.Equal(t, a.ID, shown().ID)
	w.Says(task, update.Running)
	w.Settle()
	require.Equal(t, campaign.Installing, w.Task(task.ID).State)
}

// What is to be looked at when the time comes is not told ahead.
func TestLimitsAreNotPassedByBeingAhead(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 10)
	w.Campaigns.SetAhead(func(string) bool { return true })
	c := campaigntest.Campaign(campaign.Service)
	c.MaxConcurrent = 5
	w.Started(c)
	task := w.Tasks(0)[0]
	_, err := w.Campaigns.Choose(t.Context(), task.OwnerID, task.ID, campaign.SetTime, w.Clock.Now().Add(5*time.Hour))
	require.NoError(t, err)
	a, _, err := w.Updates.Directed(t.Context(), task.UnitID)
	require.NoError(t, err)
	require.Zero(t, a.ID)
}
