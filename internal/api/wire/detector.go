package wire

import (
	"fettle.dev/fettle/internal/condition"
)

// Detector is a detector and how it does.
type Detector struct {
	Name         string                 `json:"name"`
	Version      int                    `json:"version" doc:"The newest."`
	Product      string                 `json:"product"`
	ProductTitle string                 `json:"productTitle"`
	Title        string                 `json:"title"`
	Type         condition.DetectorType `json:"type"`
	Severity     condition.Severity     `json:"severity"`
	Purpose      string                 `json:"purpose"`
	Counts       DetectorCounts         `json:"counts" doc:"Of all its versions."`
}

// DetectorCounts are findings by what became of them.
type DetectorCounts struct {
	Findings     int `json:"findings"`
	Open         int `json:"open"`
	Confirmed    int `json:"confirmed" doc:"Assessed as confirmed."`
	NoFaultFound int `json:"noFaultFound" doc:"Assessed as no fault found: false alarms."`
}

// DetectorDetail is a detector with its versions.
type DetectorDetail struct {
	Detector
	Words     []string          `json:"words" doc:"What it does, in words."`
	Spec      Spec              `json:"spec"`
	Threshold string            `json:"threshold" doc:"The setting that a backtest moves; empty: none."`
	Use       *DetectorUse      `json:"use,omitempty" doc:"Absent where no budget is stated and too little was judged to say."`
	Versions  []DetectorVersion `json:"versions" doc:"Newest first."`
}

// DetectorUse is how often a detector raises alarms, beside what it may.
type DetectorUse struct {
	Stated    float64  `json:"stated,omitempty" doc:"Alarms a unit-year that it may raise; 0: it states none."`
	Used      *float64 `json:"used,omitempty" doc:"Alarms a unit-year that the newest version has raised; absent while too little was judged to say."`
	UnitYears float64  `json:"unitYears" doc:"Judged use that this rests on."`
}

// DetectorVersion is one version of a detector.
type DetectorVersion struct {
	Version int              `json:"version"`
	Counts  DetectorCounts   `json:"counts"`
	Changes []DetectorChange `json:"changes" doc:"Against the version before."`
}

// DetectorChange is one setting that differs between two versions.
type DetectorChange struct {
	Field  string `json:"field"`
	Before string `json:"before,omitempty" doc:"Absent: it was not set."`
	After  string `json:"after,omitempty" doc:"Absent: it is not set."`
}
