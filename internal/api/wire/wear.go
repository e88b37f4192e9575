package wire

import (
	"time"

	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

// NewMaintenance is records of what was done to units and what failed.
type NewMaintenance struct {
	Records []MaintenanceEntry `json:"records" minItems:"1" maxItems:"10000"`
}

// MaintenanceEntry is a maintenance record as it is entered.
type MaintenanceEntry struct {
	UnitID  string             `json:"unitId" maxLength:"200"`
	At      time.Time          `json:"at" doc:"When it was done or failed."`
	Part    string             `json:"part,omitempty" doc:"Absent: the unit as a whole."`
	Kind    maintenance.Kind   `json:"kind"`
	Reason  maintenance.Reason `json:"reason,omitempty" doc:"Of a replacement."`
	Batch   string             `json:"batch,omitempty" doc:"Of the part that is in the unit from then on."`
	Serial  string             `json:"serial,omitempty"`
	Version string             `json:"version,omitempty" doc:"Of the part's hardware."`
	Note    string             `json:"note,omitempty"`
}

// MaintenanceAdded is how many records were kept.
type MaintenanceAdded struct {
	Added int `json:"added"`
	Known int `json:"known" doc:"On record already: same unit, part, kind and time."`
}

// Part is how often a part stands in a product's records.
type Part struct {
	Part     string `json:"part,omitempty" doc:"Absent: the unit as a whole."`
	Records  int    `json:"records"`
	Failures int    `json:"failures" doc:"Failures, and replacements because of one."`
}

// Prognosis is where the prognosis of a detector stands.
type Prognosis struct {
	prognosis.Status
	Title   string  `json:"title"`
	Horizon float64 `json:"horizon" doc:"In days."`
}

// PrognosisModel is a version of what was learned, and how it did on units
// that were held out.
type PrognosisModel struct {
	Number    int                  `json:"number"`
	State     prognosis.ModelState `json:"state"`
	TrainedAt time.Time            `json:"trainedAt"`
	RetiredAt time.Time            `json:"retiredAt,omitzero"`
	Failures  int                  `json:"failures" doc:"Lives that ended by failure, learned from."`
	Censored  int                  `json:"censored" doc:"Lives that ended otherwise or go on, learned from as such."`
	Figures   prognosis.Figures    `json:"figures"`
	Before    *prognosis.Figures   `json:"before,omitempty" doc:"Of the model it was held against, on the same lives."`
	Than      int                  `json:"than,omitempty" doc:"The model it was held against."`
	Age       prognosis.Figures    `json:"age" doc:"Of a forecast by age alone, on the same lives."`
	Widening  float64              `json:"widening" doc:"By how much its intervals are stretched, so that they hold four of five on held-out lives."`
	Verdict   string               `json:"verdict"`
}

// UnitPrognosis is what is foreseen of a unit, and was before.
type UnitPrognosis struct {
	Current []prognosis.Prediction `json:"current" doc:"One for each detector."`
	History []prognosis.Prediction `json:"history" doc:"Newest first."`
}
