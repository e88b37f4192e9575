// Package passkey lets people in by passkeys: public keys that their devices
// keep, after W3C Web Authentication Level 3. It is the relying party's side, of
// owners and of operators alike; what a browser sent is checked by
// go-webauthn. No name is typed (discoverable credentials), and the device
// has to verify its user, so that a passkey is two factors by itself.
package passkey

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

// Most is how many passkeys one person may have.
const Most = 20

// Life is how long a challenge can be answered.
const Life = 5 * time.Minute

// ceremonyPrefix marks the ids of ceremonies, which are secrets of one browser.
const ceremonyPrefix = "fey_"

// Passkey is a public key of a person.
type Passkey struct {
	ID         string              `json:"id"`
	Party      access.Party        `json:"-"`
	PersonID   string              `json:"-"`
	Name       string              `json:"name" doc:"As its owner calls it."`
	Credential webauthn.Credential `json:"-"`
	Synced     bool                `json:"synced" doc:"A provider keeps copies of it on the person's other devices."`
	CreatedAt  time.Time           `json:"createdAt"`
	UsedAt     time.Time           `json:"usedAt,omitzero"`
	ClonedAt   time.Time           `json:"clonedAt,omitzero" doc:"It answered with a counter that it had passed before: a copy of it may be about. It opens nothing any more; remove it."`
}

// Person is whom a passkey is made for.
type Person struct {
	ID   string
	Name string // that their device shows beside the passkey: the mail address
}

// Ceremony is a challenge that a browser answers.
type Ceremony struct {
	ID      string          `json:"id" doc:"To be sent with the answer."`
	Options json.RawMessage `json:"options" doc:"What navigator.credentials takes: its member publicKey, as PublicKeyCredential.parse…OptionsFromJSON reads it."`
}

// Store keeps passkeys. A missing one is a fault.NotFound.
type Store interface {
	AddPasskey(ctx context.Context, k Passkey) error                                      // fault.Conflict when the credential is known
	Passkeys(ctx context.Context, party access.Party, personID string) ([]Passkey, error) // oldest first
	PasskeyByCredential(ctx context.Context, credential []byte) (Passkey, error)
	SetPasskey(ctx context.Context, k Passkey) error // all but whose it is
	DropPasskey(ctx context.Context, id string) error
}

// Config is what the service works with; PublicURL is as people reach it: a
// passkey belongs to its host for ever.
type Config struct {
	Store     Store
	Once      access.Once
	Tx        fleet.Transactor
	Clock     clock.Clock // the machine's
	IDs       clock.IDs
	Log       *slog.Logger
	PublicURL string
}

// Service registers passkeys and lets people in by them.
type Service struct {
	c   Config
	web *webauthn.WebAuthn // nil: people reach us at an IP address, to which no passkey can belong
}

var errNoHost = fault.New(fault.Unavailable, "passkeys need a domain name, and this server is reached by an IP address: ask who runs it to set public-url")

// Available reports whether there can be passkeys: the server is reached by a
// name, not by an IP address (WebAuthn level 2, section 5.1.2, "rp ID").
func (s *Service) Available() bool { return s.web != nil }

// New makes the service.
func New(c Config) (*Service, error) {
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("passkeys: %q is no address that people could reach us at", c.PublicURL)
	}
	if net.ParseIP(u.Hostname()) != nil {
		return &Service{c: c}, nil
	}
	web, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: "Fettle", RPOrigins: []string{u.Scheme + "://" + u.Host},
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification: protocol.VerificationRequired,
		},
		AttestationPreference: protocol.PreferNoAttestation,
	})
	if err != nil {
		return nil, fmt.Errorf("passkeys: %w", err)
	}
	return &Service{c, web}, nil
}

// someone is a person as the library wants them.
type someone struct {
	handle []byte
	name   string
	keys   []webauthn.Credential
}

func (s someone) WebAuthnID() []byte                         { return s.handle }
func (s someone) WebAuthnName() string                       { return s.name }
func (s someone) WebAuthnDisplayName() string                { return s.name }
func (s someone) WebAuthnCredentials() []webauthn.Credential { return s.keys }

