// Package access lets people in: operators and owners, with links, sessions and
// API tokens, and says what each operator may do.
package access

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Party is whom a link or a session is for.
type Party string

// Operators run the service, owners decide for their units. Neither's
// credentials open anything of the other's.
const (
	PartyOperator Party = "operator"
	PartyOwner    Party = "owner"
)

// Prefixes of the secrets of people.
const (
	LinkPrefix     = "fel_" // one-time link
	SessionPrefix  = "fes_" // cookie
	APITokenPrefix = "fet_" // Bearer token of an operator's program
)

// Link signs someone in once. A link of the first operator has no subject.
type Link struct {
	Hash      string
	Party     Party
	Subject   string // id of the operator or owner
	Trusted   bool   // given by an administrator or at the machine itself: it asks for no second factor
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Session is someone signed in in a browser.
type Session struct {
	ID        string    `json:"id"`
	Hash      string    `json:"-"`
	Party     Party     `json:"role"`
	Subject   string    `json:"subject"` // id of the operator or owner
	Agent     string    `json:"agent,omitempty"`
	Address   string    `json:"address,omitempty"` // where it was opened from
	Way       Way       `json:"way,omitempty"`     // how they signed in
	CreatedAt time.Time `json:"createdAt"`
	UsedAt    time.Time `json:"usedAt,omitzero"`   // to some minutes
	ProvedAt  time.Time `json:"provedAt,omitzero"` // when they last showed a second factor
	ExpiresAt time.Time `json:"expiresAt"`
}

// Way is how somebody signed in.
type Way string

// The ways.
const (
	ByLink     Way = "link"
	ByPassword Way = "password" // with a second factor
	ByPasskey  Way = "passkey"
	ByOIDC     Way = "oidc"
	// ByMailAndCode is a link by mail with a second factor.
	ByMailAndCode Way = "mail and code"
)

// APIToken lets a program act for an operator.
type APIToken struct {
	ID    string `json:"id"`
	Hash  string `json:"-"`
	Name  string `json:"name"`
	Scope Scope  `json:"scope" enum:"read,write,admin,hawkbit"`
	// Permissions narrow what the scope allows; none: all of it.
	Permissions []Permission `json:"permissions,omitempty"`
	OperatorID  string       `json:"operatorId"`
	CreatedAt   time.Time    `json:"createdAt"`
	ExpiresAt   time.Time    `json:"expiresAt"`
	LastUsedAt  time.Time    `json:"lastUsedAt,omitzero"` // to the hour
}

// Store keeps operators and what people sign in with; of secrets only
// hashes. A missing thing is a fault.NotFound.
type Store interface {
	AddOperator(ctx context.Context, o Operator) error // fault.Conflict when the email is taken
	Operator(ctx context.Context, id string) (Operator, error)
	OperatorByEmail(ctx context.Context, email string) (Operator, error)
	Operators(ctx context.Context) ([]Operator, error) // oldest first
	PutOperator(ctx context.Context, o Operator) error // what may change: name, role, sight, disabled
	// DropOperator removes an operator with all they sign in with, and their tokens.
	DropOperator(ctx context.Context, id string) error

	AddLink(ctx context.Context, l Link) error
	// UseLink takes away the link, so that it is found by one caller only.
	UseLink(ctx context.Context, party Party, hash string) (Link, error)
	// DropLinks takes away all links of a party; subject "" means all, else that subject's.
	DropLinks(ctx context.Context, party Party, subject string) error

	AddSession(ctx context.Context, s Session) error
	SessionByHash(ctx context.Context, party Party, hash string) (Session, error)
	Sessions(ctx context.Context, party Party, subject string) ([]Session, error) // newest first
	// DropSession ends one session of a subject; id "" means all, and subject "" all of the party.
	DropSession(ctx context.Context, party Party, subject, id string) error

	AddAPIToken(ctx context.Context, t APIToken) error
	APITokenByHash(ctx context.Context, hash string) (APIToken, error)
	APITokens(ctx context.Context) ([]APIToken, error) // newest first
	TouchAPIToken(ctx context.Context, id string, at time.Time) error
	DropAPIToken(ctx context.Context, id string) error

	// TouchSession notes that a session was used.
	TouchSession(ctx context.Context, id string, at time.Time) error
	// ProveSession notes that whoever has a session has shown a second factor.
	ProveSession(ctx context.Context, id string, at time.Time) error

	// DropExpired removes links, sessions and tokens that expired before a time.
	DropExpired(ctx context.Context, before time.Time) error
}

// LinkSender tells someone the secret of a sign-in link by mail.
type LinkSender interface {
	SendLink(ctx context.Context, l Link, email, locale, secret string) error
}

// Config says how long credentials live and how often links may be asked
// for. Zero values mean the defaults.
type Config struct {
	LinkLife        time.Duration             // 15 minutes
	OperatorSession time.Duration             // 12 hours
	OwnerSession    time.Duration             // 30 days
	TokenLife       time.Duration             // 90 days, where no expiry is asked for
	LinksPerEmail   int                       // an hour: 5
	LinksPerAddress int                       // an hour: 60
	OperatorEmail   string                    // of the first operator: operator@localhost
	Links           LinkSender                // nil: no mail, so no links by mail
	LinkUsed        func(secret string)       // called when a link has been used up; may be nil
	Secrets         SecretStore               // of passwords and authenticators; nil: there are none
	Key             []byte                    // of 32 bytes: authenticators' keys are encrypted with it
	Issuer          string                    // as authenticators show this service: Fettle
	Approvals       ApprovalStore             // of what needs two people; nil: nothing does
	FourEyes        func(product string) bool // for which products campaigns need two people to start; nil: none
	// Passkeys counts an operator's passkeys; may be nil.
	Passkeys func(ctx context.Context, operatorID string) (int, error)
}

// MaxTokenLife bounds the life of an API token.
const MaxTokenLife = 366 * 24 * time.Hour

// Service lets operators and owners in.
type Service struct {
	store  Store
	owners fleet.Store
	tx     fleet.Transactor
	clock  clock.Clock
	ids    clock.IDs
	log    *slog.Logger
	conf   Config
	emails *limiter
	from   *limiter
	slow   slow
	seal   sealer
}

// New makes the service. Give it the machine's clock, never a scaled
// one: links and sessions live in the time of the people who use them.
func New(store Store, owners fleet.Store, tx fleet.Transactor, c clock.Clock, ids clock.IDs, log *slog.Logger, conf Config) *Service {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&conf.LinkLife, 15*time.Minute)
	def(&conf.OperatorSession, 12*time.Hour)
	def(&conf.OwnerSession, 30*24*time.Hour)
	def(&conf.TokenLife, 90*24*time.Hour)
	if conf.LinksPerEmail == 0 {
		conf.LinksPerEmail = 5
	}
	if conf.LinksPerAddress == 0 {
		conf.LinksPerAddress = 60
	}
	if conf.OperatorEmail == "" {
		conf.OperatorEmail = "operator@localhost"
	}
	conf.OperatorEmail = fleet.CanonicalEmail(conf.OperatorEmail)
	if conf.Issuer == "" {
		conf.Issuer = "Fettle"
	}
	var seal sealer
	if conf.Secrets != nil {
		var err error
		if seal, err = newSealer(conf.Key); err != nil {
			log.Error("signing in by password is off", "error", err)
			conf.Secrets = nil
		}
	}
	return &Service{
		slow: newSlow(), seal: seal, store: store, owners: owners, tx: tx, clock: c, ids: ids, log: log, conf: conf,
		emails: newLimiter(conf.LinksPerEmail, time.Hour), from: newLimiter(conf.LinksPerAddress, time.Hour),
	}
}

