// Package identity decides whom an account at an OpenID provider stands for,
// and keeps what a sign-in there needs while it is under way. The protocol
// itself is spoken by the adapter internal/oidc.
//
// The rules of linking, in this order:
//
//  1. An account (issuer and subject, OpenID Connect Core section 5.7) that is
//     linked stands for the person that it is linked to, whatever its mail
//     address has become.
//  2. Else, where the provider says that it has verified the mail address
//     (email_verified is true), it stands for the owner or operator of that
//     address, and is linked to them; they are told by mail.
//  3. Else, where the address is verified and no owner has it, an owner is made
//     of it: without a product, until they claim one. Operators are never made.
//  4. Else it is refused. Whoever is signed in may link any account of theirs
//     to themselves, verified or not, but none that is another's.
package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

// Life is how long somebody may take at the provider.
const Life = 10 * time.Minute

const statePrefix = "feq_"

// Claims are what a provider says of an account, after its signature, issuer,
// audience, expiry and nonce were checked.
type Claims struct {
	Provider      string // as configured
	Issuer        string
	Subject       string
	Email         string
	EmailVerified bool
	Name          string
	Locale        string
}

// Provider is where people have an account already.
type Provider struct {
	Name  string `json:"name" doc:"In addresses."`
	Title string `json:"title" doc:"As people know it."`
}

// Providers speaks OpenID Connect with the providers that are configured.
type Providers interface {
	For(party access.Party) []Provider
	// Begin makes a flow; address, given the state, is where the browser goes.
	// redirect is the address that the provider sends it back to.
	Begin(ctx context.Context, party access.Party, name, redirect string) (f Flow, address func(state string) string, err error)
	// Finish checks what the browser came back with; fault.Denied where anything does not fit.
	Finish(ctx context.Context, party access.Party, redirect string, f Flow, answer url.Values) (Claims, error)
}

// Identity links an account to a person.
type Identity struct {
	ID        string       `json:"id"`
	Party     access.Party `json:"-"`
	PersonID  string       `json:"-"`
	Issuer    string       `json:"issuer"`
	Subject   string       `json:"-"`
	Provider  string       `json:"provider"`
	Email     string       `json:"email,omitempty" doc:"That the provider named when it was linked."`
	CreatedAt time.Time    `json:"createdAt"`
	UsedAt    time.Time    `json:"usedAt,omitzero"`
}

// Flow is a sign-in that is under way at a provider.
type Flow struct {
	Provider string
	Nonce    string
	Verifier string // of PKCE, RFC 7636
	To       string // page of ours to go to afterwards
	LinkTo   string // id of the person who links an account; "": a sign-in
}

// Store keeps identities. A missing one is a fault.NotFound.
type Store interface {
	AddIdentity(ctx context.Context, i Identity) error // fault.Conflict when the account is linked
	Identity(ctx context.Context, party access.Party, issuer, subject string) (Identity, error)
	Identities(ctx context.Context, party access.Party, personID string) ([]Identity, error) // oldest first
	UseIdentity(ctx context.Context, id string, at time.Time) error
	DropIdentity(ctx context.Context, id string) error
}

// Operators finds operators; *access.Service is one.
type Operators interface {
	OperatorByEmail(ctx context.Context, email string) (access.Operator, error)
}

// Config is what the service works with.
type Config struct {
	Store     Store
	Once      access.Once
	Owners    fleet.Store
	Operators Operators
	Tx        fleet.Transactor
	Clock     clock.Clock // the machine's
	IDs       clock.IDs
	Log       *slog.Logger
	// Linked tells a person that an account was linked to theirs; may be nil.
	Linked func(ctx context.Context, i Identity) error
}

// Service decides whom accounts stand for.
type Service struct{ c Config }

// New makes the service.
func New(c Config) *Service { return &Service{c} }

const kind = "oidc"

// Start keeps a flow; state goes to the provider and into a cookie of the
// browser that began.
func (s *Service) Start(ctx context.Context, party access.Party, f Flow) (state string, err error) {
	doc, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	state = fleet.NewSecret(statePrefix)
	return state, s.c.Once.Keep(ctx, access.Pending{
		Hash: fleet.SecretHash(state), Kind: kind, Party: party, PersonID: f.LinkTo, Doc: string(doc), ExpiresAt: s.c.Clock.Now().Add(Life),
	})
}