// handle names a person to their device: it says nothing about them, and an
// owner's never stands for an operator.
func handle(party access.Party, personID string) []byte {
	return []byte(string(party) + ":" + personID)
}

func (s *Service) someone(ctx context.Context, party access.Party, p Person) (someone, []Passkey, error) {
	keys, err := s.c.Store.Passkeys(ctx, party, p.ID)
	out := someone{handle: handle(party, p.ID), name: p.Name}
	for i := range keys {
		out.keys = append(out.keys, keys[i].Credential)
	}
	return out, keys, err
}

// begin keeps a challenge.
func (s *Service) begin(ctx context.Context, kind string, party access.Party, personID string, options any, session *webauthn.SessionData) (Ceremony, error) {
	raw, err := json.Marshal(options)
	if err != nil {
		return Ceremony{}, err
	}
	doc, err := json.Marshal(session)
	if err != nil {
		return Ceremony{}, err
	}
	id := fleet.NewSecret(ceremonyPrefix)
	err = s.c.Once.Keep(ctx, access.Pending{
		Hash: fleet.SecretHash(id), Kind: kind, Party: party, PersonID: personID, Doc: string(doc), ExpiresAt: s.c.Clock.Now().Add(Life),
	})
	return Ceremony{id, raw}, err
}

// end takes the challenge that is answered.
func (s *Service) end(ctx context.Context, kind string, party access.Party, personID, id string) (*webauthn.SessionData, error) {
	if !s.Available() {
		return nil, errNoHost
	}
	over := fault.New(fault.Denied, "this took too long, or was answered before: begin again")
	p, err := s.c.Once.Take(ctx, kind, fleet.SecretHash(id))
	if fault.KindOf(err) == fault.NotFound {
		return nil, over
	}
	if err != nil {
		return nil, err
	}
	if p.Party != party || p.PersonID != personID || !s.c.Clock.Now().Before(p.ExpiresAt) {
		return nil, over
	}
	var session webauthn.SessionData
	if err := json.Unmarshal([]byte(p.Doc), &session); err != nil {
		return nil, fmt.Errorf("challenge in the records: %w", err)
	}
	return &session, nil
}

// Kinds of ceremonies.
const (
	registering = "passkey-new"
	signingIn   = "passkey-sign-in"
	verifying   = "passkey-verify"
)

// Register begins to make a passkey for a person who is signed in.
func (s *Service) Register(ctx context.Context, party access.Party, p Person) (Ceremony, error) {
	who, keys, err := s.someone(ctx, party, p)
	if err != nil {
		return Ceremony{}, fmt.Errorf("new passkey: %w", err)
	}
	if len(keys) >= Most {
		return Ceremony{}, fault.New(fault.Conflict, "%d passkeys are the most that one account has: remove one first", Most)
	}
	exclude := make([]protocol.CredentialDescriptor, len(who.keys))
	for i := range who.keys {
		exclude[i] = who.keys[i].Descriptor()
	}
	if !s.Available() {
		return Ceremony{}, errNoHost
	}
	options, session, err := s.web.BeginRegistration(who, webauthn.WithExclusions(exclude))
	if err != nil {
		return Ceremony{}, fmt.Errorf("new passkey: %w", err)
	}
	return s.begin(ctx, registering, party, p.ID, options, session)
}

