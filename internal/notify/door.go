package notify

import (
	"context"
	"time"
)

// Telling is something an owner is to be told. Key makes it unique for ever.
type Telling struct {
	Key     string
	OwnerID string
	Kind    Kind
	// Template is a built-in text or a declared one (package template); Values
	// are what it says, by placeholder.
	Template string
	Values   map[string]any

	Product, Campaign, UnitID string
	About                     string // as campaign/NAME

	// Channels are exactly those to be used, as by a ladder's step; nil: as the
	// owner likes for the kind.
	Channels    []Channel
	Acknowledge bool      // the owner is asked to say that it was read
	ExpiresAt   time.Time // by the service's clock: not told after
}

// Verdict is what became of something to be told.
type Verdict string

// The verdicts.
const (
	Told     Verdict = "told"     // messages were queued
	Later    Verdict = "later"    // it waits, as for the end of the quiet hours
	Merged   Verdict = "merged"   // told as part of another message
	Withheld Verdict = "withheld" // not told: Reason says why
)

// Reason says why something is told later or not at all, or what it went over.
type Reason string

// The reasons.
const (
	SwitchedOff Reason = "switched off"        // by the owner, for this kind
	Capped      Reason = "cap"                 // as much as the owner takes in a day or a week
	Quiet       Reason = "quiet hours"         // the owner is not to be disturbed
	SafetyOnly  Reason = "safety contact only" // the address was given for safety alone (GPSR art. 35(2))
	NoAddress   Reason = "no address"          // on none of the channels
	TooLate     Reason = "expired"             // before it could be told
	Gone        Reason = "gone"                // there is no such owner any more
	Repeated    Reason = "known"               // a telling with this key was there before
)

// Decision is what became of a telling, and why.
type Decision struct {
	Verdict  Verdict   `json:"verdict"`
	Reason   Reason    `json:"reason,omitempty"`
	Overrode []Reason  `json:"overrode,omitempty"` // what a safety notice went over, said in the message
	Channels []Channel `json:"channels,omitempty"`
	At       time.Time `json:"at,omitzero"` // when it is told, if later
}

// Door is the one way to tell owners anything. ToOwner takes part in the
// caller's transaction; it keeps messages and sends none.
type Door interface {
	ToOwner(ctx context.Context, t Telling) (Decision, error)
}
