package people

import (
	"context"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

// Profile is what a person may change of their account by themselves.
type Profile struct {
	Name     *string
	Locale   *string
	TimeZone *string
}

// SetProfile changes what is not nil.
func (s *Service) SetProfile(ctx context.Context, personID string, p Profile) (fleet.Owner, error) {
	var fields []fault.Field
	if p.Name != nil && len(*p.Name) > 200 {
		fields = append(fields, fault.Field{Path: "name", Expected: "at most 200 bytes"})
	}
	if p.Locale != nil && inWords(*p.Locale) != *p.Locale {
		fields = append(fields, fault.Field{Path: "locale", Expected: "a BCP 47 tag, as en or de-CH", Got: *p.Locale})
	}
	if p.TimeZone != nil && zoneOf(*p.TimeZone) != *p.TimeZone {
		fields = append(fields, fault.Field{Path: "timeZone", Expected: "an IANA name, as Europe/Oslo", Got: *p.TimeZone})
	}
	if err := fault.Fields("account", fields); err != nil {
		return fleet.Owner{}, err
	}
	var o fleet.Owner
	err := s.c.Tx.InTx(ctx, func(ctx context.Context) (err error) {
		if o, err = s.c.Fleet.Owner(ctx, personID); err != nil {
			return err
		}
		for to, from := range map[*string]*string{&o.Name: p.Name, &o.Locale: p.Locale, &o.TimeZone: p.TimeZone} {
			if from != nil {
				*to = strings.TrimSpace(*from)
			}
		}
		o, err = s.c.Fleet.PutOwner(ctx, o)
		return err
	})
	return o, err
}

// ChangeEmail mails a link to a person's new address; the old one stays until
// it is opened. Whether the address has an account already is not told here.
func (s *Service) ChangeEmail(ctx context.Context, personID, email string) error {
	if s.c.Mailer == nil {
		return fault.New(fault.Unavailable, "this server has no mail server configured, so an address cannot be confirmed")
	}
	email = fleet.CanonicalEmail(email)
	if !fleet.ValidEmail(email) {
		return fault.Fields("account", []fault.Field{{Path: "email", Expected: "a mail address, as anna@example.org", Got: email}})
	}
	me, err := s.c.Fleet.Owner(ctx, personID)
	if err != nil {
		return err
	}
	now := s.c.Wall.Now()
	if me.Email == email {
		return fault.New(fault.Conflict, "this is your address already")
	}
	if !s.mails.Allow("to "+email, now) || !s.mails.Allow("by "+personID, now) {
		return fault.New(fault.Unavailable, "too many mails were asked for: look into your mail, or try again in an hour")
	}
	secret := fleet.NewSecret(emailLinkPrefix)
	return s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.c.Store.Keep(ctx, access.Pending{
			Hash: fleet.SecretHash(secret), Kind: moving, Party: access.PartyOwner, PersonID: personID, Address: email, ExpiresAt: now.Add(linkLife),
		}); err != nil {
			return err
		}
		return s.tell(ctx, Mail{
			Words: MailEmail, Key: "email:" + fleet.SecretHash(secret), To: email, Locale: me.Locale, By: me.Email, Until: now.Add(linkLife),
			Path: "/my/confirm#" + secret, Secret: true,
		})
	})
}

// ConfirmEmail gives a person the address to which the link went, and tells
// the old one. Links that sign in, and were sent to the old one, work no more.
func (s *Service) ConfirmEmail(ctx context.Context, secret string) (personID, email string, err error) {
	p, err := s.take(ctx, moving, emailLinkPrefix, secret)
	if err != nil {
		return "", "", err
	}
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		me, err := s.c.Fleet.Owner(ctx, p.PersonID)
		if err != nil {
			return err
		}
		if err := s.c.Store.SetEmail(ctx, me.ID, p.Address); err != nil {
			return err
		}
		if s.c.Ended != nil {
			if err := s.c.Ended(ctx, me.ID, "*"); err != nil {
				return err
			}
		}
		return s.tell(ctx, Mail{
			Words: MailEmailGone, Key: "email-gone:" + p.Hash, To: me.Email, PersonID: me.ID, Locale: me.Locale, By: p.Address, Path: "/my/account",
		})
	})
	return p.PersonID, p.Address, err
}

