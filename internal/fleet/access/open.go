package access

import (
	"context"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/fleet"
)

// Pending is what somebody has begun and may end once: a challenge for a
// passkey, a sign-in at a provider, a link to sign up, a new mail address.
type Pending struct {
	Hash      string // of the secret that ends it
	Kind      string
	Party     Party
	PersonID  string // "" while nobody knows who it is
	Address   string // a mail address that it is about, if any
	Doc       string
	ExpiresAt time.Time
}

// Open signs somebody in who has proved who they are; secret is the cookie's value.
func (a *Service) Open(ctx context.Context, party Party, subject string, way Way, from Caller) (s Session, secret string, err error) {
	life, now := a.conf.OperatorSession, a.clock.Now()
	if party == PartyOwner {
		life = a.conf.OwnerSession
	}
	secret = fleet.NewSecret(SessionPrefix)
	s = Session{
		ID: a.ids.ID(), Hash: fleet.SecretHash(secret), Party: party, Subject: subject, Way: way,
		Agent: cut(from.Agent, 200), Address: cut(from.Address, 64), CreatedAt: now, UsedAt: now, ExpiresAt: now.Add(life),
	}
	if way != ByLink {
		s.ProvedAt = now
	}
	if err := a.store.AddSession(ctx, s); err != nil {
		return Session{}, "", fmt.Errorf("sign in: %w", err)
	}
	return s, secret, nil
}

// EndOthers signs a person out everywhere but in one session.
func (a *Service) EndOthers(ctx context.Context, party Party, subject, keep string) error {
	all, err := a.store.Sessions(ctx, party, subject)
	for _, s := range all {
		if err == nil && s.ID != keep {
			err = a.store.DropSession(ctx, party, subject, s.ID)
		}
	}
	return err
}

// OperatorByEmail finds an operator by mail address.
func (a *Service) OperatorByEmail(ctx context.Context, email string) (Operator, error) {
	return a.store.OperatorByEmail(ctx, fleet.CanonicalEmail(email))
}

// Limiter slows down whoever guesses: each key may do so many things in a period.
type Limiter struct{ l *limiter }

// NewLimiter allows events in each period.
func NewLimiter(events int, period time.Duration) Limiter { return Limiter{newLimiter(events, period)} }

// Allow takes one event of a key, or reports that there is none left.
func (l Limiter) Allow(key string, now time.Time) bool { return l.l.allow(key, now) }

// Left reports whether a key has an event left, and takes none.
func (l Limiter) Left(key string, now time.Time) bool { return l.l.left(key, now) }

// Once keeps what works once.
type Once interface {
	Keep(ctx context.Context, p Pending) error
	// Take takes it away, so that it is found by one caller only; fault.NotFound without.
	Take(ctx context.Context, kind, hash string) (Pending, error)
}

// DropLinks makes the sign-in links of a person void.
func (a *Service) DropLinks(ctx context.Context, party Party, subject string) error {
	if subject == "" {
		return nil
	}
	return a.store.DropLinks(ctx, party, subject)
}
