package wire

import "time"

// Event is a notice from a unit: a feature used, a fault code set or cleared,
// a line of its log.
type Event struct {
	ID       string    `json:"id" doc:"Its place among the unit's events; a page goes on after it."`
	At       time.Time `json:"at" doc:"Event time."`
	Received time.Time `json:"received"`
	Sequence int64     `json:"sequence,omitempty" doc:"The unit's own number."`
	Kind     string    `json:"kind" enum:"feature,fault,log"`
	Name     string    `json:"name,omitempty" doc:"Feature, fault code, or what wrote the line of the log."`
	Title    string    `json:"title,omitempty" doc:"What the product calls it."`
	Severity string    `json:"severity,omitempty" enum:"warning,minor,major,critical" doc:"Of a fault code, as the product declares it."`
	State    string    `json:"state,omitempty" enum:"set,cleared" doc:"Of a fault code."`
	Level    string    `json:"level,omitempty" enum:"debug,info,warn,error,fatal" doc:"Of a line of the log."`
	Text     string    `json:"text,omitempty"`
}