// MailAvailable reports whether links can be asked for by mail.
func (a *Service) MailAvailable() bool { return a.conf.Links != nil }

// Bootstrap makes the first operator's one-time link, while there is no
// operator; created is false otherwise. A new call voids the link of the one
// before: call it again before LinkLife is over, as long as it creates.
func (a *Service) Bootstrap(ctx context.Context) (secret string, created bool, err error) {
	err = a.tx.InTx(ctx, func(ctx context.Context) error {
		all, err := a.store.Operators(ctx)
		if err != nil || len(all) > 0 {
			return err
		}
		if err := a.store.DropLinks(ctx, PartyOperator, ""); err != nil {
			return err
		}
		created = true
		secret, err = a.newLink(ctx, PartyOperator, "")
		return err
	})
	if err != nil {
		return "", false, fmt.Errorf("make the first operator's link: %w", err)
	}
	return secret, created, nil
}

// Reset ends every operator's sessions and links and makes a one-time link for
// the oldest admin, who sets up a new password and authenticator with it. API
// tokens stay: they are listed, and revoked one by one.
func (a *Service) Reset(ctx context.Context) (secret string, err error) {
	err = a.tx.InTx(ctx, func(ctx context.Context) error {
		if err := a.store.DropSession(ctx, PartyOperator, "", ""); err != nil {
			return err
		}
		if err := a.store.DropLinks(ctx, PartyOperator, ""); err != nil {
			return err
		}
		all, err := a.store.Operators(ctx)
		if err != nil {
			return err
		}
		subject := ""
		if i := slices.IndexFunc(all, func(o Operator) bool { return o.Role == Admin && !o.Disabled }); i >= 0 {
			subject = all[i].ID
		} else if len(all) > 0 {
			return fault.New(fault.Conflict, "no operator is an admin")
		}
		if subject != "" && a.conf.Secrets != nil {
			if err := a.conf.Secrets.DropSecret(ctx, subject); err != nil {
				return err
			}
			if err := a.conf.Secrets.DropTickets(ctx, subject); err != nil {
				return err
			}
		}
		secret, err = a.newLink(ctx, PartyOperator, subject)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reset operators' access: %w", err)
	}
	a.log.WarnContext(ctx, "operators' sessions and links were reset")
	return secret, nil
}

// newLink makes a link that is given at the machine itself.
func (a *Service) newLink(ctx context.Context, party Party, subject string) (string, error) {
	secret, now := fleet.NewSecret(LinkPrefix), a.clock.Now()
	return secret, a.store.AddLink(ctx, Link{
		Hash: fleet.SecretHash(secret), Party: party, Subject: subject, Trusted: true, CreatedAt: now, ExpiresAt: now.Add(a.conf.LinkLife),
	})
}

// RequestLink mails a sign-in link to an operator or owner. Whether the email
// is known cannot be told from the answer. It is fault.Unavailable without
// mail, and when one address asks too often.
func (a *Service) RequestLink(ctx context.Context, party Party, email, remoteAddr string) error {
	if a.conf.Links == nil {
		return fault.New(fault.Unavailable, "signing in by mail is off: this server has no mail server configured")
	}
	email, now := fleet.CanonicalEmail(email), a.clock.Now()
	if !a.from.allow(remoteAddr, now) {
		return fault.New(fault.Unavailable, "too many sign-in links were asked for from this address: try again in some minutes")
	}
	if !fleet.ValidEmail(email) || !a.emails.allow(string(party)+" "+email, now) {
		return nil
	}
	subject, locale, err := a.subject(ctx, party, email)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sign-in link: %w", err)
	}
	err = a.tx.InTx(ctx, func(ctx context.Context) error {
		secret := fleet.NewSecret(LinkPrefix)
		l := Link{Hash: fleet.SecretHash(secret), Party: party, Subject: subject, CreatedAt: now, ExpiresAt: now.Add(a.conf.LinkLife)}
		if err := a.store.AddLink(ctx, l); err != nil {
			return err
		}
		return a.conf.Links.SendLink(ctx, l, email, locale, secret)
	})
	if err != nil {
		return fmt.Errorf("sign-in link: %w", err)
	}
	return nil
}

