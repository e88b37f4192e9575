package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// TicketPrefix begins the secret of a sign-in that is under way.
const TicketPrefix = "fek_"

const (
	ticketLife = 10 * time.Minute
	mostTries  = 5 // at a code with one ticket
)

// Caller is where somebody signs in from.
type Caller struct{ Address, Agent string }

// Next is what somebody whose password was right owes.
type Next string

// What is owed: a code of the authenticator or a recovery code; a passkey, which
// signs in by itself; or, the first time, a second factor has to be set up.
const (
	NextCode    Next = "code"
	NextPasskey Next = "passkey"
	NextEnrol   Next = "enrol"
)

// SlowError says that guessing was slowed, and for how long.
type SlowError struct{ Wait time.Duration }

func (e *SlowError) Error() string {
	return "too many tries: wait some minutes, or sign in another way (a passkey, your organisation's account or a link by mail)"
}

// ErrSignIn is told for an address that is not known as for a wrong password.
var ErrSignIn = fault.New(fault.Denied, "the email address or the password is wrong")

var errTicket = fault.New(fault.Denied, "this took too long or too many tries: begin again")

// slow is who guesses how fast. One address has 20 tries in a quarter of an
// hour; one account has 5 from each address and 50 from all that it has no
// session from. So a crowd that guesses at an account can keep strangers out of
// it, but not its owner where they are signed in or were today, nor anybody who
// comes by passkey, provider or mail.
type slow struct{ address, pair, account *limiter }

func newSlow() slow {
	const quarter = 15 * time.Minute
	return slow{newLimiter(20, quarter), newLimiter(5, quarter), newLimiter(50, quarter)}
}

// network is what one customer of a provider has: an IPv4 address, or an IPv6
// network of 64 bits.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Unmap().Is4() {
		return address
	}
	p, err := a.Prefix(64)
	if err != nil {
		return address
	}
	return p.String()
}

// try takes one try, or refuses it.
func (a *Service) try(ctx context.Context, email, operatorID, address string) error {
	now, from := a.clock.Now(), network(address)
	refused := &SlowError{Wait: 3 * time.Minute}
	if !a.slow.address.allow(from, now) || !a.slow.pair.allow(email+" "+from, now) {
		return refused
	}
	if operatorID != "" {
		open, err := a.Sessions(ctx, PartyOperator, operatorID)
		if err != nil {
			return err
		}
		for _, s := range open {
			if network(s.Address) == from {
				return nil
			}
		}
	}
	if !a.slow.account.allow(email, now) {
		return refused
	}
	return nil
}

// PasswordsAvailable reports whether operators may sign in by password.
func (a *Service) PasswordsAvailable() bool { return a.conf.Secrets != nil }

// Password checks a password. It opens nothing yet: the ticket does, with what
// next says. Whether there is such an account cannot be told from the answer
// nor from the time it takes. It is a *SlowError when somebody guesses.
func (a *Service) Password(ctx context.Context, email, password string, from Caller) (ticket string, next Next, err error) {
	if a.conf.Secrets == nil {
		return "", "", fault.New(fault.Unavailable, "signing in by password is off on this server")
	}
	email = cut(fleet.CanonicalEmail(email), 254)
	o, err := a.store.OperatorByEmail(ctx, email)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return "", "", fmt.Errorf("sign in: %w", err)
	}
	if err := a.try(ctx, email, o.ID, from.Address); err != nil {
		return "", "", err
	}
	s, err := a.conf.Secrets.Secret(ctx, o.ID)
	if err != nil {
		return "", "", fmt.Errorf("sign in: %w", err)
	}
	if !samePassword(s.Password, password) || o.ID == "" || o.Disabled {
		return "", "", ErrSignIn
	}
	if next, err = a.owed(ctx, o.ID, s); err != nil {
		return "", "", err
	}
	ticket, err = a.newTicket(ctx, o.ID, ByPassword)
	return ticket, next, err
}

