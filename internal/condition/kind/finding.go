package kind

import (
	"fmt"
	"time"
)

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

// Finding is evidence that a unit breaches (X.733 alarm), or of something that
// concerns a place. The id is a function
// of detector, version, unit and onset: the same stream always gives the same ids.
type Finding struct {
	ID       string       `json:"id"`
	Detector Ref          `json:"detector"`
	Severity Severity     `json:"severity"`
	UnitID   string       `json:"unitId"` // "": of a place
	UnitKey  int64        `json:"-"`
	Place    string       `json:"place,omitempty"` // where, as site=Oslo; "" with no unit: all units of the product
	Units    int          `json:"units,omitempty"` // of a place: how many units it is of
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

// Of names what the finding is of: its unit, or the units of its place.
func (f *Finding) Of() string {
	switch {
	case f.UnitID != "":
		return f.UnitID
	case f.Place == "":
		return fmt.Sprintf("%d units", f.Units)
	default:
		return fmt.Sprintf("%d units of %s", f.Units, f.Place)
	}
}
