// Package update holds signed software and its way onto units: artifacts,
// releases, and the assignment of a release to a unit with its progress. It
// knows neither campaigns nor owners: whoever assigns says when the unit may
// be offered the deployment.
package update

import (
	"cmp"
	"context"
	"io"
	"time"
)

// Artifact is bytes known by their hashes.
type Artifact struct {
	SHA256   string    `json:"sha256"` // hex; its name
	SHA1     string    `json:"sha1"`
	MD5      string    `json:"md5"`
	Size     int64     `json:"size"`
	Filename string    `json:"filename"`        // of the last upload; a release says its own
	First    string    `json:"first,omitempty"` // of the first, where another followed
	At       time.Time `json:"at"`
}

// Named is the artifact under the name that a release gives it. One that gives
// none was declared before releases did: it keeps the name from then.
func (a Artifact) Named(name string) Artifact {
	a.Filename = cmp.Or(name, a.First, a.Filename)
	return a
}

// AssignmentState is where one unit's update stands, as its client says.
type AssignmentState string

// Withheld: not offered to the unit yet. Offered: the unit's next poll shows
// it. Running: the client has begun. Claimed: the client says it succeeded.
// Installed: the unit has reported the new version.
const (
	Withheld  AssignmentState = "withheld"
	Offered   AssignmentState = "offered"
	Running   AssignmentState = "running"
	Claimed   AssignmentState = "claimed"
	Installed AssignmentState = "installed"
	Failed    AssignmentState = "failed"
	Canceling AssignmentState = "canceling" // the unit must still agree
	Canceled  AssignmentState = "canceled"
)

// Assignment is one release for one unit. ID is the action id on the wire:
// 1 to 2^31-1, given once.
type Assignment struct {
	ID        int64           `json:"id"`
	UnitID    string          `json:"unitId"`
	Release   string          `json:"release"`
	Ref       string          `json:"ref"` // whose it is: the campaign task's id; at most one assignment a ref
	State     AssignmentState `json:"state"`
	NotBefore time.Time       `json:"notBefore,omitzero"` // offered from then on; zero while withheld
	Details   []string        `json:"details,omitempty"`  // the client's words, latest last, bounded
	Done, Of  int             `json:"-"`                  // progress
	Step      Step            `json:"step,omitempty"`     // how far the client says it is, while it runs; never back
	Hold      Hold            `json:"hold,omitzero"`
	Manner    *Manner         `json:"manner,omitempty"` // of a bench unit; nil: as usual
	Created   time.Time       `json:"created"`
	Offered   time.Time       `json:"offered,omitzero"`
	Started   time.Time       `json:"started,omitzero"`
	Claimed   time.Time       `json:"claimed,omitzero"`
	Installed time.Time       `json:"installed,omitzero"`
	Ended     time.Time       `json:"ended,omitzero"`     // failed or canceled
	TimedOut  bool            `json:"timedOut,omitempty"` // failed since its unit fell silent
	Updated   time.Time       `json:"updated"`

	// Waiting is why an assignment that is offered and due is not shown to its unit; nil: it is.
	Waiting *Refusal `json:"waiting,omitempty"`
	Origin  Origin   `json:"origin,omitzero"`
	// Parts is what the unit has of a release of several parts, as it last reported; none before it began.
	Parts []PartState `json:"parts,omitempty"`
}

// Origin is what an assignment was made for, for the register.
type Origin struct {
	Campaign   string    `json:"campaign,omitempty"`
	ApprovedBy string    `json:"approvedBy,omitempty"` // id of the operator who started it, never a name or address
	ApprovedAt time.Time `json:"approvedAt,omitzero"`
}

// Over reports whether nothing more can come of it.
func (a *Assignment) Over() bool {
	return a.State == Installed || a.State == Failed || a.State == Canceled
}

// Begun reports whether the unit has taken it up: then an owner's change of
// mind comes too late.
func (a *Assignment) Begun() bool { return a.State != Withheld && a.State != Offered }

// Due reports whether the unit may see the deployment at now.
func (a *Assignment) Due(now time.Time) bool {
	return a.State == Running || a.State == Offered && !now.Before(a.NotBefore)
}

// Feedback is what a unit says about its assignment, in our words.
type Feedback struct {
	State    AssignmentState // Running, Claimed, Failed, Canceled
	Done, Of int
	Details  []string
	Refused  bool   // of a cancel: the unit will not stop
	Before   string // the step that the unit waits before, as its owner asked; "": it waits for nothing
	Step     Step   // "": the client does not say
}

// Step is what a client does with an update that it has begun.
type Step string

// The steps, in order.
const (
	Downloading Step = "downloading"
	Downloaded  Step = "downloaded"
	Installing  Step = "installing"
	Rebooting   Step = "rebooting"
)

var stepOrder = map[Step]int{Downloading: 1, Downloaded: 2, Installing: 3, Rebooting: 4}

// reach notes a step, if it is further than the one before.
func (a *Assignment) reach(s Step) {
	if stepOrder[s] > stepOrder[a.Step] {
		a.Step = s
	}
}

// Store keeps releases, artifacts and assignments.
type Store interface {
	PutRelease(ctx context.Context, r Release) error
	Release(ctx context.Context, name string) (Release, error)
	Releases(ctx context.Context, product string) ([]Release, error)
	DeleteRelease(ctx context.Context, name string) error
	PutArtifact(ctx context.Context, a Artifact) error
	Artifact(ctx context.Context, sha256 string) (Artifact, error)

	// Assign gives the one assignment of a.Ref, made now if there is none.
	Assign(ctx context.Context, a Assignment) (Assignment, error)
	Assignment(ctx context.Context, id int64) (Assignment, error)
	AssignmentByRef(ctx context.Context, ref string) (Assignment, error)
	// Current is the unit's one assignment that is not ended, oldest first; fault.NotFound without.
	Current(ctx context.Context, unitID string) (Assignment, error)
	UpdateAssignment(ctx context.Context, id int64, change func(*Assignment) error) (Assignment, error)
	// ChangedSince lists assignments updated at or after t, by Updated then ID.
	ChangedSince(ctx context.Context, t time.Time, limit int) ([]Assignment, error)
	// OfUnit lists a unit's assignments, newest first.
	OfUnit(ctx context.Context, unitID string, limit int) ([]Assignment, error)
	// Unended calls fn for every assignment that is not ended.
	Unended(ctx context.Context, fn func(Assignment) error) error
	// UnitsKnown calls fn for every unit that has, or had, an assignment.
	UnitsKnown(ctx context.Context, fn func(unitID string)) error
	// ReleaseInUse reports whether an assignment that is not ended is of the release.
	ReleaseInUse(ctx context.Context, name string) (bool, error)

	// Attributes are what a unit's update client says of itself.
	PutAttributes(ctx context.Context, unitID string, a map[string]string) error
	DropAttributes(ctx context.Context, unitID string) error                  // none is no error
	Attributes(ctx context.Context, unitID string) (map[string]string, error) // empty if it never said
	AttributesKnown(ctx context.Context, fn func(unitID string)) error        // units that have said
}

// Blobs keeps artifact bytes by sha256.
type Blobs interface {
	Put(ctx context.Context, sha256 string, r io.Reader) error
	// Open gives a seekable reader of the bytes.
	Open(ctx context.Context, sha256 string) (io.ReadSeekCloser, error)
	Exists(ctx context.Context, sha256 string) (bool, error)
	Delete(ctx context.Context, sha256 string) error
	List(ctx context.Context, fn func(sha256 string, size int64) error) error
}
