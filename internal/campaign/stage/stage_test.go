package stage_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/campaign/stage"
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
		want  stage.Stage
	}{
		{campaign.Offered, nil, nil, nil, stage.Offered},
		{campaign.Snoozed, nil, nil, nil, stage.Snoozed},
		{campaign.Declined, nil, nil, nil, stage.Declined},
		{campaign.Scheduled, nil, nil, nil, stage.Scheduled},
		{campaign.Scheduled, nil, &update.Refusal{Code: campaign.CodeCountdown}, nil, stage.Countdown},
		{campaign.Accepted, nil, nil, nil, stage.Accepted},
		{campaign.Accepted, nil, battery, nil, stage.Waiting},
		{campaign.Retrying, nil, nil, nil, stage.Waiting},
		{campaign.Installing, running(""), nil, nil, stage.Installing},
		{campaign.Installing, running(update.Downloading), nil, nil, stage.Downloading},
		{campaign.Installing, running(update.Downloaded), nil, nil, stage.Ready},
		{campaign.Installing, running(update.Rebooting), nil, nil, stage.Rebooting},
		{campaign.Claimed, running(""), nil, nil, stage.Rebooting},
		{campaign.Verifying, nil, nil, nil, stage.Verifying},
		{campaign.Verified, nil, nil, nil, stage.Done},
		{campaign.Unjudged, nil, nil, nil, stage.Done},
		{campaign.Relapsed, nil, nil, nil, stage.Relapsed},
		{campaign.FailedTask, failed(false), nil, unit(at.Add(-24 * time.Hour)), stage.RolledBack},
		{campaign.FailedTask, failed(true), nil, unit(at.Add(-24 * time.Hour)), stage.SafeState},
		{campaign.FailedTask, failed(true), nil, unit(at.Add(time.Hour)), stage.RolledBack},
		{campaign.Expired, nil, nil, nil, stage.Expired},
		{campaign.Superseded, nil, nil, nil, stage.Superseded},
	} {
		require.Equal(t, c.want, stage.Of(&campaign.Task{State: c.state}, c.a, c.held, c.u), "%s %+v", c.state, c.a)
	}
	f := stage.WhatFailed(&campaign.Task{State: campaign.Retrying, Attempt: 2, NextAt: at}, nil, unit(at))
	require.Equal(t, stage.Failure{Known: true, Version: "1.0.0", Attempt: 2, Next: "again", NextAt: at}, f)
}
