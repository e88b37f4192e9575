// Package campaign turns a cohort into remedied units: waves, gates, and one
// task a unit, moved step by step by a manager that looks for what is due, so
// that a crash anywhere resumes.
package campaign

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/campaign/spec"
	"fettle.dev/fettle/internal/campaign/wave"
	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// Campaign is what is declared of one.
type Campaign = spec.Campaign

// Kind sets the owner's policy.
type Kind = spec.Kind

// Wave is a step of a campaign.
type Wave = wave.Wave

// Gate is what must hold before the next wave opens.
type Gate = spec.Gate

// Retry tries a failed installation again.
type Retry = spec.Retry

// Preferences are what an owner has set about updates.
type Preferences = spec.Preferences

// The kinds of a campaign.
const (
	Recall   = spec.Recall
	Safety   = spec.Safety
	Security = spec.Security
	Service  = spec.Service
	Feature  = spec.Feature
)

// SiteAttribute is the attribute of a unit that names where it stands.
const SiteAttribute = spec.SiteAttribute

// State of a campaign.
type State string

// The states of a campaign.
const (
	Draft    State = "draft"
	Planning State = "planning" // tasks are being made, or its time to start has not come
	Running  State = "running"
	Paused   State = "paused"
	Canceled State = "canceled"
	Finished State = "finished"
)

// Run is a campaign's life beside its declaration.
type Run struct {
	Campaign   Campaign      `json:"campaign"`
	ID         string        `json:"id"`
	State      State         `json:"state"`
	Why        string        `json:"why,omitempty"` // of the state: who paused it, which gate failed and by what
	SnapshotID string        `json:"snapshotId,omitempty"`
	Detector   condition.Ref `json:"detector"` // frozen
	WaveOpen   int           `json:"waveOpen"` // index of the last wave opened, -1 before
	WaveOpened []time.Time   `json:"waveOpened"`
	GatePassed []time.Time   `json:"gatePassed"`
	CreatedAt  time.Time     `json:"createdAt"`
	StartedAt  time.Time     `json:"startedAt,omitzero"`
	ApprovedBy string        `json:"approvedBy,omitempty"` // id of the operator who started it
	EndedAt    time.Time     `json:"endedAt,omitzero"`
	NextAt     time.Time     `json:"-"` // when the outcome is judged next

	// Judged afresh: a resumed campaign is measured from its resumption, so
	// that what an operator has looked at does not pause it at once again.
	ResumedAt time.Time `json:"resumedAt,omitzero"`
	Excused   int       `json:"excused,omitempty"` // tasks of the open wave that had failed or relapsed by then
	// ExcusedAll are those of all waves.
	ExcusedAll int `json:"excusedAll,omitempty"`
	// Looked are the outcomes of all waves at the resumption: evidence is
	// gathered anew from there.
	Looked Looked `json:"looked,omitzero"`

	// Planning goes page by page of the cohort, closing page by page of the
	// tasks; either resumes after the last that was done.
	Cuts      []uint64 `json:"cuts,omitempty"` // see wave.Draw.Cuts
	Planned   int      `json:"planned,omitempty"`
	PlannedTo string   `json:"plannedTo,omitempty"` // unit
	PlanDone  bool     `json:"planDone,omitempty"`
	Closing   bool     `json:"closing,omitempty"`
	ClosedTo  string   `json:"closedTo,omitempty"` // task

	Starts []window.Minute `json:"starts,omitempty"` // within the last hour, if there is a limit

	Joined  int       `json:"joined,omitempty"` // units that came to match since the start
	LookAt  time.Time `json:"lookAt,omitzero"`  // when units that came to match are looked for next
	LookSeq int64     `json:"lookSeq,omitempty"`
	LookFor time.Time `json:"lookFor,omitzero"` // findings from then on
	Swept   string    `json:"swept,omitempty"`  // unit that the first look, at all of them, has come to
	SweptAt time.Time `json:"sweptAt,omitzero"` // when that look ended
}

// Looked counts outcomes that an operator has looked at.
type Looked struct {
	Ended    int `json:"ended,omitempty"` // installed, or failed
	Failed   int `json:"failed,omitempty"`
	Judged   int `json:"judged,omitempty"` // verified, or relapsed
	Relapsed int `json:"relapsed,omitempty"`
}

// Open reports whether the campaign has begun and not ended.
func (r *Run) Open() bool { return r.State == Planning || r.State == Running || r.State == Paused }

// Comparable reports whether a task's wave was given by lot at the start, so
// that it may be compared with other waves.
func (r *Run) Comparable(t *Task) bool {
	return t.JoinedAt.IsZero() && t.Wave >= 0 && t.Wave < len(r.Campaign.Waves) && r.Campaign.Waves[t.Wave].Random()
}

