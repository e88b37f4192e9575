package access

import (
	"context"
	"time"
)

// Secret is what the records keep of an operator's password and authenticator.
type Secret struct {
	Password   string // hash, PHC string; "": none
	PasswordAt time.Time
	TOTP       string // key, sealed; "": none
	TOTPAt     time.Time
	Recovery   int // codes left
}

// Ticket is a step on the way: somebody whose password was right and who owes
// the second factor, or who sets one up.
type Ticket struct {
	Hash       string
	OperatorID string
	Way        Way    // how they sign in; "": they are signed in
	TOTP       string // a new key, sealed, that is to be confirmed
	Tries      int
	ExpiresAt  time.Time
}

// SecretStore keeps what operators prove themselves by.
type SecretStore interface {
	Secret(ctx context.Context, operatorID string) (Secret, error) // the zero value without any
	PutPassword(ctx context.Context, operatorID, hash string, at time.Time) error
	// PutTOTP replaces the authenticator and the recovery codes; step is the one just used.
	PutTOTP(ctx context.Context, operatorID, sealed string, step int64, recovery []string, at time.Time) error
	PutRecovery(ctx context.Context, operatorID string, hashes []string) error
	// UseStep takes a time step once; false if it, or a later one, was used.
	UseStep(ctx context.Context, operatorID string, step int64) (bool, error)
	// UseRecovery takes a recovery code away; false if it is not there.
	UseRecovery(ctx context.Context, operatorID, hash string) (bool, error)
	DropSecret(ctx context.Context, operatorID string) error

	AddTicket(ctx context.Context, t Ticket) error
	// TryTicket counts a try; fault.NotFound without such a ticket.
	TryTicket(ctx context.Context, hash string) (Ticket, error)
	SetTicketTOTP(ctx context.Context, hash, sealed string) error
	DropTicket(ctx context.Context, hash string) error
	DropTickets(ctx context.Context, operatorID string) error
}
