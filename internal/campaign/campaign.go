// Package campaign turns a cohort into remedied units: waves, gates, and one
// task a unit, moved step by step by a manager that looks for what is due, so
// that a crash anywhere resumes.
package campaign

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
)

// Kind sets the owner's policy.
type Kind string

// The kinds of a campaign.
const (
	Recall   Kind = "recall"
	Safety   Kind = "safety"
	Security Kind = "security"
	Service  Kind = "service"
	Feature  Kind = "feature"
)

// Campaign is declared in a file of kind Campaign.
type Campaign struct {
	Name string `json:"-"`

	Product  string            `json:"product"`
	Kind     Kind              `json:"kind" enum:"recall,safety,security,service,feature"`
	Title    map[string]string `json:"title" doc:"For owners, by language."`
	Reason   map[string]string `json:"reason" doc:"Why, in plain words for owners, by language."`
	Cohort   string            `json:"cohort" doc:"Name of a cohort; its newest snapshot is frozen at the start."`
	Release  string            `json:"release"`
	Detector string            `json:"detector" doc:"Verifies the remedy; its version is frozen at the start."`
	Waves    []Wave            `json:"waves"`
	Gate     Gate              `json:"gate"`
	Exposure fleet.Duration    `json:"exposure" doc:"Exposure a unit must show, quiet, after the remedy to be verified."`
	Window   fleet.Duration    `json:"window,omitempty" doc:"Window before each gate over which offered and not yet offered waves are compared (default: the gate's soak)."`
	Deadline fleet.Duration    `json:"deadline" doc:"How long owners may postpone, from the offer."`
	Remind   fleet.Duration    `json:"remind,omitempty" doc:"Time between reminders (default 7d)."`
	Seed     int64             `json:"seed,omitempty" doc:"Of the random assignment to waves (default: from the campaign's id)."`

	DownloadRate     int64 `json:"downloadRate,omitempty" doc:"Bytes a second that all its units fetch together (default: no limit)."`
	SiteDownloadRate int64 `json:"siteDownloadRate,omitempty" doc:"Bytes a second that its units at one site fetch together (default: no limit). A site is what a unit's attribute site says, else the address that it comes from."`
}

// Wave is a step: a share of the cohort, drawn at random. The last wave takes the rest.
type Wave struct {
	Name  string  `json:"name"`
	Share float64 `json:"share" doc:"Of the whole cohort, 0 to 1."`
}

// Gate is what must hold before the next wave opens. Shares are of the wave's
// tasks that could be judged; only verified counts as success.
type Gate struct {
	Soak        fleet.Duration `json:"soak" doc:"At least this long after the wave opened."`
	Verified    float64        `json:"verified" doc:"Least share verified, of verified, relapsed and failed."`
	MinVerified int            `json:"minVerified,omitempty" doc:"Least number verified (default 1)."`
	Failed      float64        `json:"failed" doc:"Most share failed, of those begun: above it the campaign pauses."`
	Relapsed    float64        `json:"relapsed" doc:"Most share relapsed, of verified and relapsed: above it the campaign pauses."`
	MinJudged   int            `json:"minJudged,omitempty" doc:"Units that must be judged before a share can pause the campaign (default 5)."`
	MaxWait     fleet.Duration `json:"maxWait,omitempty" doc:"If the gate has neither held nor failed after this long, the campaign pauses and says what is missing (default 30d)."`
}

// State of a campaign.
type State string

// The states of a campaign.
const (
	Draft    State = "draft"
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
	EndedAt    time.Time     `json:"endedAt,omitzero"`
	NextAt     time.Time     `json:"-"` // when the outcome is judged next

	// Judged afresh: a resumed campaign is measured from its resumption, so
	// that what an operator has looked at does not pause it at once again.
	ResumedAt time.Time `json:"resumedAt,omitzero"`
	Excused   int       `json:"excused,omitempty"` // tasks of the open wave that had failed or relapsed by then
	// ExcusedAll are those of all waves.
	ExcusedAll int `json:"excusedAll,omitempty"`
}

// Open reports whether the campaign has begun and not ended.
func (r *Run) Open() bool { return r.State == Running || r.State == Paused }

