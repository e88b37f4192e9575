// Package device is the port between units and the house: frontends speak a
// protocol and know only this package; the gateway behind it decides what may
// be kept and answers only when it is durable.
package device

import (
	"context"
	"crypto/x509"
)

// Identity is an authenticated unit. It comes from the credential alone, never
// from a topic or a body.
type Identity struct {
	UnitID  string
	Key     int64
	Product string
}

// Authenticator tells who a credential belongs to. A wrong credential, and one
// of a unit that is pending, revoked or retired, is fault.Denied.
type Authenticator interface {
	Token(ctx context.Context, unitID, token string) (Identity, error)
	Certificate(ctx context.Context, leaf *x509.Certificate) (Identity, error)
}

// Contacts is told that a unit was heard of, with or without data. It is cheap
// and may drop what comes too often to matter.
type Contacts interface {
	Contact(id Identity)
}
