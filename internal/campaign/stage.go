package campaign

import (
	"time"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// Stage is what an owner is shown of an update: where it stands from their side.
type Stage string

// The stages, in their order. RolledBack: the unit runs what it ran before.
// SafeState: it began and was not heard of again; what it runs is not known.
// Relapsed: it is installed, and the fault has come back.
const (
	StageOffered     Stage = "offered"
	StageSnoozed     Stage = "snoozed"
	StageDeclined    Stage = "declined"
	StageScheduled   Stage = "scheduled"
	StageAccepted    Stage = "accepted"
	StageDownloading Stage = "downloading"
	StageReady       Stage = "ready"
	StageWaiting     Stage = "waiting"
	StageCountdown   Stage = "countdown"
	StageInstalling  Stage = "installing"
	StageRebooting   Stage = "rebooting"
	StageVerifying   Stage = "verifying"
	StageDone        Stage = "done"
	StageRolledBack  Stage = "rolled_back"
	StageSafeState   Stage = "safe_state"
	StageRelapsed    Stage = "relapsed"
	StageExpired     Stage = "expired"
	StageSuperseded  Stage = "superseded"
)

// StageOf is the stage of a task; a is its assignment (nil: none), held what
// holds it at this moment (nil: nothing), u its unit.
func StageOf(t *Task, a *update.Assignment, held *update.Refusal, u *fleet.Unit) Stage {
	switch t.State {
	case Snoozed:
		return StageSnoozed
	case Declined:
		return StageDeclined
	case Scheduled:
		if held != nil && held.Code == CodeCountdown {
			return StageCountdown
		}
		return StageScheduled
	case Accepted:
		if held != nil {
			return StageWaiting
		}
		return StageAccepted
	case Retrying:
		return StageWaiting
	case Installing:
		return underWay(a)
	case Claimed: // its client is done; the new version starts with the unit
		return StageRebooting
	case Verifying:
		return StageVerifying
	case Verified, Unjudged:
		return StageDone
	case Relapsed:
		return StageRelapsed
	case FailedTask:
		if FailureOf(t, a, u).Known {
			return StageRolledBack
		}
		return StageSafeState
	case Superseded:
		return StageSuperseded
	case Expired, Withdrawn, Unreachable, Blocked:
		return StageExpired
	default:
		return StageOffered
	}
}

func underWay(a *update.Assignment) Stage {
	switch {
	case a == nil:
		return StageInstalling
	case a.Hold.Wanted() && a.Hold.Before != "":
		return StageReady
	}
	switch a.Step {
	case update.Downloading:
		return StageDownloading
	case update.Downloaded:
		return StageReady
	case update.Rebooting:
		return StageRebooting
	default:
		return StageInstalling
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

// FailureOf is what a failed attempt means.
func FailureOf(t *Task, a *update.Assignment, u *fleet.Unit) Failure {
	f := Failure{Version: u.Versions[fleet.MainComponent], Attempt: max(1, t.Attempt), Next: "looked into"}
	// A client that says that it failed is alive, and on what it ran before; one
	// that fell silent is not known until its unit reports its versions again.
	f.Known = a == nil || a.State != update.Failed || !a.TimedOut || u.VersionAt.After(a.Ended)
	if t.State == Retrying {
		f.Next, f.NextAt = "again", t.NextAt
	}
	return f
}