// Last reports whether the last wave is open.
func (r *Run) Last() bool { return r.WaveOpen == len(r.Campaign.Waves)-1 }

// TaskState is one unit's remedy as owner-experience.md names it.
type TaskState string

// The states of a task. The last six are ends, but Installed ends only where
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
)

// Task is one unit's remedy.
type Task struct {
	ID           string    `json:"id"`
	CampaignID   string    `json:"campaignId"`
	Campaign     string    `json:"campaign"`
	UnitID       string    `json:"unitId"`
	UnitKey      int64     `json:"-"`
	OwnerID      string    `json:"ownerId,omitempty"`
	Wave         int       `json:"wave"`
	State        TaskState `json:"state"`
	Why          string    `json:"why,omitempty"`
	AssignmentID int64     `json:"assignmentId,omitempty"`
	At           time.Time `json:"at,omitzero"` // the owner's time, when scheduled; until when, when snoozed
	Deadline     time.Time `json:"deadline,omitzero"`
	OfferedAt    time.Time `json:"offeredAt,omitzero"`
	AcceptedAt   time.Time `json:"acceptedAt,omitzero"`
	StartedAt    time.Time `json:"startedAt,omitzero"`
	ClaimedAt    time.Time `json:"claimedAt,omitzero"`
	InstalledAt  time.Time `json:"installedAt,omitzero"`
	EndedAt      time.Time `json:"endedAt,omitzero"`
	FoundAt      time.Time `json:"foundAt,omitzero"` // OpenedAt of the unit's earliest finding of the detector, if any
	NextAt       time.Time `json:"-"`
	SeenAt       time.Time `json:"-"` // Updated of the assignment as last looked at
	Reminded     int       `json:"reminded,omitempty"`
	Handed       int       `json:"handed,omitempty" hidden:"true"` // times that the unit went to another owner, who was asked anew
	Done         int       `json:"done,omitempty"`                 // progress of the installation
	Of           int       `json:"of,omitempty"`
	Details      []string  `json:"details,omitempty"` // the client's last words
	Updated      time.Time `json:"updated"`
}

// Over reports whether the task has come to an end that nothing but a relapse changes.
func (t *Task) Over() bool {
	switch t.State {
	case Blocked, Verified, Relapsed, Unjudged, Declined, FailedTask, Expired, Withdrawn, Unreachable:
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
	Wave                        int       // -1: any
	DueAt                       time.Time // NextAt set and not after this
	After                       string
	Limit                       int
}

// Count is a number of tasks of a wave in a state.
type Count struct {
	Wave  int       `json:"wave"`
	State TaskState `json:"state"`
	N     int       `json:"n"`
}

// Store keeps campaigns and tasks.
type Store interface {
	PutCampaign(ctx context.Context, c Campaign) error // only while draft
	Campaign(ctx context.Context, name string) (Run, error)
	CampaignByID(ctx context.Context, id string) (Run, error)
	Campaigns(ctx context.Context, product string) ([]Run, error)
	UpdateCampaign(ctx context.Context, name string, change func(*Run) error) (Run, error)
	DeleteCampaign(ctx context.Context, name string) error // only draft, canceled, finished

	AddTasks(ctx context.Context, t []Task) error // known (campaign, unit) pairs are left
	Task(ctx context.Context, id string) (Task, error)
	Tasks(ctx context.Context, f TaskFilter) ([]Task, error)
	CountTasks(ctx context.Context, campaignID string) ([]Count, error)
	UpdateTask(ctx context.Context, id string, change func(*Task) error) (Task, error)

	// DueTasks are those of running campaigns whose NextAt is set and not after now, soonest first.
	DueTasks(ctx context.Context, now time.Time, limit int) ([]Task, error)
	// StaleTasks are those whose assignment was updated after their SeenAt.
	StaleTasks(ctx context.Context, after string, limit int) ([]Task, error)
	// WakeTasks sets NextAt of a campaign's tasks in the states; wave -1: any.
	WakeTasks(ctx context.Context, campaignID string, wave int, states []TaskState, at time.Time) error
	// UnitsBusy are the units with a task of another campaign that is under way.
	UnitsBusy(ctx context.Context, product, except string) (map[string]string, error)
}