// Registered keeps the passkey that a device has made. response is what
// navigator.credentials.create gave, as PublicKeyCredential.toJSON writes it.
func (s *Service) Registered(ctx context.Context, party access.Party, p Person, ceremony, name string, response []byte) (Passkey, error) {
	name, err := named(name)
	if err != nil {
		return Passkey{}, err
	}
	session, err := s.end(ctx, registering, party, p.ID, ceremony)
	if err != nil {
		return Passkey{}, fmt.Errorf("new passkey: %w", err)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return Passkey{}, s.refuse(ctx, "new passkey", err)
	}
	var k Passkey
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		who, keys, err := s.someone(ctx, party, p)
		if err != nil {
			return err
		}
		if len(keys) >= Most {
			return fault.New(fault.Conflict, "%d passkeys are the most that one account has: remove one first", Most)
		}
		made, err := s.web.CreateCredential(who, *session, parsed)
		if err != nil {
			return s.refuse(ctx, "new passkey", err)
		}
		made.Attestation = webauthn.CredentialAttestation{} // not asked for, not kept
		k = Passkey{
			ID: s.c.IDs.ID(), Party: party, PersonID: p.ID, Name: name, Credential: *made, Synced: made.Flags.BackupState, CreatedAt: s.c.Clock.Now(),
		}
		return s.c.Store.AddPasskey(ctx, k)
	})
	return k, err
}

// named checks what a person calls a passkey.
func named(name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > 100 {
		return "", fault.Fields("passkey", []fault.Field{{Path: "name", Expected: "a name that you know it by, in at most 100 bytes", Got: name}})
	}
	return name, nil
}

// SignIn begins to let somebody in who has not said who they are.
func (s *Service) SignIn(ctx context.Context, party access.Party) (Ceremony, error) {
	if !s.Available() {
		return Ceremony{}, errNoHost
	}
	options, session, err := s.web.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return Ceremony{}, fmt.Errorf("sign in by passkey: %w", err)
	}
	return s.begin(ctx, signingIn, party, "", options, session)
}

// SignedIn says whose passkey answered. response is what
// navigator.credentials.get gave. It is fault.Denied where no passkey of the
// party did.
func (s *Service) SignedIn(ctx context.Context, party access.Party, ceremony string, response []byte) (Passkey, error) {
	return s.answered(ctx, signingIn, party, "", ceremony, response)
}

// Verify begins to ask a person who is known for one of their passkeys.
func (s *Service) Verify(ctx context.Context, party access.Party, p Person) (Ceremony, error) {
	who, _, err := s.someone(ctx, party, p)
	if err != nil {
		return Ceremony{}, fmt.Errorf("verify by passkey: %w", err)
	}
	if len(who.keys) == 0 {
		return Ceremony{}, fault.New(fault.NotFound, "there is no passkey of this account")
	}
	if !s.Available() {
		return Ceremony{}, errNoHost
	}
	options, session, err := s.web.BeginLogin(who, webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return Ceremony{}, fmt.Errorf("verify by passkey: %w", err)
	}
	return s.begin(ctx, verifying, party, p.ID, options, session)
}

// Verified checks the answer of a person who is known.
func (s *Service) Verified(ctx context.Context, party access.Party, personID, ceremony string, response []byte) (Passkey, error) {
	return s.answered(ctx, verifying, party, personID, ceremony, response)
}

func (s *Service) answered(ctx context.Context, kind string, party access.Party, personID, ceremony string, response []byte) (Passkey, error) {
	const what = "sign in by passkey"
	session, err := s.end(ctx, kind, party, personID, ceremony)
	if err != nil {
		return Passkey{}, fmt.Errorf("%s: %w", what, err)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return Passkey{}, s.refuse(ctx, what, err)
	}
	var k Passkey
	cloned := false
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		k, err = s.c.Store.PasskeyByCredential(ctx, parsed.RawID)
		if fault.KindOf(err) == fault.NotFound || err == nil && k.Party != party {
			return fault.New(fault.Denied, "this passkey is not known here: it was removed, or it is for another sign-in page")
		}
		if err != nil {
			return err
		}
		if personID != "" && k.PersonID != personID {
			return fault.New(fault.Denied, "this passkey is of another account")
		}
		if !k.ClonedAt.IsZero() {
			return locked()
		}
		who := someone{handle: handle(k.Party, k.PersonID), keys: []webauthn.Credential{k.Credential}}
		var used *webauthn.Credential
		if kind == signingIn {
			used, err = s.web.ValidateDiscoverableLogin(func(_, userHandle []byte) (webauthn.User, error) {
				if !bytes.Equal(userHandle, who.handle) {
					return nil, errors.New("the passkey names somebody else")
				}
				return who, nil
			}, *session, parsed)
		} else {
			session.AllowedCredentialIDs = [][]byte{k.Credential.ID} // it is one of theirs, as was just seen
			used, err = s.web.ValidateLogin(who, *session, parsed)
		}
		if err != nil {
			return s.refuse(ctx, what, err)
		}
		k.Credential, k.Synced = *used, used.Flags.BackupState
		// The counter went back (WebAuthn, section 6.1.1): two devices hold the
		// key. Which of them is the thief's cannot be told, so it opens nothing.
		if cloned = used.Authenticator.CloneWarning; cloned {
			k.ClonedAt = s.c.Clock.Now()
		} else {
			k.UsedAt = s.c.Clock.Now()
		}
		return s.c.Store.SetPasskey(ctx, k)
	})
	if err != nil {
		return whose(k, party), err
	}
	if cloned {
		s.c.Log.WarnContext(ctx, "a passkey may have been copied; it is locked", "party", string(party), "person", k.PersonID, "passkey", k.ID)
		return whose(k, party), locked()
	}
	return k, nil
}

