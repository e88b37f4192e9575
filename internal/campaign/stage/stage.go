// Package stage says where an update stands from its owner's side, and what a
// failure means for them.
package stage

import (
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// Stage is what an owner is shown of an update: where it stands from their side.
type Stage string

// The stages, in their order. RolledBack: the unit runs what it ran before.
// SafeState: it began and was not heard of again; what it runs is not known.
// Relapsed: it is installed, and the fault has come back.
const (
	Offered     Stage = "offered"
	Snoozed     Stage = "snoozed"
	Declined    Stage = "declined"
	Scheduled   Stage = "scheduled"
	Accepted    Stage = "accepted"
	Downloading Stage = "downloading"
	Ready       Stage = "ready"
	Waiting     Stage = "waiting"
	Countdown   Stage = "countdown"
	Installing  Stage = "installing"
	Rebooting   Stage = "rebooting"
	Verifying   Stage = "verifying"
	Done        Stage = "done"
	RolledBack  Stage = "rolled_back"
	SafeState   Stage = "safe_state"
	Relapsed    Stage = "relapsed"
	Expired     Stage = "expired"
	Superseded  Stage = "superseded"
)

// Of is the stage of a task; a is its assignment (nil: none), held what
// holds it at this moment (nil: nothing), u its unit.
func Of(t *campaign.Task, a *update.Assignment, held *update.Refusal, u *fleet.Unit) Stage {
	switch t.State {
	case campaign.Snoozed:
		return Snoozed
	case campaign.Declined:
		return Declined
	case campaign.Scheduled:
		if held != nil && held.Code == campaign.CodeCountdown {
			return Countdown
		}
		return Scheduled
	case campaign.Accepted:
		if held != nil {
			return Waiting
		}
		return Accepted
	case campaign.Retrying:
		return Waiting
	case campaign.Installing:
		return underWay(a)
	case campaign.Claimed: // its client is done; the new version starts with the unit
		return Rebooting
	case campaign.Verifying:
		return Verifying
	case campaign.Verified, campaign.Unjudged:
		return Done
	case campaign.Relapsed:
		return Relapsed
	case campaign.FailedTask:
		if WhatFailed(t, a, u).Known {
			return RolledBack
		}
		return SafeState
	case campaign.Superseded:
		return Superseded
	case campaign.Expired, campaign.Withdrawn, campaign.Unreachable, campaign.Blocked:
		return Expired
	default:
		return Offered
	}
}

func underWay(a *update.Assignment) Stage {
	switch {
	case a == nil:
		return Installing
	case a.Hold.Wanted() && a.Hold.Before != "":
		return Ready
	}
	switch a.Step {
	case update.Downloading:
		return Downloading
	case update.Downloaded:
		return Ready
	case update.Rebooting:
		return Rebooting
	default:
		return Installing
	}
}

// Failure tells an owner what a failed update means: what the unit runs,
// whether it can be used, and what happens next. Words are the screens' own.
type Failure struct {
	Known   bool      `json:"known" doc:"Whether the unit has been heard of since: it runs version, as before, and can be used as before. Else its state is not known: it keeps its old software until it says otherwise."`
	Version string    `json:"version,omitempty" doc:"What the unit runs, as it said last."`
	Attempt int       `json:"attempt" doc:"Which attempt failed."`
	Next    string    `json:"next" enum:"again,looked into" doc:"again: another attempt follows at nextAt. looked into: the maker has been told and looks into it; there is nothing for the owner to do."`
	NextAt  time.Time `json:"nextAt,omitzero"`
}

// WhatFailed is what a failed attempt means.
func WhatFailed(t *campaign.Task, a *update.Assignment, u *fleet.Unit) Failure {
	f := Failure{Version: u.Versions[fleet.MainComponent], Attempt: max(1, t.Attempt), Next: "looked into"}
	// A client that says that it failed is alive, and on what it ran before; one
	// that fell silent is not known until its unit reports its versions again.
	f.Known = a == nil || a.State != update.Failed || !a.TimedOut || u.VersionAt.After(a.Ended)
	if t.State == campaign.Retrying {
		f.Next, f.NextAt = "again", t.NextAt
	}
	return f
}