// Last reports whether the last wave is open.
func (r *Run) Last() bool { return r.WaveOpen == len(r.Campaign.Waves)-1 }

// TaskState is one unit's remedy as owner-experience.md names it.
type TaskState string

// The states of a task. Installed ends only where
// nothing can be judged; an end is an Outcome.
const (
	Planned     TaskState = "planned"    // its wave is not open
	Blocked     TaskState = "blocked"    // the release does not fit or a guard refuses: Why says
	Offered     TaskState = "offered"    // the owner has been told and has not chosen
	Scheduled   TaskState = "scheduled"  // the owner set a time
	Snoozed     TaskState = "snoozed"    // the owner said not now
	Accepted    TaskState = "accepted"   // the unit may fetch it now
	Installing  TaskState = "installing" // the unit has begun
	Claimed     TaskState = "claimed"    // the unit's client says it succeeded
	Verifying   TaskState = "verifying"  // the new version is reported; exposure is being collected
	Verified    TaskState = "verified"
	Relapsed    TaskState = "relapsed"
	Unjudged    TaskState = "not judgeable" // installed, but no consent or silent
	Declined    TaskState = "declined"
	FailedTask  TaskState = "failed"
	Expired     TaskState = "expired"
	Withdrawn   TaskState = "canceled"
	Unreachable TaskState = "unreachable"
	Superseded  TaskState = "superseded" // a newer campaign has another release for the same component
	Retrying    TaskState = "retrying"   // an attempt failed; another follows
)

// Busy are the states in which a task holds its unit: another campaign waits.
var Busy = []TaskState{Offered, Scheduled, Snoozed, Accepted, Installing, Claimed, Retrying}

// Queue says what a task waits for that is handed out in turn.
type Queue int

// The queues.
const (
	NotQueued  Queue = iota
	QueueOffer       // its wave
	QueueStart       // a place among those that may begin
)

// Task is one unit's remedy.
type Task struct {
	ID           string          `json:"id"`
	CampaignID   string          `json:"campaignId"`
	Campaign     string          `json:"campaign"`
	UnitID       string          `json:"unitId"`
	UnitKey      int64           `json:"-"`
	OwnerID      string          `json:"ownerId,omitempty"`
	Wave         int             `json:"wave"`
	State        TaskState       `json:"state"`
	Why          string          `json:"why,omitempty"`
	Refusal      *update.Refusal `json:"refusal,omitempty" doc:"What it waits for, or why it is blocked: a code, and the data of the sentence."`
	AssignmentID int64           `json:"assignmentId,omitempty"`
	Attempt      int             `json:"attempt,omitempty" doc:"Number of the attempt; each has an action id of its own."`
	JoinedAt     time.Time       `json:"joinedAt,omitzero" doc:"When it joined a campaign that was running; absent for those it began with."`
	JoinedWhy    string          `json:"joinedWhy,omitempty"`
	At           time.Time       `json:"at,omitzero"` // the owner's time, when scheduled; until when, when snoozed
	Deadline     time.Time       `json:"deadline,omitzero"`
	OfferedAt    time.Time       `json:"offeredAt,omitzero"`
	AcceptedAt   time.Time       `json:"acceptedAt,omitzero"`
	StartedAt    time.Time       `json:"startedAt,omitzero"`
	ClaimedAt    time.Time       `json:"claimedAt,omitzero"`
	InstalledAt  time.Time       `json:"installedAt,omitzero"`
	EndedAt      time.Time       `json:"endedAt,omitzero"`
	FoundAt      time.Time       `json:"foundAt,omitzero"` // OpenedAt of the unit's earliest finding of the detector, if any
	NextAt       time.Time       `json:"-"`
	SeenAt       time.Time       `json:"-"` // Updated of the assignment as last looked at
	Queue        Queue           `json:"-"`
	Reminded     int             `json:"reminded,omitempty" doc:"Reminders that could be seen: delivered, not at night, and not answered by not now."`
	Nudges       int             `json:"nudges,omitempty" hidden:"true"` // notices of the kind told, counted or not
	Told         string          `json:"told,omitempty" hidden:"true"`   // key of a reminder that is not counted yet
	Round        int             `json:"round,omitempty" doc:"Times that it was offered anew after it expired."`
	Handed       int             `json:"handed,omitempty" hidden:"true"` // times that the unit went to another owner, who was asked anew
	Done         int             `json:"done,omitempty"`                 // progress of the installation
	Of           int             `json:"of,omitempty"`
	Details      []string        `json:"details,omitempty"` // the client's last words
	Updated      time.Time       `json:"updated"`
}

