// Package condition watches units: detectors judge each unit against its
// product's tolerances and its own habit of reporting, and open and clear
// findings. Live and backtest are the same code: an Evaluator is a function of
// the stream, and time moves only by what stands in the stream.
package condition

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/condition/kind"
)

// DetectorType is the kind of rule.
type DetectorType = kind.Type

// Severity orders findings.
type Severity = kind.Severity

// Detector is a versioned rule.
type Detector = kind.Detector

// Basis is what a detector version takes from its product.
type Basis = kind.Basis

// Ref is name@version.
type Ref = kind.Ref

// Finding is evidence that a unit breaches, or of something that concerns a place.
type Finding = kind.Finding

// FindingState is open or cleared.
type FindingState = kind.FindingState

// Assessment is what a person found.
type Assessment = kind.Assessment

// See package kind.
const (
	TypeTolerance = kind.TypeTolerance
	TypeSilence   = kind.TypeSilence
	TypeTrend     = kind.TypeTrend
	TypePeers     = kind.TypePeers
	TypePrognosis = kind.TypePrognosis
	TypeAnomaly   = kind.TypeAnomaly

	Warning  = kind.Warning
	Minor    = kind.Minor
	Major    = kind.Major
	Critical = kind.Critical

	Open    = kind.Open
	Cleared = kind.Cleared

	Confirmed    = kind.Confirmed
	NoFaultFound = kind.NoFaultFound
)

// FindingID is the id of the finding of a detector version on a unit with an
// onset: the same stream always gives the same.
func FindingID(d Ref, unit, onset int64) string { return kind.FindingID(d, unit, onset) }

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
	UnitIDs                   []string // nil: any
	Version                   int      // 0: any
	State                     FindingState
	Severity                  Severity
	Assessment                Assessment // "": any, said or not
	HideShelvedAt             time.Time  // leave out those shelved beyond this time
	From, To                  time.Time  // overlapping [From, To): Onset < To and LastAt >= From
	Before                    string     // page: the id of the last one seen
	Limit                     int
}

// State is what an Evaluator keeps for one unit under all its detectors (unit
// 0: for the stream as a whole): an opaque, versioned encoding, and beside it
// what others read by column. Data nil means that the unit is no longer watched.
type State struct {
	UnitKey   int64
	Product   string
	JudgedAt  time.Time  // receive time of the newest row judged by a tolerance detector; zero: none since the last reset of consent
	SilentAt  time.Time  // since when it is silent under some detector; zero: it is not
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
	// Load gives the position of a partition, and its states, as of one moment:
	// some after others, that of the stream (key 0) among the first.
	Load(ctx context.Context, partition string, each func(ctx context.Context, states []State) error) (seq uint64, err error)
	// Kept is the states of units, by key; those without are absent.
	Kept(ctx context.Context, partition string, units []int64) (map[int64][]byte, error)

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
	// SilentAt is State.SilentAt of units in the same way; those that are not silent are absent.
	SilentAt(ctx context.Context, product string, units []int64) (map[int64]time.Time, error)
	// CountConditions counts the active units of a product by condition.
	// A unit last judged before stale is unknown.
	CountConditions(ctx context.Context, product string, stale time.Time) (map[Condition]int, error)
}