func (a *Service) owed(ctx context.Context, operatorID string, s Secret) (Next, error) {
	if s.TOTP != "" {
		return NextCode, nil
	}
	if a.conf.Passkeys != nil {
		n, err := a.conf.Passkeys(ctx, operatorID)
		if err != nil {
			return "", fmt.Errorf("passkeys: %w", err)
		}
		if n > 0 {
			return NextPasskey, nil
		}
	}
	return NextEnrol, nil
}

func (a *Service) newTicket(ctx context.Context, operatorID string, way Way) (string, error) {
	secret := fleet.NewSecret(TicketPrefix)
	err := a.conf.Secrets.AddTicket(ctx, Ticket{
		Hash: fleet.SecretHash(secret), OperatorID: operatorID, Way: way, ExpiresAt: a.clock.Now().Add(ticketLife),
	})
	if err != nil {
		return "", fmt.Errorf("sign in: %w", err)
	}
	return secret, nil
}

// ticket finds a ticket and counts the try.
func (a *Service) ticket(ctx context.Context, secret string) (Ticket, Operator, error) {
	if a.conf.Secrets == nil || !strings.HasPrefix(secret, TicketPrefix) {
		return Ticket{}, Operator{}, errTicket
	}
	t, err := a.conf.Secrets.TryTicket(ctx, fleet.SecretHash(secret))
	if fault.KindOf(err) == fault.NotFound || err == nil && (t.Tries > mostTries || !a.clock.Now().Before(t.ExpiresAt)) {
		return Ticket{}, Operator{}, errTicket
	}
	if err != nil {
		return Ticket{}, Operator{}, fmt.Errorf("sign in: %w", err)
	}
	o, err := a.store.Operator(ctx, t.OperatorID)
	if err == nil && o.Disabled {
		err = errTicket
	}
	return t, o, err
}

// Code ends a sign-in by the code of an authenticator, or by a recovery code.
func (a *Service) Code(ctx context.Context, ticket, code string, from Caller) (s Session, secret string, err error) {
	t, o, err := a.ticket(ctx, ticket)
	if err != nil {
		return s, "", err
	}
	if t.Way == "" {
		return s, "", errTicket
	}
	if err := a.checkCode(ctx, o.ID, code); err != nil {
		return s, "", err
	}
	return a.proved(ctx, t, from)
}

// proved ends a ticket with a session.
func (a *Service) proved(ctx context.Context, t Ticket, from Caller) (s Session, secret string, err error) {
	if err := a.conf.Secrets.DropTicket(ctx, t.Hash); err != nil {
		return s, "", fmt.Errorf("sign in: %w", err)
	}
	return a.Open(ctx, PartyOperator, t.OperatorID, t.Way, from)
}

var errCode = fault.Fields("code", []fault.Field{{Path: "code", Expected: "the six digits that your authenticator shows now, each good once, or a recovery code"}})

// checkCode takes a code once.
func (a *Service) checkCode(ctx context.Context, operatorID, code string) error {
	s, err := a.conf.Secrets.Secret(ctx, operatorID)
	if err != nil {
		return fmt.Errorf("second factor: %w", err)
	}
	if s.TOTP == "" {
		return errCode
	}
	code = strings.TrimSpace(code)
	digits := strings.ReplaceAll(code, " ", "")
	if len(digits) != 6 || strings.Trim(digits, "0123456789") != "" {
		used, err := a.conf.Secrets.UseRecovery(ctx, operatorID, recoveryHash(code))
		if err != nil {
			return fmt.Errorf("second factor: %w", err)
		}
		if !used {
			return errCode
		}
		a.log.WarnContext(ctx, "an operator signed in with a recovery code", "operator", operatorID)
		return nil
	}
	key, err := a.seal.open(s.TOTP, operatorID)
	if err != nil {
		return err
	}
	step, ok := totpStep(key, digits, a.clock.Now())
	if !ok {
		return errCode
	}
	switch fresh, err := a.conf.Secrets.UseStep(ctx, operatorID, step); {
	case err != nil:
		return fmt.Errorf("second factor: %w", err)
	case !fresh:
		return errCode
	}
	return nil
}