// Over reports whether the task has come to an end that nothing but a relapse changes.
func (t *Task) Over() bool {
	switch t.State {
	case Blocked, Verified, Relapsed, Unjudged, Declined, FailedTask, Expired, Withdrawn, Unreachable, Superseded:
		return true
	default:
		return false
	}
}

// Choice is what an owner may say to an offer.
type Choice string

// The choices. Tonight is 02:00 next in the owner's time zone.
const (
	StartNow Choice = "now"
	Tonight  Choice = "tonight"
	SetTime  Choice = "at"
	NotNow   Choice = "not now"
	Decline  Choice = "decline"
)

// TaskFilter picks tasks, by id.
type TaskFilter struct {
	CampaignID, UnitID, OwnerID string
	States                      []TaskState
	Code                        update.Code // of the refusal
	Unassigned                  bool        // only those without an assignment
	Wave                        int         // -1: any
	After                       string
	Limit                       int
}

// Count is a number of tasks of a wave in a state.
type Count struct {
	Wave  int       `json:"wave"`
	State TaskState `json:"state"`
	N     int       `json:"n"`
}

// CodeCount is a number of tasks that a refusal holds, by its code.
type CodeCount struct {
	Code  update.Code `json:"code"`
	State TaskState   `json:"state"`
	N     int         `json:"n"`
}

// Member is a member of a cohort with what is known of its unit.
type Member struct {
	Unit      fleet.Unit // ID and Key alone where it is not known any more
	Known     bool
	FoundAt   time.Time // when its earliest finding of the detector opened, if any
	Busy      string    // campaign that works on it, if it was asked for
	FindingID string    // of FoundSince
	Why       string    // of that finding
}

// MemberQuery picks members that are in a snapshot, by unit.
type MemberQuery struct {
	Snapshot string
	Detector string // for FoundAt
	Except   string // if set, Busy is looked for in other campaigns than this (id)
	After    string
	To       string // not after this unit, if set
	Limit    int
}

// Store keeps campaigns and tasks.
type Store interface {
	PutCampaign(ctx context.Context, c Campaign) error // only while draft
	Campaign(ctx context.Context, name string) (Run, error)
	CampaignByID(ctx context.Context, id string) (Run, error)
	Campaigns(ctx context.Context, product string) ([]Run, error)
	Active(ctx context.Context) ([]Run, error) // those that are open or closing
	UpdateCampaign(ctx context.Context, name string, change func(*Run) error) (Run, error)
	DeleteCampaign(ctx context.Context, name string) error // only draft, canceled, finished

	Members(ctx context.Context, q MemberQuery) ([]Member, error)
	AddTasks(ctx context.Context, t []Task) error  // known (campaign, unit) pairs are left
	SaveTasks(ctx context.Context, t []Task) error // in few statements; for a caller who has locked the campaign
	Task(ctx context.Context, id string) (Task, error)
	Tasks(ctx context.Context, f TaskFilter) ([]Task, error)
	CountTasks(ctx context.Context, campaignID string) ([]Count, error)
	CountCodes(ctx context.Context, campaignID string) ([]CodeCount, error)
	UpdateTask(ctx context.Context, id string, change func(*Task) error) (Task, error)

	// DueTasks are those of a campaign whose NextAt is set and not after now, soonest first.
	DueTasks(ctx context.Context, campaignID string, now time.Time, limit int) ([]Task, error)
	// QueuedTasks are the first in a queue, of waves up to one.
	QueuedTasks(ctx context.Context, campaignID string, q Queue, wave, limit int) ([]Task, error)
	// UnderWay counts the tasks whose units have the update at hand.
	UnderWay(ctx context.Context, campaignID string) (int, error)
	// StaleTasks are those whose assignment was updated after their SeenAt.
	StaleTasks(ctx context.Context, after string, limit int) ([]Task, error)

	// Watch begins or ends noting a product's units that change.
	Watch(ctx context.Context, campaignID, product string, on bool) error
	// ChangedUnits are those noted after a number, in order, and the number of the last; some may come twice.
	ChangedUnits(ctx context.Context, product string, after int64, limit int) ([]fleet.Unit, int64, error)
	// FoundSince are the units of findings of a detector that opened since, by time, after a finding's id.
	FoundSince(ctx context.Context, product, detector string, since time.Time, after string, limit int) ([]Member, error)

	PutPreferences(ctx context.Context, ownerID string, p Preferences) error
	Preferences(ctx context.Context, ownerID string) (Preferences, error) // fault.NotFound if never set
}