func (a *Service) subject(ctx context.Context, party Party, email string) (id, locale string, err error) {
	if party == PartyOwner {
		o, err := a.owners.OwnerByEmail(ctx, email)
		return o.ID, o.Locale, err
	}
	o, err := a.store.OperatorByEmail(ctx, email)
	return o.ID, "en", err
}

// SignIn uses up a link and opens a session; secret is the cookie's value. A
// link by mail asks operators who have an authenticator for its code, too: the
// mistake is then at "code", and the link is good for another try.
func (a *Service) SignIn(ctx context.Context, party Party, link, code string, from Caller) (s Session, secret string, err error) {
	refused := fault.New(fault.Denied, "this sign-in link is not valid any more: links work once and for %d minutes, ask for a new one", int(a.conf.LinkLife/time.Minute))
	if !strings.HasPrefix(link, LinkPrefix) {
		return Session{}, "", refused
	}
	hash := fleet.SecretHash(link)
	err = a.tx.InTx(ctx, func(ctx context.Context) error {
		l, err := a.store.UseLink(ctx, party, hash)
		if fault.KindOf(err) == fault.NotFound {
			return refused
		}
		if err != nil {
			return err
		}
		now := a.clock.Now()
		if !now.Before(l.ExpiresAt) {
			return refused
		}
		way := ByLink
		if l.Subject == "" {
			o := Operator{ID: a.ids.ID(), Email: a.conf.OperatorEmail, Role: Admin, CreatedAt: now}
			if err := a.store.AddOperator(ctx, o); err != nil {
				return err
			}
			l.Subject = o.ID
		} else if party == PartyOperator {
			if way, err = a.second(ctx, l, hash, code); err != nil {
				return err
			}
		}
		s, secret, err = a.Open(ctx, party, l.Subject, way, from)
		return err
	})
	if err != nil {
		return Session{}, "", fmt.Errorf("sign in: %w", err)
	}
	if a.conf.LinkUsed != nil {
		a.conf.LinkUsed(link)
	}
	return s, secret, nil
}

