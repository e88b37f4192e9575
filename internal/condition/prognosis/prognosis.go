// Package prognosis foresees failures (ISO 13374 prognostic assessment): from
// units of a product that failed, as maintenance records tell, it learns how
// long the living will last. Models are versioned; a new one takes over only
// if it does better than its predecessor, and than age alone, on units that
// neither has learned from. Where there are too few failures, or none can be
// foreseen from the signals, it says so and predicts nothing.
package prognosis

import (
	"context"
	"time"
)

// ModelState is where a model stands.
type ModelState string

// A champion predicts. A retired one did until a better one came. A rejected
// one did worse than the champion, or than age alone, and never predicted.
const (
	Champion ModelState = "champion"
	Retired  ModelState = "retired"
	Rejected ModelState = "rejected"
)

// Member is a life that a model was learned from or tested on.
type Member struct {
	Unit   int64     `json:"unit"` // key
	Number int       `json:"number"`
	To     time.Time `json:"to"`
	Failed bool      `json:"failed"`
}

// Figures say how well remaining lives were told, on lives that were not
// learned from, ten times in each life. Lives weigh alike. Lengths are in days.
type Figures struct {
	Lives    int     `json:"lives"`
	RMSE     float64 `json:"rmse" doc:"Root mean square error of the median, in days."`
	MAE      float64 `json:"mae" doc:"Mean absolute error of the median, in days."`
	Coverage float64 `json:"coverage" doc:"Share of true remaining lives inside the 80 % interval."`
	Width    float64 `json:"width" doc:"Mean width of the 80 % interval, in days."`
	Loss     float64 `json:"loss" doc:"Mean pinball loss of the 10, 50 and 90 % quantiles, in days: what models are compared by."`
}

// Model is one version of what was learned for a detector.
type Model struct {
	Detector  string     `json:"detector"`
	Number    int        `json:"number"` // from 1
	State     ModelState `json:"state"`
	Learns    string     `json:"-"` // spec.Prognosis.Learns: what it can predict for
	TrainedAt time.Time  `json:"trainedAt"`
	RetiredAt time.Time  `json:"retiredAt,omitzero"`
	Training  []Member   `json:"training"`
	Test      []Member   `json:"test"`
	Figures   Figures    `json:"figures"`          // its own, on Test
	Before    *Figures   `json:"before,omitempty"` // its predecessor's, on the same lives
	Than      int        `json:"than,omitempty"`   // the predecessor
	Age       Figures    `json:"age"`              // of age alone, on the same lives
	Widening  float64    `json:"widening"`         // of its intervals, so that they hold four of five on Test; 1: none
	Verdict   string     `json:"verdict"`          // in words
	Data      []byte     `json:"-"`                // what was learned; not in lists
}

// Status is where the prognosis of a detector stands.
type Status struct {
	Detector string    `json:"detector"`
	Version  int       `json:"version"` // of the detector
	Product  string    `json:"product"`
	Part     string    `json:"part,omitempty"`
	RanAt    time.Time `json:"ranAt,omitzero"`
	NextAt   time.Time `json:"nextAt,omitzero"`
	TrainAt  time.Time `json:"trainAt,omitzero"` // no new model before
	Model    int       `json:"model"`            // the champion's number; 0: there is none yet
	Failures int       `json:"failures"`         // lives that ended by failure and may be looked at
	Censored int       `json:"censored"`         // lives that ended otherwise, or go on
	Unknown  int       `json:"unknown"`          // lives without a known beginning
	Withheld int       `json:"withheld"`         // units whose owners do not permit it
	Needed   int       `json:"needed"`           // failures needed
	Counts   Counts    `json:"counts"`
	Why      string    `json:"why,omitempty"` // nothing is predicted because
}

// Counts counts a detector's units by state.
type Counts struct {
	Heading int `json:"heading"`
	Watch   int `json:"watch"`
	OK      int `json:"ok"`
	Unknown int `json:"unknown"`
}

// State is what a prediction comes to.
type State string

// Heading: towards failure, which is likelier than not within the horizon.
// Watch: there is a chance of one in ten that it fails within the horizon. OK:
// it should last longer. Unknown: it cannot be told, see Why.
const (
	Heading State = "heading"
	Watch   State = "watch"
	OK      State = "ok"
	Unknown State = "unknown"
)

// States lists the states, worst first.
var States = []State{Heading, Watch, OK, Unknown}

// Prediction is how long a unit's part was expected to last, at a time. With 80
// % it is between Low and High, and as likely more as less than Median, in
// days.
type Prediction struct {
	Detector string    `json:"detector"`
	Version  int       `json:"version"`
	Model    int       `json:"model"`
	UnitID   string    `json:"unitId"`
	UnitKey  int64     `json:"-"`
	Product  string    `json:"product"`
	Part     string    `json:"part,omitempty"`
	At       time.Time `json:"at"`
	Since    time.Time `json:"since"` // when the part's life began
	State    State     `json:"state"`
	Low      float64   `json:"low"`
	Median   float64   `json:"median"`
	High     float64   `json:"high"`
	Horizon  float64   `json:"horizon"`
	Reasons  []Reason  `json:"reasons"`
	Why      string    `json:"why,omitempty"` // of unknown
}

// Reason is a signal that speaks for a prediction.
type Reason struct {
	Signal string  `json:"signal"`
	Text   string  `json:"text"`
	Drift  float64 `json:"drift"` // of its latest readings from the part's own first ones, in standard deviations of healthy readings
}

// RiskFilter picks newest predictions, by remaining life, shortest first;
// unknown ones stand last.
type RiskFilter struct {
	Product, Detector, UnitID string
	State                     State
	After                     string // page: Cursor of the last one seen
	Limit                     int
}

// Store keeps status, models and predictions.
type Store interface {
	Statuses(ctx context.Context) ([]Status, error)
	PutStatus(ctx context.Context, s Status) error
	// DeleteStatus ends a detector's prognosis; its models stay.
	DeleteStatus(ctx context.Context, detector string) error

	Models(ctx context.Context, detector string) ([]Model, error) // newest first, without Data
	ModelData(ctx context.Context, detector string, number int) ([]byte, error)
	PutModel(ctx context.Context, m Model) error
	// SetModelState changes the state of a model, and when it was retired.
	SetModelState(ctx context.Context, detector string, number int, s ModelState, retired time.Time) error

	// PutPredictions makes p the newest predictions of a detector, in the place
	// of all that were, and adds those that are not unknown to the units'
	// histories, out of which those from before keep are taken.
	PutPredictions(ctx context.Context, detector string, p []Prediction, keep time.Time) error
	// DropRisks takes units out of the newest predictions.
	DropRisks(ctx context.Context, detector string, unitIDs []string) error
	Risks(ctx context.Context, f RiskFilter) ([]Prediction, error)
	// Predictions is a unit's history, newest first.
	Predictions(ctx context.Context, unitID, detector string, limit int) ([]Prediction, error)
}
