// Package oidc signs people in with OpenID Connect: the authorization code flow
// (OpenID Connect Core 1.0, section 3.1) with PKCE (RFC 7636), a nonce, the
// issuer of the answer (RFC 9207) and discovery. Several providers may be
// configured. Whom an account stands for is decided in internal/fleet/identity.
package oidc

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/identity"
)

// Provider is where people have an account already.
type Provider struct {
	Name       string   `yaml:"name" json:"name"`   // in addresses: small letters, digits, hyphens
	Title      string   `yaml:"title" json:"title"` // as people know it
	Issuer     string   `yaml:"issuer" json:"issuer"`
	ClientID   string   `yaml:"clientId" json:"clientId"`
	SecretFile string   `yaml:"secretFile" json:"secretFile"` // holds the client secret; "": a public client
	Scopes     []string `yaml:"scopes" json:"scopes"`         // beside openid, email, profile
	// For whom: "owners", "operators", both when empty.
	For []string `yaml:"for" json:"for"`
}

func (p *Provider) serves(party access.Party) bool {
	return len(p.For) == 0 || slices.Contains(p.For, string(party)+"s")
}

// patience is how long a provider may take to answer.
const patience = 10 * time.Second

// relearn is how long what a provider publishes of itself is believed.
const relearn = time.Hour

var _ identity.Providers = (*Providers)(nil)

// Providers speaks with all of them.
type Providers struct {
	all    []Provider
	secret map[string]string
	clock  clock.Clock
	client *http.Client

	mu    sync.Mutex
	known map[string]discovered
}

type discovered struct {
	p  *oidc.Provider
	at time.Time
	// iss reports that it names itself in its answers (RFC 9207).
	iss bool
}

// New makes the providers. A provider is asked about itself when it is first
// needed, so that one that is down stops nobody else.
func New(all []Provider, c clock.Clock) (*Providers, error) {
	ps := &Providers{all: all, secret: map[string]string{}, clock: c, client: &http.Client{Timeout: patience}, known: map[string]discovered{}}
	seen := map[string]bool{}
	for _, p := range all {
		u, err := url.Parse(p.Issuer)
		switch {
		case p.Name == "" || strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
			return nil, fault.New(fault.Invalid, "provider %q: a name of small letters, digits and hyphens", p.Name)
		case seen[p.Name]:
			return nil, fault.New(fault.Invalid, "provider %s is there twice", p.Name)
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Hostname() != "127.0.0.1" && u.Hostname() != "localhost":
			return nil, fault.New(fault.Invalid, "provider %s: issuer %q is no https address", p.Name, p.Issuer)
		case p.ClientID == "":
			return nil, fault.New(fault.Invalid, "provider %s: clientId is missing", p.Name)
		}
		for _, f := range p.For {
			if f != "owners" && f != "operators" {
				return nil, fault.New(fault.Invalid, "provider %s: for %q, expected owners or operators", p.Name, f)
			}
		}
		seen[p.Name] = true
		if p.SecretFile != "" {
			raw, err := os.ReadFile(p.SecretFile)
			if err != nil {
				return nil, fmt.Errorf("provider %s: %w", p.Name, err)
			}
			ps.secret[p.Name] = strings.TrimSpace(string(raw))
		}
	}
	return ps, nil
}

// For lists the providers of a kind of person, as configured.
func (ps *Providers) For(party access.Party) []identity.Provider {
	out := []identity.Provider{}
	for _, p := range ps.all {
		if p.serves(party) {
			out = append(out, identity.Provider{Name: p.Name, Title: cmp.Or(p.Title, p.Name)})
		}
	}
	return out
}

func (ps *Providers) find(name string, party access.Party) (Provider, error) {
	for _, p := range ps.all {
		if p.Name == name && p.serves(party) {
			p.Title = cmp.Or(p.Title, p.Name)
			return p, nil
		}
	}
	return Provider{}, fault.New(fault.NotFound, "no sign-in with %q here", name)
}

// discover asks a provider about itself (OpenID Connect Discovery 1.0); the
// library refuses one whose document names another issuer.
func (ps *Providers) discover(ctx context.Context, p *Provider) (discovered, error) {
	ps.mu.Lock()
	d, ok := ps.known[p.Name]
	ps.mu.Unlock()
	if ok && ps.clock.Now().Sub(d.at) < relearn {
		return d, nil
	}
	// The keys are fetched with this context for as long as the provider is known.
	found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), ps.client), p.Issuer)
	if err != nil {
		return d, fault.Wrap(fault.Unavailable, p.Title+" does not answer as an OpenID provider; sign in another way, or try later", err)
	}
	var says struct {
		ISS bool `json:"authorization_response_iss_parameter_supported"`
	}
	if err := found.Claims(&says); err != nil {
		return d, fault.Wrap(fault.Unavailable, p.Title+" describes itself in a way we cannot read", err)
	}
	d = discovered{found, ps.clock.Now(), says.ISS}
	ps.mu.Lock()
	ps.known[p.Name] = d
	ps.mu.Unlock()
	return d, nil
}