// Resume gives the flow that a browser comes back with, once. cookie is the
// state that the browser was given, state what the provider handed back: where
// they differ somebody else began this (RFC 6749, section 10.12).
func (s *Service) Resume(ctx context.Context, party access.Party, provider, state, cookie string) (Flow, error) {
	refused := fault.New(fault.Denied, "this sign-in was not begun in this browser, took too long, or has ended already: begin again")
	if state == "" || state != cookie {
		return Flow{}, refused
	}
	p, err := s.c.Once.Take(ctx, kind, fleet.SecretHash(state))
	if fault.KindOf(err) == fault.NotFound {
		return Flow{}, refused
	}
	if err != nil {
		return Flow{}, err
	}
	var f Flow
	if err := json.Unmarshal([]byte(p.Doc), &f); err != nil {
		return Flow{}, fmt.Errorf("sign-in in the records: %w", err)
	}
	if p.Party != party || f.Provider != provider || !s.c.Clock.Now().Before(p.ExpiresAt) {
		return Flow{}, refused
	}
	return f, nil
}

// Person finds whom claims stand for, by the rules of this package, and links
// the account to them. made reports that an owner was made of it.
func (s *Service) Person(ctx context.Context, party access.Party, c Claims) (personID string, made bool, err error) {
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		known, err := s.c.Store.Identity(ctx, party, c.Issuer, c.Subject)
		if err == nil {
			personID = known.PersonID
			return s.c.Store.UseIdentity(ctx, known.ID, s.c.Clock.Now())
		}
		if fault.KindOf(err) != fault.NotFound {
			return err
		}
		email := fleet.CanonicalEmail(c.Email)
		if !c.EmailVerified || !fleet.ValidEmail(email) {
			return fault.New(fault.Denied, "%s has not verified a mail address for you, so we cannot tell who you are: sign in another way, then link this account under your account", c.Provider)
		}
		if personID, made, err = s.byEmail(ctx, party, email, c); err != nil {
			return err
		}
		return s.link(ctx, party, personID, c)
	})
	if err != nil {
		return "", false, fmt.Errorf("sign in with %s: %w", c.Provider, err)
	}
	return personID, made, nil
}

func (s *Service) byEmail(ctx context.Context, party access.Party, email string, c Claims) (id string, made bool, err error) {
	if party == access.PartyOperator {
		o, err := s.c.Operators.OperatorByEmail(ctx, email)
		if fault.KindOf(err) == fault.NotFound {
			return "", false, fault.New(fault.Denied, "there is no operator %s: ask an administrator to add you", email)
		}
		return o.ID, false, err
	}
	o, err := s.c.Owners.OwnerByEmail(ctx, email)
	if fault.KindOf(err) != fault.NotFound {
		return o.ID, false, err
	}
	locale := c.Locale
	if len(locale) < 2 || len(locale) > 35 {
		locale = "en"
	}
	name := c.Name
	if len(name) > 200 {
		name = ""
	}
	o, err = s.c.Owners.PutOwner(ctx, fleet.Owner{ID: s.c.IDs.ID(), Email: email, Name: name, Locale: locale, TimeZone: "UTC"})
	return o.ID, true, err
}

// Link links an account to a person who is signed in.
func (s *Service) Link(ctx context.Context, party access.Party, personID string, c Claims) error {
	return s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		known, err := s.c.Store.Identity(ctx, party, c.Issuer, c.Subject)
		switch {
		case err == nil && known.PersonID == personID:
			return nil
		case err == nil:
			return fault.New(fault.Conflict, "this account at %s opens another account here already", c.Provider)
		case fault.KindOf(err) != fault.NotFound:
			return err
		}
		return s.link(ctx, party, personID, c)
	})
}

func (s *Service) link(ctx context.Context, party access.Party, personID string, c Claims) error {
	now := s.c.Clock.Now()
	i := Identity{
		ID: s.c.IDs.ID(), Party: party, PersonID: personID, Issuer: c.Issuer, Subject: c.Subject, Provider: c.Provider,
		Email: fleet.CanonicalEmail(c.Email), CreatedAt: now, UsedAt: now,
	}
	if err := s.c.Store.AddIdentity(ctx, i); err != nil {
		return err
	}
	if s.c.Linked != nil {
		return s.c.Linked(ctx, i)
	}
	return nil
}

// List is the accounts that open a person's account, oldest first.
func (s *Service) List(ctx context.Context, party access.Party, personID string) ([]Identity, error) {
	return s.c.Store.Identities(ctx, party, personID)
}

// Remove unlinks an account. It is refused (fault.Conflict) where it is the
// last way in: others says whether the person has another kind of one.
func (s *Service) Remove(ctx context.Context, party access.Party, personID, id string, others bool) error {
	return s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		all, err := s.c.Store.Identities(ctx, party, personID)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(i Identity) bool { return i.ID == id }) {
			return fault.New(fault.NotFound, "no linked account %q", id)
		}
		if !others && len(all) == 1 {
			return fault.New(fault.Conflict, "this is the last way into your account: add a passkey first")
		}
		return s.c.Store.DropIdentity(ctx, id)
	})
}
