package spec

import (
	"time"

	"fettle.dev/fettle/internal/fleet"
)

// Anomaly says when a unit behaves as it never did. All of it may be left out.
type Anomaly struct {
	Signals []string       `json:"signals,omitempty" doc:"Numeric signals that are watched together (default: all that are collected for the detector's purpose)."`
	Budget  Budget         `json:"budget,omitempty" doc:"False alarms that are acceptable, as 1 per unit-year or 2/week (default 1/year)."`
	Warmup  fleet.Duration `json:"warmup,omitempty" doc:"For at least so long a unit is learned from before anything is found (default 7d), after enrolment and after what resets it."`
	When    string         `json:"when,omitempty" doc:"CEL over signals: rows in which it does not hold are not looked at."`
	Mode    string         `json:"mode,omitempty" doc:"A signal whose values are operating modes, each learned by itself: of type text or boolean, or whole numbers."`
}

// Defaults of what is not declared.
const (
	DefaultAlarms = 1 // a unit and year
	DefaultWarmup = 7 * 24 * time.Hour
)