// Enrolment is a new authenticator that waits for its first code.
type Enrolment struct {
	Ticket string
	Key    string // base32, to type where no QR code can be read
	URL    string // otpauth:, for the QR code
}

// EnrolFirst begins to set up an authenticator with the ticket of a sign-in.
func (a *Service) EnrolFirst(ctx context.Context, ticket string) (Enrolment, error) {
	t, o, err := a.ticket(ctx, ticket)
	if err != nil {
		return Enrolment{}, err
	}
	s, err := a.conf.Secrets.Secret(ctx, o.ID)
	if err != nil {
		return Enrolment{}, fmt.Errorf("second factor: %w", err)
	}
	if next, err := a.owed(ctx, o.ID, s); err != nil || next != NextEnrol {
		return Enrolment{}, fault.New(fault.Denied, "this account has a second factor already: sign in with it")
	}
	return a.enrol(ctx, t.Hash, ticket, o)
}

// Enrol begins to set up an authenticator for somebody who is signed in. The
// one they have stays until the new one has shown a code.
func (a *Service) Enrol(ctx context.Context, operatorID string) (Enrolment, error) {
	if a.conf.Secrets == nil {
		return Enrolment{}, fault.New(fault.Unavailable, "authenticators are off on this server")
	}
	o, err := a.store.Operator(ctx, operatorID)
	if err != nil {
		return Enrolment{}, err
	}
	ticket, err := a.newTicket(ctx, operatorID, "")
	if err != nil {
		return Enrolment{}, err
	}
	return a.enrol(ctx, fleet.SecretHash(ticket), ticket, o)
}

func (a *Service) enrol(ctx context.Context, hash, ticket string, o Operator) (Enrolment, error) {
	key := newTOTP()
	if err := a.conf.Secrets.SetTicketTOTP(ctx, hash, a.seal.seal(key, o.ID)); err != nil {
		return Enrolment{}, fmt.Errorf("second factor: %w", err)
	}
	return Enrolment{Ticket: ticket, Key: key, URL: totpURL(a.conf.Issuer, o.Email, key)}, nil
}

// Enrolled ends the setting up of an authenticator by its first code. The
// recovery codes are shown this once. A sign-in that waited for it is done: then
// s is its session. Else every session but keep ends.
func (a *Service) Enrolled(ctx context.Context, ticket, code, keep string, from Caller) (recovery []string, s Session, secret string, err error) {
	t, o, err := a.ticket(ctx, ticket)
	if err != nil {
		return nil, s, "", err
	}
	if t.TOTP == "" {
		return nil, s, "", errTicket
	}
	key, err := a.seal.open(t.TOTP, o.ID)
	if err != nil {
		return nil, s, "", err
	}
	step, ok := totpStep(key, strings.ReplaceAll(strings.TrimSpace(code), " ", ""), a.clock.Now())
	if !ok {
		return nil, s, "", errCode
	}
	codes, hashes := recoveryCodes()
	err = a.tx.InTx(ctx, func(ctx context.Context) error {
		if err := a.conf.Secrets.PutTOTP(ctx, o.ID, t.TOTP, step, hashes, a.clock.Now()); err != nil {
			return err
		}
		if t.Way == "" {
			return a.endOthers(ctx, o.ID, keep)
		}
		s, secret, err = a.proved(ctx, t, from)
		return err
	})
	if err != nil {
		return nil, Session{}, "", fmt.Errorf("second factor: %w", err)
	}
	return codes, s, secret, nil
}

// Factors says what an operator proves themselves by.
func (a *Service) Factors(ctx context.Context, operatorID string) (Secret, error) {
	if a.conf.Secrets == nil {
		return Secret{}, nil
	}
	return a.conf.Secrets.Secret(ctx, operatorID)
}