// second asks whoever came by mail for their second factor, if they have one.
func (a *Service) second(ctx context.Context, l Link, hash, code string) (Way, error) {
	o, err := a.store.Operator(ctx, l.Subject)
	if err != nil {
		return "", err
	}
	if o.Disabled {
		return "", fault.New(fault.Denied, "this account is disabled")
	}
	if l.Trusted || a.conf.Secrets == nil {
		return ByLink, nil
	}
	s, err := a.conf.Secrets.Secret(ctx, o.ID)
	if err != nil {
		return "", err
	}
	switch next, err := a.owed(ctx, o.ID, s); {
	case err != nil:
		return "", err
	case next == NextPasskey:
		return "", fault.New(fault.Denied, "this account is opened by its passkey")
	case next == NextEnrol:
		return ByLink, nil
	}
	if code != "" && !a.slow.pair.allow("link "+hash, a.clock.Now()) {
		return "", &SlowError{Wait: 3 * time.Minute}
	}
	return ByMailAndCode, a.checkCode(ctx, o.ID, code)
}

func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
}

// Session finds who a cookie's value stands for; fault.Denied when it is not
// known, of the other party, or expired.
func (a *Service) Session(ctx context.Context, party Party, secret string) (Session, error) {
	refused := fault.New(fault.Denied, "not signed in, or the session is over")
	if !strings.HasPrefix(secret, SessionPrefix) {
		return Session{}, refused
	}
	s, err := a.store.SessionByHash(ctx, party, fleet.SecretHash(secret))
	if fault.KindOf(err) == fault.NotFound {
		return Session{}, refused
	}
	if err != nil {
		return Session{}, fmt.Errorf("session: %w", err)
	}
	now := a.clock.Now()
	if !now.Before(s.ExpiresAt) {
		return Session{}, refused
	}
	if now.Sub(s.UsedAt) >= 5*time.Minute {
		s.UsedAt = now
		if err := a.store.TouchSession(ctx, s.ID, now); err != nil {
			return Session{}, fmt.Errorf("session: %w", err)
		}
	}
	return s, nil
}

// Sessions lists a person's open sessions, newest first.
func (a *Service) Sessions(ctx context.Context, party Party, subject string) ([]Session, error) {
	all, err := a.store.Sessions(ctx, party, subject)
	now := a.clock.Now()
	return slices.DeleteFunc(all, func(s Session) bool { return !now.Before(s.ExpiresAt) }), err
}

// EndSession signs a person out of one session.
func (a *Service) EndSession(ctx context.Context, party Party, subject, id string) error {
	if subject == "" || id == "" {
		return fault.New(fault.NotFound, "no such session")
	}
	return a.store.DropSession(ctx, party, subject, id)
}

// NewToken asks for an API token.
type NewToken struct {
	OperatorID  string
	Name        string
	Scope       Scope
	Permissions []Permission
	Expires     time.Time // zero: after the default life
}