// whose is who a passkey is of that did not open anything.
func whose(k Passkey, party access.Party) Passkey {
	if k.Party != party {
		return Passkey{}
	}
	return Passkey{Party: k.Party, PersonID: k.PersonID}
}

func locked() error {
	return fault.New(fault.Denied, "this passkey may have been copied, so it opens nothing any more: sign in another way, then remove it")
}

// refuse turns what the library did not accept into words; its details are for the log.
func (s *Service) refuse(ctx context.Context, what string, err error) error {
	detail := err.Error()
	if p, ok := errors.AsType[*protocol.Error](err); ok {
		detail = p.Type + ": " + p.Details + " " + p.DevInfo
	}
	s.c.Log.InfoContext(ctx, what+": refused", "detail", detail)
	return fault.New(fault.Denied, "%s: the answer of your device was not accepted; begin again", what)
}

// List is a person's passkeys, oldest first.
func (s *Service) List(ctx context.Context, party access.Party, personID string) ([]Passkey, error) {
	return s.c.Store.Passkeys(ctx, party, personID)
}

// Rename calls a passkey otherwise.
func (s *Service) Rename(ctx context.Context, party access.Party, personID, id, name string) (Passkey, error) {
	name, err := named(name)
	if err != nil {
		return Passkey{}, err
	}
	var k Passkey
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		if k, _, err = s.one(ctx, party, personID, id); err != nil {
			return err
		}
		k.Name = name
		return s.c.Store.SetPasskey(ctx, k)
	})
	return k, err
}

// Remove takes a passkey away. It is refused (fault.Conflict) where it is the
// last way in: others says whether the person has one beside passkeys.
func (s *Service) Remove(ctx context.Context, party access.Party, personID, id string, others bool) error {
	return s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		_, usable, err := s.one(ctx, party, personID, id)
		if err != nil {
			return err
		}
		if !others && usable == 0 {
			return fault.New(fault.Conflict, "this is the last way into your account: add another passkey first")
		}
		return s.c.Store.DropPasskey(ctx, id)
	})
}

// one finds a passkey of a person, and how many others of theirs still open the door.
func (s *Service) one(ctx context.Context, party access.Party, personID, id string) (k Passkey, others int, err error) {
	all, err := s.c.Store.Passkeys(ctx, party, personID)
	if err != nil {
		return k, 0, err
	}
	found := false
	for i := range all {
		switch {
		case all[i].ID == id:
			k, found = all[i], true
		case all[i].ClonedAt.IsZero():
			others++
		}
	}
	if !found {
		return k, 0, fault.New(fault.NotFound, "no passkey %q", id)
	}
	return k, others, nil
}

// CredentialText is how a credential's id is kept: base64url, as browsers write it.
func CredentialText(id []byte) string { return base64.RawURLEncoding.EncodeToString(id) }
