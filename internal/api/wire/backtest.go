package wire

import (
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/fleet"
)

// BacktestRequest asks to try a detector on history.
type BacktestRequest struct {
	Name       string            `json:"name,omitempty" maxLength:"200" doc:"Of the detector (default backtest); with the name of a kept one, its findings have the ids that live gave them, and its assessments count."`
	Version    int               `json:"version,omitempty" minimum:"0" doc:"Of the kept detector, where none is given here (default: the newest)."`
	Detector   Spec              `json:"detector,omitempty" doc:"A DetectorSpec; absent: the kept detector of that name."`
	From       time.Time         `json:"from,omitzero" doc:"Event time, included; absent: from the beginning."`
	To         time.Time         `json:"to,omitzero" doc:"Event time, not included; absent: to the end."`
	Units      []string          `json:"units,omitempty" maxItems:"100000" doc:"Ids; absent: all units of the product."`
	Cohort     string            `json:"cohort,omitempty" maxLength:"200" doc:"Id or name of a cohort: only the units that are in it."`
	Sweep      backtest.Sweep    `json:"sweep,omitzero"`
	Failures   []BacktestFailure `json:"failures,omitempty" maxItems:"100000" doc:"What is known to have failed, beside what the records hold."`
	Component  string            `json:"component,omitempty" maxLength:"100" doc:"Only failures of this component, and of units as a whole."`
	Unrecorded bool              `json:"unrecorded,omitempty" doc:"Leave out failures, replacements and assessments in the records."`
	Partial    bool              `json:"partial,omitempty" doc:"There were more failures than are known: an alarm without one is not judged, rather than false."`
	Horizon    fleet.Duration    `json:"horizon,omitempty" doc:"An alarm no longer than this before a failure foresaw it (default 30d)."`
	Late       fleet.Duration    `json:"late,omitempty" doc:"An alarm no longer than this after a failure still found it (default 0)."`
	CostFalse  float64           `json:"costFalse,omitempty" minimum:"0" doc:"What a false alarm costs (default 1, where neither is given)."`
	CostMissed float64           `json:"costMissed,omitempty" minimum:"0" doc:"What a missed failure costs, in the same currency (default 10, where neither is given)."`
	Limit      int               `json:"limit,omitempty" minimum:"1" maximum:"10000" doc:"Most findings to keep with their evidence (default 10,000)."`
}

// BacktestFailure is a known failure.
type BacktestFailure struct {
	Unit      string    `json:"unit" maxLength:"200"`
	At        time.Time `json:"at"`
	Until     time.Time `json:"until,omitzero" doc:"Absent: at once."`
	Component string    `json:"component,omitempty" maxLength:"100"`
}

// Backtest is a detector tried on history, in the background.
type Backtest struct {
	ID       string                 `json:"id"`
	Detector condition.Ref          `json:"detector" doc:"The version whose definition this is, or the one it would become."`
	Product  string                 `json:"product"`
	Type     condition.DetectorType `json:"type"`
	Title    string                 `json:"title"`
	By       string                 `json:"by"`
	At       time.Time              `json:"at" doc:"When it was asked for."`
	State    backtest.State         `json:"state"`
	Why      string                 `json:"why,omitempty" doc:"Why it failed or was cancelled."`
	Begun    int                    `json:"begun" doc:"How often it was begun; more than once after restarts of the service."`
	BegunAt  time.Time              `json:"begunAt,omitzero"`
	EndedAt  time.Time              `json:"endedAt,omitzero"`
	Done     float64                `json:"done" doc:"From 0 to 1."`
	Rows     int                    `json:"rows" doc:"Messages read so far."`
	From     time.Time              `json:"from,omitzero" doc:"As asked for."`
	To       time.Time              `json:"to,omitzero"`
	Cohort   string                 `json:"cohort,omitempty"`
	Units    int                    `json:"units,omitempty" doc:"Units asked for; 0: all of the product."`
	Withheld int                    `json:"withheld" doc:"Units whose owners do not permit the detector's purpose: their data was not looked at."`
	Sources  map[string]int         `json:"sources,omitempty" doc:"Known failures by where they are known from: given, failure, replacement, assessment; and no fault found."`
	Spec     *condition.Detector    `json:"spec,omitempty" doc:"The detector that was tried."`
	Result   *backtest.Result       `json:"result,omitempty" doc:"When it is done."`
}

// BacktestUnit is one unit's alarms under every threshold.
type BacktestUnit struct {
	UnitID   string            `json:"unitId"`
	Failures []BacktestFailure `json:"failures" doc:"Known of it."`
	Alarms   [][]BacktestAlarm `json:"alarms" doc:"By place of the threshold in the result."`
	Cut      bool              `json:"cut,omitempty" doc:"There were more alarms than are given."`
}

// BacktestAlarm is one alarm.
type BacktestAlarm struct {
	From  time.Time `json:"from" doc:"When it opened."`
	Until time.Time `json:"until,omitzero" doc:"Absent: it stands at the end."`
	Was   string    `json:"was" enum:"true,false,unjudged"`
}
