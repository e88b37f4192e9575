package campaign_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

func TestWhereAnUpdateStandsForItsOwner(t *testing.T) {
	t.Parallel()
	at := campaigntest.Start
	running := func(s update.Step) *update.Assignment { return &update.Assignment{State: update.Running, Step: s} }
	failed := func(timedOut bool) *update.Assignment {
		return &update.Assignment{State: update.Failed, Ended: at, TimedOut: timedOut}
	}
	unit := func(heard time.Time) *fleet.Unit {
		return &fleet.Unit{Versions: map[string]string{"software": "1.0.0"}, VersionAt: heard}
	}
	battery := &update.Refusal{Code: update.CodePrecondition}
	for _, c := range []struct {
		state campaign.TaskState
		a     *update.Assignment
		held  *update.Refusal
		u     *fleet.Unit
		want  campaign.Stage
	}{
		{campaign.Offered, nil, nil, nil, campaign.StageOffered},
		{campaign.Snoozed, nil, nil, nil, campaign.StageSnoozed},
		{campaign.Declined, nil, nil, nil, campaign.StageDeclined},
		{campaign.Scheduled, nil, nil, nil, campaign.StageScheduled},
		{campaign.Scheduled, nil, &update.Refusal{Code: campaign.CodeCountdown}, nil, campaign.StageCountdown},
		{campaign.Accepted, nil, nil, nil, campaign.StageAccepted},
		{campaign.Accepted, nil, battery, nil, campaign.StageWaiting},
		{campaign.Retrying, nil, nil, nil, campaign.StageWaiting},
		{campaign.Installing, running(""), nil, nil, campaign.StageInstalling},
		{campaign.Installing, running(update.Downloading), nil, nil, campaign.StageDownloading},
		{campaign.Installing, running(update.Downloaded), nil, nil, campaign.StageReady},
		{campaign.Installing, running(update.Rebooting), nil, nil, campaign.StageRebooting},
		{campaign.Claimed, running(""), nil, nil, campaign.StageRebooting},
		{campaign.Verifying, nil, nil, nil, campaign.StageVerifying},
		{campaign.Verified, nil, nil, nil, campaign.StageDone},
		{campaign.Unjudged, nil, nil, nil, campaign.StageDone},
		{campaign.Relapsed, nil, nil, nil, campaign.StageRelapsed},
		{campaign.FailedTask, failed(false), nil, unit(at.Add(-day)), campaign.StageRolledBack},
		{campaign.FailedTask, failed(true), nil, unit(at.Add(-day)), campaign.StageSafeState},
		{campaign.FailedTask, failed(true), nil, unit(at.Add(hour)), campaign.StageRolledBack},
		{campaign.Expired, nil, nil, nil, campaign.StageExpired},
		{campaign.Superseded, nil, nil, nil, campaign.StageSuperseded},
	} {
		require.Equal(t, c.want, campaign.StageOf(&campaign.Task{State: c.state}, c.a, c.held, c.u), "%s %+v", c.state, c.a)
	}
	f := campaign.FailureOf(&campaign.Task{State: campaign.Retrying, Attempt: 2, NextAt: at}, nil, unit(at))
	require.Equal(t, campaign.Failure{Known: true, Version: "1.0.0", Attempt: 2, Next: "again", NextAt: at}, f)
}
