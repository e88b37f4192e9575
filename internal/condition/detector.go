// Package condition watches units: detectors judge each unit against its
// product's tolerances and its own habit of reporting, and open and clear
// findings. Live and backtest are the same code: an Evaluator is a function of
// the stream, and time moves only by what stands in the stream.
package condition

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/condition/prognosis/spec"
	"fettle.dev/fettle/internal/fleet"
)

// DetectorType is the kind of rule.
type DetectorType string

// Tolerance judges a signal against a band by operating context; Silence finds
// units that stop reporting; Prognosis foresees failures and is not run by the
// Evaluator but by package prognosis, on history and maintenance records.
const (
	TypeTolerance DetectorType = "tolerance"
	TypeSilence   DetectorType = "silence"
	TypePrognosis DetectorType = "prognosis"
)

// Severity orders findings (X.733 perceived severity, without indeterminate).
type Severity string

// The severities, mildest first.
const (
	Warning  Severity = "warning"
	Minor    Severity = "minor"
	Major    Severity = "major"
	Critical Severity = "critical"
)

// Detector is a versioned rule, declared in a file of kind Detector. Applying
// a changed definition makes a new Version; the old one goes on only where a
// campaign has frozen it.
type Detector struct {
	Name    string `json:"-"`
	Version int    `json:"-"`
	// Basis is the tolerance as it was when this version was made; nil: as the product has it.
	Basis *Basis `json:"-"`

	Product     string       `json:"product"`
	Title       string       `json:"title,omitempty"`
	Description string       `json:"description,omitempty"`
	Type        DetectorType `json:"type" enum:"tolerance,silence,prognosis"`
	Severity    Severity     `json:"severity" enum:"warning,minor,major,critical"`
	Purpose     string       `json:"purpose" doc:"The purpose it reads data for; a unit that does not permit it is withheld."`

	// Tolerance detectors.
	Tolerance  string         `json:"tolerance,omitempty" doc:"Name of a tolerance of the product."`
	Hold       fleet.Duration `json:"hold,omitempty" doc:"How long the signal must stay outside before a finding opens, in event time (default 0: at once)."`
	Margin     float64        `json:"margin,omitempty" doc:"How far beyond the tolerance's limits counts as outside, in the signal's unit: moves every limit outwards, or inwards if negative (default 0)."`
	Hysteresis float64        `json:"hysteresis,omitempty" doc:"How far inside the band the signal must return to count as inside again, in the signal's unit."`
	Clear      fleet.Duration `json:"clear,omitempty" doc:"How long it must stay inside, in judged time, before the finding clears (default 0: at once)."`
	Exposure   string         `json:"exposure,omitempty" doc:"CEL over signals: the use that could show the fault. Its hours are counted for verification. Declared apart from the tolerance's context, so that a remedy cannot empty it. Default: always."`

	// Silence detectors.
	Factor  float64        `json:"factor,omitempty" doc:"Silent after this many times the unit's learned interval (default 4)."`
	Minimum fleet.Duration `json:"minimum,omitempty" doc:"Never sooner than this (default 10m)."`
	Maximum fleet.Duration `json:"maximum,omitempty" doc:"Never later than this, also before an interval is learned (default 7d)."`

	Prognosis *spec.Prognosis `json:"prognosis,omitempty" doc:"Of a prognosis detector: what it foresees, and from what."`
}

// Ref is name@version.
type Ref struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
}

// Ref names this version of the detector.
func (d *Detector) Ref() Ref { return Ref{d.Name, d.Version} }

// FindingState is open, cleared, or shelved (open, but out of sight until a time).
type FindingState string

// The states of a finding.
const (
	Open    FindingState = "open"
	Cleared FindingState = "cleared"
)

// Assessment is what a person found.
type Assessment string

// The assessments; empty means nobody has said.
const (
	Confirmed    Assessment = "confirmed"
	NoFaultFound Assessment = "no fault found"
)

