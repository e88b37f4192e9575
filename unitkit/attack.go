package unitkit

import "fmt"

// Attack is what somebody between the unit and its maker may try, by the name
// that the TUF specification (section 1.5.2) and the Uptane Standard (section
// 4.2) give it. An [*AttackError] wraps one, so that errors.Is(err, ErrRollback)
// tells.
type Attack string //nolint:errname // the name of an attack; errors are AttackError

// The attacks that are refused by name.
const (
	// ErrArbitrarySoftware: the bytes, or the director's order, are not what the image repository has signed.
	ErrArbitrarySoftware Attack = "arbitrary-software"
	// ErrRollback: metadata or software older than what the unit has verified or confirmed before.
	ErrRollback Attack = "rollback"
	// ErrFastForward: a version number so high that no honest one could follow it.
	ErrFastForward Attack = "fast-forward"
	// ErrFreeze: metadata that has expired is shown as if it were the newest.
	ErrFreeze Attack = "indefinite-freeze"
	// ErrMixAndMatch: metadata files that were never current at the same time.
	ErrMixAndMatch Attack = "mix-and-match"
	// ErrDisagree: the director describes a target otherwise than the image repository does.
	ErrDisagree Attack = "repositories-disagree"
	// ErrEndlessData: more bytes than were announced, or than metadata may have.
	ErrEndlessData Attack = "endless-data"
	// ErrSlowRetrieval: bytes come too slowly to ever be of use.
	ErrSlowRetrieval Attack = "slow-retrieval"
	// ErrWrongHardware: software for another hardware revision, or a component that the unit does not have.
	ErrWrongHardware Attack = "wrong-hardware"
	// ErrWrongUnit: the director's order for another unit.
	ErrWrongUnit Attack = "wrong-unit"
	// ErrThreshold: fewer signatures of the role's keys than its threshold, as with a key that was stolen or revoked.
	ErrThreshold Attack = "too-few-signatures"
	// ErrRootGap: a root that does not follow the one before it.
	ErrRootGap Attack = "root-gap"
	// ErrMalformed: what should be metadata cannot be read as such.
	ErrMalformed Attack = "malformed-metadata"
)

// Error is the attack's name.
func (a Attack) Error() string { return string(a) }

// AttackError says that an answer was refused, and as which attack. It may as
// well be a mistake of the server's operator, or the unit's clock: nothing of
// it was believed in either case, and the unit goes on as it was.
type AttackError struct {
	Attack     Attack
	Repository string // image or director; empty: of neither
	Role       string // root, timestamp, snapshot, targets, or a file's name
	Err        error  // what exactly was found
}

func (e *AttackError) Error() string {
	at := e.Role
	if e.Repository != "" {
		at = e.Repository + " " + e.Role
	}
	return fmt.Sprintf("refused as %s: %s: %v", e.Attack, at, e.Err)
}

// Unwrap gives the name and the cause.
func (e *AttackError) Unwrap() []error { return []error{e.Attack, e.Err} }
