// Package spec is what a release says: the declared document and its mistakes,
// the units that it is for, the preconditions, and the names of what keeps it
// from a unit. It knows no store; the room update does.
package spec

import "time"

// Code names why a unit is not offered an update, or why an update that it may
// have is not shown to it yet. Codes are part of the API: the portal has its
// own words for each, in the owner's language. Rooms that hold back for
// reasons of their own (campaign: the hour, the rate) add their codes there,
// of the same type.
type Code string

// The codes. The first group is of the unit and the release and does not go
// away by itself; the second is of the moment and does.
const (
	CodeUnknown   Code = "unknown unit"
	CodeInactive  Code = "not active"        // pending, revoked or retired
	CodeProduct   Code = "other product"     // the release is for another product
	CodeHardware  Code = "hardware"          // the unit's, or a component's, hardware revision is not among those it fits
	CodeVersion   Code = "has version"       // everything in it is installed already
	CodeFrom      Code = "installed version" // it cannot be installed over the version the unit has
	CodeRequires  Code = "required version"  // another component has a version that it does not go with
	CodeDowngrade Code = "downgrade"         // the unit has run a release of a higher counter
	CodeWithdrawn Code = "withdrawn"         // the release is offered to nobody any more
	CodeSkilled   Code = "skilled person"    // it needs one present: dispatch, never an owner's update

	CodeInUse        Code = "in use"        // the unit is being used: nothing is installed meanwhile, also not past a deadline
	CodePrecondition Code = "precondition"  // a precondition does not hold now
	CodeUnknownState Code = "state unknown" // the values a precondition reads are missing or too old
)

// Refusal is why an update is not offered: a code for programs, a sentence for
// people, and the parameters of the sentence as data, so that "battery at 18 %,
// needs 30 %" can be said in any language. It is an error, found in the chain
// of what Assign returns with errors.As.
type Refusal struct { //nolint:errname // what it says of a unit comes before that it is an error
	Code Code   `json:"code"`
	Why  string `json:"why" doc:"In plain English; the words by code are the screens' own."`

	Name   string            `json:"name,omitempty" doc:"Of the precondition or component that refuses."`
	Signal string            `json:"signal,omitempty" doc:"Name of the signal that a precondition compares."`
	Title  string            `json:"title,omitempty" doc:"What people call that signal."`
	Have   string            `json:"have,omitempty" doc:"What the unit has: a value of the signal, a version, a hardware revision."`
	Op     string            `json:"op,omitempty" doc:"How have must stand to need: >=, >, <=, <, == or !=."`
	Need   string            `json:"need,omitempty" doc:"What it needs instead."`
	Unit   string            `json:"unit,omitempty" doc:"UCUM unit of measure of have and need."`
	At     time.Time         `json:"at,omitzero" doc:"When the unit sent the value in have."`
	Until  time.Time         `json:"until,omitzero" doc:"When it ends by itself, where that is known."`
	Words  map[string]string `json:"words,omitempty" doc:"What the owner can do, as declared with the precondition, by language."`
}

// Error says why.
func (r *Refusal) Error() string { return r.Why }

// Passes reports whether the refusal is of the moment: the update is offered
// as soon as it no longer holds.
func (r *Refusal) Passes() bool {
	return r.Code == CodePrecondition || r.Code == CodeUnknownState || r.Code == CodeInUse
}

// Same reports whether two refusals (nil: none) have the same cause, whatever
// the values measured since.
func (r *Refusal) Same(o *Refusal) bool {
	if r == nil || o == nil {
		return r == o
	}
	return r.Code == o.Code && r.Name == o.Name && r.Signal == o.Signal
}