// CreateToken makes a token for an app, shown once. A zero expires means a year.
func (s *Service) CreateToken(ctx context.Context, ownerID, name string, scope TokenScope, units []string, expires time.Time) (Token, string, error) {
	now := s.c.Wall.Now()
	if expires.IsZero() {
		expires = now.Add(tokenLife)
	}
	var fields []fault.Field
	if name = strings.TrimSpace(name); name == "" || len(name) > 100 {
		fields = append(fields, fault.Field{Path: "name", Expected: "what the app is, in at most 100 bytes", Got: name})
	}
	if scope != ScopeRead && scope != ScopeAct {
		fields = append(fields, fault.Field{Path: "scope", Expected: "read or act", Got: string(scope)})
	}
	if !expires.After(now) || expires.Sub(now) > access.MaxTokenLife {
		fields = append(fields, fault.Field{Path: "expires", Expected: "a time to come, at most 366 days from now", Got: expires.Format(time.RFC3339)})
	}
	if len(units) > 100 {
		fields = append(fields, fault.Field{Path: "units", Expected: "at most 100, or none for all", Got: fmt.Sprint(len(units))})
	}
	for i, id := range units[:min(len(units), 100)] {
		_, err := s.May(ctx, ownerID, id, See)
		if fault.KindOf(err) == fault.NotFound {
			fields = append(fields, fault.Field{Path: fmt.Sprintf("units[%d]", i), Expected: "the id of a product of yours", Got: id})
		} else if err != nil {
			return Token{}, "", err
		}
	}
	if err := fault.Fields("app", fields); err != nil {
		return Token{}, "", err
	}
	all, err := s.c.Store.Tokens(ctx, ownerID)
	if err != nil {
		return Token{}, "", err
	}
	if len(all) >= mostTokens {
		return Token{}, "", fault.New(fault.Conflict, "%d apps are the most that one account has: remove one first", mostTokens)
	}
	secret := fleet.NewSecret(TokenPrefix)
	t := Token{
		ID: s.c.IDs.ID(), Hash: fleet.SecretHash(secret), OwnerID: ownerID, Name: name, Scope: scope, Units: append([]string{}, units...),
		CreatedAt: now, ExpiresAt: expires.UTC(),
	}
	return t, secret, s.c.Store.AddToken(ctx, t)
}

// Tokens are the tokens of a person's apps, newest first, expired ones too.
func (s *Service) Tokens(ctx context.Context, ownerID string) ([]Token, error) {
	return s.c.Store.Tokens(ctx, ownerID)
}

// RevokeToken ends a token.
func (s *Service) RevokeToken(ctx context.Context, ownerID, id string) error {
	return s.c.Store.DropToken(ctx, ownerID, id)
}

// Token finds the token that a secret stands for; fault.Denied when it is not
// known, revoked or expired.
func (s *Service) Token(ctx context.Context, secret string) (Token, error) {
	refused := fault.New(fault.Denied, "this token is not known, revoked or expired")
	if !strings.HasPrefix(secret, TokenPrefix) {
		return Token{}, refused
	}
	t, err := s.c.Store.TokenByHash(ctx, fleet.SecretHash(secret))
	now := s.c.Wall.Now()
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return Token{}, refused
	case err != nil:
		return Token{}, err
	case !now.Before(t.ExpiresAt):
		return Token{}, refused
	}
	if now.Sub(t.UsedAt) >= time.Hour {
		t.UsedAt = now
		return t, s.c.Store.UseToken(ctx, t.ID, now)
	}
	return t, nil
}