func (ps *Providers) config(p *Provider, d discovered, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: ps.secret[p.Name], Endpoint: d.p.Endpoint(), RedirectURL: redirect,
		Scopes: append([]string{oidc.ScopeOpenID, "email", "profile"}, p.Scopes...),
	}
}

// nonceOf is what the provider is sent of a flow's nonce: its hash, so that the
// address bar does not give away what is compared.
func nonceOf(f *identity.Flow) string {
	sum := sha256.Sum256([]byte(f.Nonce))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Begin makes a flow. Its address, given the state, is where the browser goes.
func (ps *Providers) Begin(ctx context.Context, party access.Party, name, redirect string) (f identity.Flow, address func(state string) string, err error) {
	p, err := ps.find(name, party)
	if err != nil {
		return f, nil, err
	}
	d, err := ps.discover(ctx, &p)
	if err != nil {
		return f, nil, err
	}
	f = identity.Flow{Provider: name, Nonce: fleet.NewSecret(""), Verifier: oauth2.GenerateVerifier()}
	conf := ps.config(&p, d, redirect)
	return f, func(state string) string {
		return conf.AuthCodeURL(state, oidc.Nonce(nonceOf(&f)), oauth2.S256ChallengeOption(f.Verifier))
	}, nil
}

// Finish turns what the provider sent the browser back with into claims. It is
// fault.Denied where anything does not fit, and where the person said no.
func (ps *Providers) Finish(ctx context.Context, party access.Party, redirect string, f identity.Flow, answer url.Values) (identity.Claims, error) {
	p, err := ps.find(f.Provider, party)
	if err != nil {
		return identity.Claims{}, err
	}
	d, err := ps.discover(ctx, &p)
	if err != nil {
		return identity.Claims{}, err
	}
	deny := func(format string, args ...any) (identity.Claims, error) {
		return identity.Claims{}, fault.New(fault.Denied, "sign in with "+p.Title+": "+format, args...)
	}
	// Another provider's answer must not be taken for this one's (mix-up, RFC 9207 section 2.4).
	if iss := answer.Get("iss"); iss != "" && iss != p.Issuer || iss == "" && d.iss {
		return deny("the answer comes from another provider")
	}
	switch answer.Get("error") {
	case "":
	case "access_denied":
		return deny("you did not agree there")
	default:
		return deny("it answered with the error %.60q", answer.Get("error"))
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, ps.client), patience)
	defer cancel()
	token, err := ps.config(&p, d, redirect).Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(f.Verifier))
	if err != nil {
		if _, refused := err.(*oauth2.RetrieveError); refused { //nolint:errorlint // the library gives it as it is
			return deny("the code was not accepted; begin again")
		}
		return identity.Claims{}, fault.Wrap(fault.Unavailable, p.Title+" does not answer; try again later", err)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return deny("it did not say who you are")
	}
	id, err := d.p.VerifierContext(oidc.ClientContext(context.WithoutCancel(ctx), ps.client), &oidc.Config{ClientID: p.ClientID, Now: ps.clock.Now}).Verify(ctx, raw)
	if err != nil {
		return deny("what it says of you could not be verified: %s", err)
	}
	if want := nonceOf(&f); subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(want)) != 1 {
		return deny("the answer belongs to another sign-in; begin again")
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			return deny("what it says of you does not fit together")
		}
	}
	var said struct {
		Email    string `json:"email"`
		Verified truth  `json:"email_verified"`
		Name     string `json:"name"`
		Locale   string `json:"locale"`
	}
	if err := id.Claims(&said); err != nil {
		return deny("what it says of you could not be read")
	}
	if said.Email == "" { // some say it at the userinfo endpoint alone
		info, err := d.p.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err == nil && info.Subject == id.Subject {
			said.Email = info.Email
			_ = info.Claims(&said)
		}
	}
	return identity.Claims{
		Provider: p.Name, Issuer: id.Issuer, Subject: id.Subject, Email: said.Email, EmailVerified: bool(said.Verified), Name: said.Name, Locale: said.Locale,
	}, nil
}

// truth is a boolean that some providers write as text; anything else is no.
type truth bool

func (t *truth) UnmarshalJSON(raw []byte) error {
	*t = truth(string(raw) == "true" || string(raw) == `"true"`)
	return nil
}