// Finding is evidence that a unit breaches (X.733 alarm). The id is a function
// of detector, version, unit and onset: the same stream always gives the same ids.
type Finding struct {
	ID       string       `json:"id"`
	Detector Ref          `json:"detector"`
	Severity Severity     `json:"severity"`
	UnitID   string       `json:"unitId"`
	UnitKey  int64        `json:"-"`
	Product  string       `json:"product"`
	State    FindingState `json:"state"`
	Onset    time.Time    `json:"onset"`            // event time of the first sample outside (silence: last contact)
	OpenedAt time.Time    `json:"openedAt"`         // event time at which the rule was fulfilled
	SeenAt   time.Time    `json:"seenAt"`           // receive time of the row or tick that opened it
	LastAt   time.Time    `json:"lastAt"`           // event time of the latest sample outside
	Cleared  time.Time    `json:"cleared,omitzero"` // when it cleared
	Why      string       `json:"why"`              // evidence in words: signal, value, band, context
	ClearWhy string       `json:"clearWhy,omitempty"`
	Peak     float64      `json:"peak"`           // furthest value outside (silence: seconds)
	Late     bool         `json:"late,omitempty"` // opened by data that arrived out of order

	// What people made of it.
	AckBy        string     `json:"ackBy,omitempty"`
	AckAt        time.Time  `json:"ackAt,omitzero"`
	ShelvedUntil time.Time  `json:"shelvedUntil,omitzero"`
	Assessment   Assessment `json:"assessment,omitempty"`
	AssessedBy   string     `json:"assessedBy,omitempty"`
}

// Comment is a remark on a finding.
type Comment struct {
	ID        string    `json:"id"`
	FindingID string    `json:"findingId"`
	By        string    `json:"by"`
	At        time.Time `json:"at"`
	Text      string    `json:"text"`
}

// Exposure is how much judged use a unit has had under a detector since its
// state was last reset (enrolment, version report), and since when.
type Exposure struct {
	Detector Ref
	UnitKey  int64
	Since    time.Time     // receive time of the reset
	For      time.Duration // exposure collected since then
	LastAt   time.Time     // event time of the newest row judged; zero: none yet
}

// Condition is a unit's health (ISO 13374).
type Condition string

// The conditions. Unknown means that there is no data that may be looked at:
// it is never shown as normal.
const (
	Normal   Condition = "normal"
	Degraded Condition = "degraded"
	Failed   Condition = "failed"
	Silent   Condition = "silent"
	Unknown  Condition = "unknown"
)

// FindingFilter picks findings, newest OpenedAt first.
type FindingFilter struct {
	Product, UnitID, Detector string
	Version                   int // 0: any
	State                     FindingState
	Severity                  Severity
	HideShelvedAt             time.Time // leave out those shelved beyond this time
	From, To                  time.Time // overlapping [From, To): Onset < To and LastAt >= From
	Before                    string    // page: the id of the last one seen
	Limit                     int
}

// State is what an Evaluator keeps for one unit under all its detectors (unit
// 0: for the stream as a whole): an opaque, versioned encoding, and beside it
// what others read by column. Data nil means that the unit is no longer watched.
type State struct {
	UnitKey   int64
	Product   string
	JudgedAt  time.Time  // receive time of the newest row judged by a tolerance detector; zero: none since the last reset of consent
	Exposures []Exposure // nil: as told before
	Data      []byte
}

// Store keeps detectors, findings and evaluator state.
type Store interface {
	PutDetector(ctx context.Context, d Detector) (Detector, error)            // gives it its version; the same definition keeps its version
	Detector(ctx context.Context, name string, version int) (Detector, error) // version 0: the newest
	Detectors(ctx context.Context, product string) ([]Detector, error)        // newest versions
	DeleteDetector(ctx context.Context, name string) error                    // versions stay for campaigns that froze them

	// Commit saves changed findings, changed state and the position they are
	// of in one transaction, for one partition of the evaluator. Human fields
	// of a known finding are left as they are.
	Commit(ctx context.Context, partition string, seq uint64, findings []Finding, states []State) error
	// Load gives the position and all states of a partition.
	Load(ctx context.Context, partition string) (seq uint64, states []State, err error)

	// PutFindings keeps findings that do not come from the Evaluator.
	PutFindings(ctx context.Context, findings []Finding) error
	Finding(ctx context.Context, id string) (Finding, error)
	Findings(ctx context.Context, f FindingFilter) ([]Finding, error)
	CountFindings(ctx context.Context, f FindingFilter) (int, error)
	UpdateFinding(ctx context.Context, id string, change func(*Finding) error) (Finding, error)
	AddComment(ctx context.Context, c Comment) error
	Comments(ctx context.Context, findingID string) ([]Comment, error)

	// Exposures of units under a detector version (units nil: all), from the
	// last commit that told them.
	Exposures(ctx context.Context, d Ref, units []int64) ([]Exposure, error)
	PutExposures(ctx context.Context, d Ref, e []Exposure) error

	// JudgedAt is the newest State.JudgedAt of each unit (nil: all of the
	// product) by unit key; units never judged are absent.
	JudgedAt(ctx context.Context, product string, units []int64) (map[int64]time.Time, error)
	// CountConditions counts the active units of a product by condition.
	// A unit last judged before stale is unknown.
	CountConditions(ctx context.Context, product string, stale time.Time) (map[Condition]int, error)
}
