package wire

import (
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
)

// Forecast is when a signal of a unit will reach its limit.
type Forecast struct {
	Detector  condition.Ref  `json:"detector"`
	Title     string         `json:"title,omitempty"`
	Signal    string         `json:"signal"`
	Unit      string         `json:"unit,omitempty" doc:"UCUM code."`
	Horizon   fleet.Duration `json:"horizon" doc:"A finding opens when the limit will be reached within it."`
	Withheld  bool           `json:"withheld" doc:"The owner does not permit the detector's purpose: nothing was looked at."`
	At        time.Time      `json:"at,omitzero" doc:"Event time of what it was made from."`
	Supported bool           `json:"supported" doc:"What was seen supports a forecast; else reason says why not, and there are no times."`
	Reason    string         `json:"reason,omitempty"`
	Limit     *float64       `json:"limit,omitempty" doc:"The limit that is nearest."`
	Upper     bool           `json:"upper" doc:"The limit is reached from below."`
	Level     *float64       `json:"level,omitempty" doc:"Where the signal is, without noise and without its cycle."`
	Slope     *float64       `json:"slope,omitempty" doc:"How much it changes in an hour."`
	Low       time.Time      `json:"low,omitzero" doc:"With 80 % probability the limit is reached between low and high."`
	Median    time.Time      `json:"median,omitzero" doc:"As likely reached before as after."`
	High      time.Time      `json:"high,omitzero"`
}

// Comparison is how a unit stood among its peers.
type Comparison struct {
	Detector condition.Ref  `json:"detector"`
	Signal   string         `json:"signal"`
	Unit     string         `json:"unit,omitempty" doc:"UCUM code."`
	Period   fleet.Duration `json:"period"`
	Like     []string       `json:"like" doc:"What the peers have in common with the unit, as hardware B; empty: the product."`
	Peers    int            `json:"peers" doc:"Peers looked at: of many, some spread over all."`
	Alike    int            `json:"alike" doc:"Peers there are, whose owners permit the purpose."`
	Withheld bool           `json:"withheld" doc:"The owner does not permit the detector's purpose: nothing was looked at."`
	Points   []Standing     `json:"points" doc:"By period; those without data are left out."`
}

// Standing is a unit among its peers in one period.
type Standing struct {
	At     time.Time `json:"at" doc:"Begin of the period."`
	Value  *float64  `json:"value,omitempty" doc:"The unit's mean; absent: nothing was measured."`
	Middle float64   `json:"middle" doc:"The median of its peers' means."`
	Low    float64   `json:"low" doc:"Half of the peers lie between low and high."`
	High   float64   `json:"high"`
	Least  float64   `json:"least"`
	Most   float64   `json:"most"`
	Peers  int       `json:"peers" doc:"Peers with data."`
}
