// Package cohort answers "who else?": a definition, evaluated over history and
// attributes, and the frozen membership it gave, each member with its reason.
package cohort

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
)

// Definition says who belongs. Evidence and Attributes may both be set: then a
// unit is in by either (safety, recall), or by both where Match is "all".
type Definition struct {
	Name        string      `json:"name"`
	Product     string      `json:"product"`
	Description string      `json:"description,omitempty"`
	FindingID   string      `json:"findingId,omitempty"` // the finding it started from
	Evidence    *Evidence   `json:"evidence,omitempty"`
	Attributes  *Attributes `json:"attributes,omitempty"`
	Match       string      `json:"match,omitempty" enum:"any,all" doc:"any (default): evidence or attributes; all: both."`
}

// Evidence is a condition over a time range: units for which the detector
// version opens a finding on history of the range, run from fresh state.
type Evidence struct {
	Detector    condition.Ref  `json:"detector"`
	From        time.Time      `json:"from"`
	To          time.Time      `json:"to"`
	MinExposure fleet.Duration `json:"minExposure" doc:"A unit with less exposure and no finding cannot be judged."`
}

// Attributes match units by what is known of them; empty fields match all.
// Each lists values of which one must match.
type Attributes struct {
	Hardware []string            `json:"hardware,omitempty"`
	Batch    []string            `json:"batch,omitempty"`
	Region   []string            `json:"region,omitempty"`
	Version  []string            `json:"version,omitempty"`
	Versions map[string][]string `json:"versions,omitempty" doc:"Of components, by name; a parameter is the component parameter:NAME, a feature feature:NAME."`
	Other    map[string][]string `json:"other,omitempty"`
}

// List is where a member stands.
type List string

// The three lists.
const (
	In           List = "in"
	Out          List = "out"
	NotJudgeable List = "not judgeable"
)

// Member is one unit and the reason it stands where it does.
type Member struct {
	UnitID   string        `json:"unitId"`
	UnitKey  int64         `json:"-"`
	List     List          `json:"list"`
	Code     string        `json:"code"`   // evidence, attributes, no evidence, no consent, silent, too little data
	Reason   string        `json:"reason"` // a sentence
	Exposure time.Duration `json:"exposure"`
}

// Snapshot is a frozen membership: the same definition over the stream up to
// Position gives the same members.
type Snapshot struct {
	ID           string     `json:"id"`
	Definition   Definition `json:"definition"`
	Position     uint64     `json:"position"`
	At           time.Time  `json:"at"`
	In           int        `json:"in"`
	Out          int        `json:"out"`
	NotJudgeable int        `json:"notJudgeable"`
	State        string     `json:"state" enum:"computing,ready,failed"`
	Done         float64    `json:"done"` // share computed, 0 to 1
	Error        string     `json:"error,omitempty"`
	By           string     `json:"by"`
}

// Store keeps snapshots.
type Store interface {
	PutSnapshot(ctx context.Context, s Snapshot) error
	PutMembers(ctx context.Context, snapshotID string, m []Member) error
	Snapshot(ctx context.Context, id string) (Snapshot, error)
	Snapshots(ctx context.Context, product string) ([]Snapshot, error)                                    // newest first, without members
	SnapshotByName(ctx context.Context, name string) (Snapshot, error)                                    // newest of that name
	Members(ctx context.Context, snapshotID string, list List, after string, limit int) ([]Member, error) // by unit id
	DeleteSnapshot(ctx context.Context, id string) error
}
