// Package maintenance keeps what was done to units and what failed on them
// (ISO 14224, failure and maintenance data): parts put in, failures,
// replacements, services. Of these records the lives of parts are told, which
// part life and prognosis learn from.
package maintenance

import (
	"context"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// Kind is what a record tells.
type Kind string

// The kinds. Installation: a part was put in, and its life begins. Failure: it
// failed, and its life has ended; nothing was put in yet. Replacement: it was
// taken out, for the Reason given, and another one put in. Maintenance: it was
// put right or serviced and stays in.
const (
	Installation Kind = "installation"
	Failure      Kind = "failure"
	Replacement  Kind = "replacement"
	Maintenance  Kind = "maintenance"
)

// Reason is why a part was replaced.
type Reason string

// The reasons. Failed: it had failed. Preventive: it still worked, so how long
// it would have lasted is not known.
const (
	Failed     Reason = "failed"
	Preventive Reason = "preventive"
)

// Record is one entry about one part of a unit. Batch, Serial and Version are
// of the part that is in the unit from then on.
type Record struct {
	ID        string    `json:"id"`
	UnitID    string    `json:"unitId"`
	At        time.Time `json:"at"`             // when it was done or failed
	Part      string    `json:"part,omitempty"` // "": the unit as a whole
	Kind      Kind      `json:"kind"`
	Reason    Reason    `json:"reason,omitempty"` // of a replacement
	Batch     string    `json:"batch,omitempty"`
	Serial    string    `json:"serial,omitempty"`
	Version   string    `json:"version,omitempty"` // of the part's hardware
	Note      string    `json:"note,omitempty"`
	By        string    `json:"by"` // who entered it
	EnteredAt time.Time `json:"enteredAt"`
}

// Ends reports whether a part's life ends with the record, and whether by failure.
func (r *Record) Ends() (ends, failed bool) {
	switch r.Kind {
	case Failure:
		return true, true
	case Replacement:
		return true, r.Reason == Failed
	default:
		return false, false
	}
}

// Begins reports whether a part's life begins with the record.
func (r *Record) Begins() bool { return r.Kind == Installation || r.Kind == Replacement }

// Filter picks records. Empty fields match all.
type Filter struct {
	Product, UnitID string
	Part            *string // nil: any
	Kind            Kind
	Before          string // page: the id of the last one seen
	Limit           int    // 0: no limit
}

// Store keeps records. They are ordered by At, newest first, then id.
type Store interface {
	// Add keeps records and says how many; one that is known already (same
	// unit, part, kind and time) stays as it was.
	Add(ctx context.Context, records []Record) (added int, err error)
	Record(ctx context.Context, id string) (Record, error)
	Records(ctx context.Context, f Filter) ([]Record, error)
	Delete(ctx context.Context, id string) error
	// Parts counts a product's records by part and kind.
	Parts(ctx context.Context, product string) ([]PartCount, error)

	// Untold are records that the stream has not been told of, oldest first, at
	// most limit; Told forgets them.
	Untold(ctx context.Context, limit int) ([]Entered, error)
	Told(ctx context.Context, ids []string) error
}

// PartCount is how often a part stands in a product's records.
type PartCount struct {
	Part     string
	Records  int
	Failures int // failures, and replacements because of one
}

// Entered is a record with its unit's key.
type Entered struct {
	Record
	UnitKey int64
}

// maximums, in bytes.
const (
	maxName = 100
	maxNote = 2000
)

// Validate lists what is wrong with a record that is entered at now.
func (r *Record) Validate(now time.Time) (mistakes []fault.Field) {
	add := func(path, expected, got string) {
		mistakes = append(mistakes, fault.Field{Path: path, Expected: expected, Got: got})
	}
	if r.UnitID == "" {
		add("unitId", "a unit's id", "nothing")
	}
	switch {
	case r.At.IsZero():
		add("at", "when it was done, as 2026-03-01T12:00:00Z or 2026-03-01", "nothing")
	case r.At.Year() < 1970:
		add("at", "a time since 1970", r.At.Format(time.RFC3339))
	case r.At.After(now.Add(24 * time.Hour)):
		add("at", "a time that has come", r.At.Format(time.RFC3339))
	}
	switch r.Kind {
	case Installation, Failure, Maintenance:
		if r.Reason != "" {
			add("reason", "nothing: only a replacement has a reason", string(r.Reason))
		}
	case Replacement:
		if r.Reason != Failed && r.Reason != Preventive {
			add("reason", "failed or preventive, of a replacement", or(string(r.Reason)))
		}
	default:
		add("kind", "installation, failure, replacement or maintenance", or(string(r.Kind)))
	}
	for _, f := range []struct {
		path, text string
		limit      int
	}{{"part", r.Part, maxName}, {"batch", r.Batch, maxName}, {"serial", r.Serial, maxName}, {"version", r.Version, maxName}, {"note", r.Note, maxNote}} {
		if len(f.text) > f.limit {
			add(f.path, fmt.Sprintf("at most %d bytes", f.limit), fmt.Sprintf("%d bytes", len(f.text)))
		}
		for _, c := range f.text {
			if c < ' ' && (f.path != "note" || c != '\n' && c != '\t') {
				add(f.path, "text without control characters", "")
				break
			}
		}
	}
	return mistakes
}

func or(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
