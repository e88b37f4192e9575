// Package device is the port between units and the house: frontends speak a
// protocol and know only this package; the gateway behind it decides what may
// be kept and answers only when it is durable.
package device

import (
	"context"
	"crypto/x509"
	"errors"

	"fettle.dev/fettle/internal/fault"
)

// Identity is an authenticated unit. It comes from the credential alone, never
// from a topic or a body.
type Identity struct {
	UnitID  string
	Key     int64
	Product string
}

// Authenticator tells who a credential belongs to. A wrong credential, and one
// of a unit that is pending, revoked or retired, is fault.Denied. The Gateway
// is one.
type Authenticator interface {
	Token(ctx context.Context, unitID, token string) (Identity, error)
	// TokenAlone is for protocols whose clients send a token and no unit id.
	TokenAlone(ctx context.Context, token string) (Identity, error)
	Certificate(ctx context.Context, leaf *x509.Certificate) (Identity, error)
}

// Contacts is told that a unit was heard of, with or without data. It is cheap
// and may drop what comes too often to matter.
type Contacts interface {
	Contact(id Identity)
}

// The refusals that frontends answer differently.
var (
	// ErrCredential refuses a unit id and credential that do not belong together; it never says which is wrong.
	ErrCredential = fault.New(fault.Denied, "the unit id or its credential is wrong")
	// ErrInactive refuses a unit that proved itself but is pending, revoked or retired.
	ErrInactive = errors.New("the unit is not active")
	// ErrBusy refuses what found no room as long as its caller waited: nothing of it
	// was taken, unless the stream became full behind it. Come later: what is sent twice is stored once.
	ErrBusy = errors.New("too much waits to be stored")
)

// Why says for what reason the gateway ends a session.
type Why uint8

// The reasons. Revoked: the unit is no longer active, or its credential was
// replaced. TakenOver: the same client connected anew. Crowded: the unit has
// more connections than it may.
const (
	Revoked Why = iota + 1
	TakenOver
	Crowded
)

// Session is a live connection of a unit, as the gateway sees it. Its methods
// must not wait for the unit.
type Session interface {
	// Desired sends the unit what it is to do, if it asked for that.
	Desired(payload []byte)
	// Notice tells the unit that an update is waiting, if it asked for that.
	Notice()
	// Kick ends the session.
	Kick(why Why)
}