// CreateAPIToken makes a token for an operator's program; secret is shown once.
func (a *Service) CreateAPIToken(ctx context.Context, in NewToken) (t APIToken, secret string, err error) {
	now := a.clock.Now()
	if in.Expires.IsZero() {
		in.Expires = now.Add(a.conf.TokenLife)
	}
	var m []fault.Field
	if strings.TrimSpace(in.Name) == "" || len(in.Name) > 100 {
		m = append(m, fault.Field{Path: "name", Expected: "what the token is for, in at most 100 bytes", Got: in.Name})
	}
	if in.Scope != ScopeHawkbit && !slices.Contains(scopes, in.Scope) {
		m = append(m, fault.Field{Path: "scope", Expected: "read, write, admin or hawkbit", Got: string(in.Scope)})
	}
	for i, p := range in.Permissions {
		if !in.Scope.May()[p] {
			m = append(m, fault.Field{Path: fmt.Sprintf("permissions[%d]", i), Expected: "a permission that the scope holds", Got: string(p)})
		}
	}
	if !in.Expires.After(now) || in.Expires.Sub(now) > MaxTokenLife {
		m = append(m, fault.Field{Path: "expires", Expected: "a time to come, at most 366 days from now", Got: in.Expires.Format(time.RFC3339)})
	}
	if err := fault.Fields("API token", m); err != nil {
		return APIToken{}, "", err
	}
	secret = fleet.NewSecret(APITokenPrefix)
	t = APIToken{
		ID: a.ids.ID(), Hash: fleet.SecretHash(secret), Name: in.Name, Scope: in.Scope, Permissions: in.Permissions,
		OperatorID: in.OperatorID, CreatedAt: now, ExpiresAt: in.Expires.UTC(),
	}
	if err := a.store.AddAPIToken(ctx, t); err != nil {
		return APIToken{}, "", fmt.Errorf("create API token: %w", err)
	}
	return t, secret, nil
}

// APIToken finds the token a secret stands for; fault.Denied when it is not
// known, revoked or expired, or when the operator who made it is no more.
func (a *Service) APIToken(ctx context.Context, secret string) (APIToken, error) {
	t, o, err := a.Bearer(ctx, secret)
	if err == nil && t.Scope == ScopeHawkbit && !o.hawkbit() {
		err = errToken
	}
	return t, err
}

var errToken = fault.New(fault.Denied, "this API token is not known, revoked or expired")

// Bearer is APIToken with the operator who made it.
func (a *Service) Bearer(ctx context.Context, secret string) (APIToken, Operator, error) {
	if !strings.HasPrefix(secret, APITokenPrefix) {
		return APIToken{}, Operator{}, errToken
	}
	t, err := a.store.APITokenByHash(ctx, fleet.SecretHash(secret))
	if fault.KindOf(err) == fault.NotFound {
		return APIToken{}, Operator{}, errToken
	}
	if err != nil {
		return APIToken{}, Operator{}, fmt.Errorf("API token: %w", err)
	}
	now := a.clock.Now()
	if !now.Before(t.ExpiresAt) {
		return APIToken{}, Operator{}, errToken
	}
	o, err := a.store.Operator(ctx, t.OperatorID)
	if fault.KindOf(err) == fault.NotFound || err == nil && o.Disabled {
		return APIToken{}, Operator{}, errToken
	}
	if err != nil {
		return APIToken{}, Operator{}, fmt.Errorf("API token: %w", err)
	}
	if now.Sub(t.LastUsedAt) >= time.Hour {
		t.LastUsedAt = now
		if err := a.store.TouchAPIToken(ctx, t.ID, now); err != nil {
			return APIToken{}, Operator{}, fmt.Errorf("API token: %w", err)
		}
	}
	return t, o, nil
}

// APITokens lists all tokens, expired ones too, newest first.
func (a *Service) APITokens(ctx context.Context) ([]APIToken, error) { return a.store.APITokens(ctx) }

// RevokeAPIToken ends a token.
func (a *Service) RevokeAPIToken(ctx context.Context, id string) error {
	return a.store.DropAPIToken(ctx, id)
}

// Operator finds an operator by id.
func (a *Service) Operator(ctx context.Context, id string) (Operator, error) {
	return a.store.Operator(ctx, id)
}

// Clean removes what expired more than a week ago; call it now and then.
func (a *Service) Clean(ctx context.Context) error {
	return a.store.DropExpired(ctx, a.clock.Now().Add(-7*24*time.Hour))
}