// SetPassword changes an operator's password and ends their other sessions. The
// old one is asked for, but of those who came by a link within the hour: it was
// given to people who have none, or have forgotten it.
func (a *Service) SetPassword(ctx context.Context, operatorID, session, old, password string) error {
	if a.conf.Secrets == nil {
		return fault.New(fault.Unavailable, "signing in by password is off on this server")
	}
	o, err := a.store.Operator(ctx, operatorID)
	if err != nil {
		return err
	}
	s, err := a.conf.Secrets.Secret(ctx, operatorID)
	if err != nil {
		return fmt.Errorf("change password: %w", err)
	}
	linked, err := a.linked(ctx, operatorID, session)
	if err != nil {
		return err
	}
	if s.Password != "" && !linked {
		if !a.slow.pair.allow("old "+operatorID, a.clock.Now()) {
			return &SlowError{Wait: 3 * time.Minute}
		}
		if !samePassword(s.Password, old) {
			return fault.Fields("password", []fault.Field{{Path: "old", Expected: "the password that you have now"}})
		}
	}
	if err := checkPassword(password, o.Email); err != nil {
		return err
	}
	hash := hashPassword(password)
	err = a.tx.InTx(ctx, func(ctx context.Context) error {
		if err := a.conf.Secrets.PutPassword(ctx, operatorID, hash, a.clock.Now()); err != nil {
			return err
		}
		return a.endOthers(ctx, operatorID, session)
	})
	if err != nil {
		return fmt.Errorf("change password: %w", err)
	}
	return nil
}

// Fresh refuses somebody who has not shown a second factor within a quarter of
// an hour, nor come by a link within the hour: what is most dangerous asks for it.
func (a *Service) Fresh(ctx context.Context, operatorID, session string) error {
	all, err := a.Sessions(ctx, PartyOperator, operatorID)
	if err != nil {
		return err
	}
	now := a.clock.Now()
	for _, s := range all {
		if s.ID == session && (now.Sub(s.ProvedAt) < freshFor || s.Way == ByLink && now.Sub(s.CreatedAt) < time.Hour) {
			return nil
		}
	}
	return fault.Wrap(fault.Denied, "", ErrStale)
}

// freshFor is how long a second factor counts as just shown.
const freshFor = 15 * time.Minute

// ErrStale asks for a second factor again.
var ErrStale = errors.New("this needs your second factor once more: give a code, or sign in again")

// Prove takes a code from somebody who is signed in, for what asks for a fresh one.
func (a *Service) Prove(ctx context.Context, operatorID, session, code string) error {
	if a.conf.Secrets == nil {
		return errCode
	}
	if !a.slow.pair.allow("prove "+operatorID, a.clock.Now()) {
		return &SlowError{Wait: 3 * time.Minute}
	}
	if err := a.checkCode(ctx, operatorID, code); err != nil {
		return err
	}
	return a.store.ProveSession(ctx, session, a.clock.Now())
}

// linked reports whether a session was opened by a link within the hour.
func (a *Service) linked(ctx context.Context, operatorID, session string) (bool, error) {
	all, err := a.Sessions(ctx, PartyOperator, operatorID)
	for _, s := range all {
		if s.ID == session {
			return s.Way == ByLink && a.clock.Now().Sub(s.CreatedAt) < time.Hour, err
		}
	}
	return false, err
}

// endOthers ends what an operator has open beside one session, and the links
// and tickets that would open more.
func (a *Service) endOthers(ctx context.Context, operatorID, keep string) error {
	if err := a.EndOthers(ctx, PartyOperator, operatorID, keep); err != nil {
		return err
	}
	if err := a.store.DropLinks(ctx, PartyOperator, operatorID); err != nil {
		return err
	}
	if a.conf.Secrets == nil {
		return nil
	}
	return a.conf.Secrets.DropTickets(ctx, operatorID)
}

// NewRecovery replaces the recovery codes, which are shown this once.
func (a *Service) NewRecovery(ctx context.Context, operatorID string) ([]string, error) {
	s, err := a.Factors(ctx, operatorID)
	if err != nil {
		return nil, err
	}
	if s.TOTP == "" {
		return nil, fault.New(fault.Conflict, "recovery codes stand in for an authenticator: set one up first")
	}
	codes, hashes := recoveryCodes()
	return codes, a.conf.Secrets.PutRecovery(ctx, operatorID, hashes)
}
