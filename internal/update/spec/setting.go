package spec

import "time"

// Setting is the value that a unit is told to have of a parameter or feature.
type Setting struct {
	UnitID     string    `json:"unitId"`
	Component  string    `json:"-"` // "parameter:" or "feature:" and its name
	Value      string    `json:"-"` // JSON
	Before     string    `json:"-"` // JSON that the unit was told before this release; "": nothing
	Release    string    `json:"release"`
	Assignment int64     `json:"assignment"`
	At         time.Time `json:"at"`
	Reported   string    `json:"-"` // JSON; "": never
	ReportedAt time.Time `json:"reportedAt,omitzero"`
}

// Drifted reports whether the unit says that it has another value than it was told.
func (s *Setting) Drifted() bool { return s.Reported != "" && s.Reported != s.Value }
