package wire

import (
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

// MyFinding is what was found on an owner's unit, with what explains it.
type MyFinding struct {
	ID          string                 `json:"id"`
	Title       string                 `json:"title" doc:"What was found, in the language asked for where the maker has words in it."`
	Meaning     string                 `json:"meaning,omitempty" doc:"What it means for the owner."`
	State       condition.FindingState `json:"state"`
	Severity    condition.Severity     `json:"severity"`
	Since       time.Time              `json:"since" doc:"When it was first outside, by the unit's own time; not before the unit was the owner's."`
	FoundAt     time.Time              `json:"foundAt" doc:"When the rule was fulfilled."`
	LastAt      time.Time              `json:"lastAt" doc:"When it was last outside."`
	Until       time.Time              `json:"until,omitzero" doc:"When it was in order again."`
	Why         string                 `json:"why" doc:"The evidence in a sentence, in English: for where the figures below are not enough."`
	Detector    string                 `json:"detector" doc:"Name of the rule that found it."`
	Type        condition.DetectorType `json:"type,omitempty" enum:"tolerance,silence,anomaly,trend,peers,prognosis" doc:"The kind of rule; absent when the rule is gone."`
	Signal      string                 `json:"signal,omitempty" doc:"The measurement that it is about; see the series of it."`
	SignalTitle string                 `json:"signalTitle,omitempty"`
	Unit        string                 `json:"unit,omitempty" doc:"UCUM code of the signal."`
	Peak        float64                `json:"peak" doc:"The furthest value; silence: seconds; with share: per cent; with count: readings."`
	Bands       []fleet.Band           `json:"bands" doc:"Where the signal belongs."`
	Within      fleet.Duration         `json:"within,omitempty" doc:"The bands bound by how much the signal changes within this time."`
	Hold        fleet.Duration         `json:"hold,omitempty" doc:"How long it had to be outside before it was found."`
	Window      fleet.Duration         `json:"window,omitempty" doc:"With share or count: the time that they look at."`
	Share       float64                `json:"share,omitempty" doc:"Per cent of the window that had to be outside."`
	Count       int                    `json:"count,omitempty" doc:"Readings outside within the window that it took."`
	Version     int                    `json:"-"`
}

// What a history tells.
const (
	EventFound  = "found"
	EventUpdate = "update"
	EventVisit  = "visit"
	EventYours  = "yours"
)

// MyEvent is one entry of a unit's history. The field of its kind is set.
type MyEvent struct {
	ID     string     `json:"id"`
	At     time.Time  `json:"at"`
	Kind   string     `json:"kind" enum:"found,update,visit,yours" doc:"yours: since when the unit is yours."`
	Found  *MyFinding `json:"found,omitempty"`
	Update *MyUpdate  `json:"update,omitempty"`
	Visit  *MyVisit   `json:"visit,omitempty"`
}

// MyVisit is what was done to a unit.
type MyVisit struct {
	Kind    maintenance.Kind   `json:"kind" enum:"installation,failure,replacement,maintenance"`
	Part    string             `json:"part,omitempty" doc:"Absent: the unit as a whole."`
	Reason  maintenance.Reason `json:"reason,omitempty" enum:"failed,preventive" doc:"Of a replacement."`
	Serial  string             `json:"serial,omitempty" doc:"Of the part that is in it now."`
	Version string             `json:"version,omitempty"`
	Note    string             `json:"note,omitempty"`
}

// MyHelp is how an owner reaches the maker, and answers to what owners ask most.
type MyHelp struct {
	Name      string     `json:"name,omitempty" doc:"Of the maker or its service; absent where the product does not say how it is reached."`
	Mail      string     `json:"mail,omitempty"`
	Phone     string     `json:"phone,omitempty"`
	URL       string     `json:"url,omitempty"`
	Hours     string     `json:"hours,omitempty" doc:"When somebody answers."`
	Manual    string     `json:"manual,omitempty" doc:"Address of the manual."`
	Serial    string     `json:"serial" doc:"Of the unit, to tell the maker."`
	Questions []MyAnswer `json:"questions" doc:"In the language asked for where the maker has words in it."`
}

// MyAnswer is a question with its answer.
type MyAnswer struct {
	Question string `json:"question"`
	Answer   string `json:"answer"`
}

// Proof is how far it has been shown that a remedy worked.
type Proof struct {
	Needed float64   `json:"needed" doc:"Hours of use without the fault that show it."`
	Seen   float64   `json:"seen" doc:"Hours of use so far; at most needed."`
	Since  time.Time `json:"since,omitzero" doc:"From when they are counted."`
	LastAt time.Time `json:"lastAt,omitzero" doc:"When use was last seen."`
	Title  string    `json:"title,omitempty" doc:"What must not come back, in the language asked for where the maker has words in it."`
}
