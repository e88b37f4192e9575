// Package signin serves the ways in beside one-time links: passkeys, and
// accounts at OpenID providers. Owners (/owner/v1) and operators (/v1) have the
// same operations; none of one's opens anything of the other's.
package signin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/identity"
	"fettle.dev/fettle/internal/fleet/passkey"
)

// Deps is what the operations work with.
type Deps struct {
	Passkeys   *passkey.Service
	Identities *identity.Service
	Providers  identity.Providers // nil: none are configured
	// Others reports whether somebody can sign in by something that is neither
	// mail, nor a passkey, nor a provider; may be nil.
	Others func(ctx context.Context, party access.Party, personID string) (bool, error)
	// Added tells somebody that a passkey opens their account now; may be nil.
	Added func(ctx context.Context, party access.Party, personID string, k passkey.Passkey) error
}

// side is one kind of person.
type side struct {
	party  access.Party
	base   string // of the operations
	page   string // of the pages
	cookie string
	self   frame.Access // about themselves, signed in
	tag    string
	suffix string // of operations' ids
}

var sides = []side{
	{access.PartyOwner, "/owner/v1", "/my/", wire.OwnerCookie, frame.Owner, "owner", "Owner"},
	{access.PartyOperator, "/v1", "/console/", wire.OperatorCookie, frame.Self, "session", "Operator"},
}

type server struct {
	*frame.Server
	d Deps
	side
}

// Register adds the operations to a server.
func Register(f *frame.Server, d Deps) {
	for _, one := range sides {
		s := &server{f, d, one}
		s.ways()
		s.passkeys()
		s.accounts()
	}
}

// Ways are the ways in.
type Ways struct {
	Mail      bool                `json:"mail" doc:"A one-time link can be asked for."`
	Passkey   bool                `json:"passkey"`
	Providers []identity.Provider `json:"providers"`
}

// SignedIn is somebody who has just signed in.
type SignedIn struct {
	Email string `json:"email"`
	Made  bool   `json:"made,omitempty" doc:"The account was made just now."`
}

type signedIn struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      SignedIn
}

// Answer is a device's answer to a challenge.
type Answer struct {
	ID         string          `json:"id" maxLength:"200" doc:"Of the challenge."`
	Credential json.RawMessage `json:"credential" doc:"The PublicKeyCredential, as its toJSON writes it."`
}

type answerIn struct{ Body Answer }

func (s *server) ways() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: s.base + "/sign-in/ways", ID: "signInWays" + s.suffix, Summary: "How people can sign in", Tag: s.tag, Access: frame.Anyone,
	}, func(context.Context, *frame.None) (Ways, error) {
		w := Ways{Mail: s.Access.MailAvailable(), Passkey: s.d.Passkeys.Available(), Providers: []identity.Provider{}}
		if s.d.Providers != nil {
			w.Providers = s.d.Providers.For(s.party)
		}
		return w, nil
	})
}

// open signs somebody in who has proved who they are.
func (s *server) open(ctx context.Context, personID string, way access.Way) (cookie http.Cookie, p frame.Principal, err error) {
	session, secret, err := s.Access.Open(ctx, s.party, personID, way, frame.CallerOf(ctx).Caller())
	if err != nil {
		return cookie, p, err
	}
	if p, err = s.SessionPrincipal(ctx, session); err != nil {
		return cookie, p, err
	}
	frame.SignedIn(ctx, &p)
	return s.Cookie(s.cookie, secret, p), p, nil
}

func (s *server) passkeys() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: s.base + "/sign-in/passkey/begin", ID: "beginPasskeySignIn" + s.suffix, Summary: "Begin to sign in by passkey",
		Doc: "No name is typed: the browser shows the passkeys that it has. The challenge can be answered once, within five minutes.", Tag: s.tag, Access: frame.Anyone, Asks: true,
	}, func(ctx context.Context, _ *frame.None) (passkey.Ceremony, error) {
		return s.d.Passkeys.SignIn(ctx, s.party)
	})
	signIn := frame.Route{
		Method: http.MethodPost, Path: s.base + "/sign-in/passkey", ID: "signInByPasskey" + s.suffix, Summary: "Sign in by passkey",
		Doc: "Sets the session cookie.", Tag: s.tag, Access: frame.Anyone, SignIn: true,
	}
	huma.Register(s.API, signIn.Operation(), func(ctx context.Context, in *answerIn) (*signedIn, error) {
		k, err := s.d.Passkeys.SignedIn(ctx, s.party, in.Body.ID, in.Body.Credential)
		if err != nil {
			frame.Tried(ctx, s.party, k.PersonID)
			return nil, s.Problem(ctx, err)
		}
		cookie, p, err := s.open(ctx, k.PersonID, access.ByPasskey)
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		return &signedIn{cookie, SignedIn{Email: p.Email}}, nil
	})

	path := s.base + "/passkeys"
	route := func(method, path, id, summary string) frame.Route {
		return frame.Route{Method: method, Path: path, ID: id + s.suffix, Summary: summary, Tag: s.tag, Access: s.self, Session: true}
	}
	frame.Add(s.Server, route(http.MethodGet, path, "listPasskeys", "The passkeys of whoever asks"),
		func(ctx context.Context, _ *frame.None) (wire.List[passkey.Passkey], error) {
			all, err := s.d.Passkeys.List(ctx, s.party, frame.Who(ctx).ID)
			return wire.List[passkey.Passkey]{Items: append([]passkey.Passkey{}, all...)}, err
		})
	begin := route(http.MethodPost, path+"/begin", "beginPasskey", "Begin to make a passkey")
	begin.Asks = true
	frame.Add(s.Server, begin, func(ctx context.Context, _ *frame.None) (passkey.Ceremony, error) {
		who := frame.Who(ctx)
		return s.d.Passkeys.Register(ctx, s.party, passkey.Person{ID: who.ID, Name: who.Email})
	})
	add := route(http.MethodPost, path, "addPasskey", "Keep a passkey that a device has made")
	add.Status = http.StatusCreated
	frame.Add(s.Server, add, func(ctx context.Context, in *struct {
		Body struct {
			Answer
			Name string `json:"name" maxLength:"100" doc:"That its owner knows it by."`
		}
	},
	) (passkey.Passkey, error) {
		who := frame.Who(ctx)
		k, err := s.d.Passkeys.Registered(ctx, s.party, passkey.Person{ID: who.ID, Name: who.Email}, in.Body.ID, in.Body.Name, in.Body.Credential)
		if err == nil && s.d.Added != nil {
			err = s.d.Added(ctx, s.party, who.ID, k)
		}
		return k, err
	})
	frame.Add(s.Server, route(http.MethodPatch, path+"/{id}", "renamePasskey", "Call a passkey otherwise"), func(ctx context.Context, in *struct {
		frame.IDParam
		Body struct {
			Name string `json:"name" maxLength:"100"`
		}
	},
	) (passkey.Passkey, error) {
		return s.d.Passkeys.Rename(ctx, s.party, frame.Who(ctx).ID, in.ID, in.Body.Name)
	})
	remove := route(http.MethodDelete, path+"/{id}", "removePasskey", "Remove a passkey")
	remove.Doc = "409 where it is the last way into the account."
	frame.Do(s.Server, remove, func(ctx context.Context, in *frame.IDParam) error {
		who := frame.Who(ctx).ID
		linked, err := s.d.Identities.List(ctx, s.party, who)
		if err != nil {
			return err
		}
		others, err := s.others(ctx, who)
		if err != nil {
			return err
		}
		return s.d.Passkeys.Remove(ctx, s.party, who, in.ID, others || len(linked) > 0)
	})
}

// others reports whether somebody can sign in by neither passkey nor provider.
func (s *server) others(ctx context.Context, personID string) (bool, error) {
	if s.Access.MailAvailable() {
		return true, nil
	}
	if s.d.Others == nil {
		return false, nil
	}
	return s.d.Others(ctx, s.party, personID)
}

// stateCookie holds the state of a sign-in at a provider, in the browser that
// began it.
const stateCookie = "fettle_oidc"

func (s *server) state(value string) http.Cookie {
	c := http.Cookie{ //nolint:gosec // Secure is set wherever people come by https
		Name: stateCookie, Value: value, Path: s.base + "/sign-in/oidc/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(s.PublicURL, "https://"), MaxAge: int(identity.Life.Seconds()),
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

type redirect struct {
	Status    int
	Location  string        `header:"Location"`
	SetCookie []http.Cookie `header:"Set-Cookie"`
}

type beginIn struct {
	Provider string `path:"provider" maxLength:"100"`
	To       string `query:"to" maxLength:"500" doc:"Page to go to afterwards, within the pages of whoever signs in."`
}

type callbackIn struct {
	Provider string `path:"provider" maxLength:"100"`
	Cookie   string `cookie:"fettle_oidc"`
	query    url.Values
}

// Resolve keeps what the provider sent along.
func (in *callbackIn) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	in.query = u.Query()
	return nil
}

func (s *server) callback(provider string) string {
	return s.PublicURL + s.base + "/sign-in/oidc/" + url.PathEscape(provider) + "/callback"
}

// start sends a browser to a provider.
func (s *server) start(ctx context.Context, provider, to, linkTo string) (address string, cookie http.Cookie, err error) {
	if s.d.Providers == nil {
		return "", cookie, fault.New(fault.NotFound, "no sign-in with %q here", provider)
	}
	f, at, err := s.d.Providers.Begin(ctx, s.party, provider, s.callback(provider))
	if err != nil {
		return "", cookie, err
	}
	f.To, f.LinkTo = s.within(to), linkTo
	state, err := s.d.Identities.Start(ctx, s.party, f)
	if err != nil {
		return "", cookie, err
	}
	return at(state), s.state(state), nil
}

// within is a page of ours, whatever was asked for.
func (s *server) within(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, s.page) || strings.Contains(to, `\`) {
		return s.page
	}
	return u.Path
}

func (s *server) accounts() {
	begin := frame.Route{
		Method: http.MethodGet, Path: s.base + "/sign-in/oidc/{provider}", ID: "signInAtProvider" + s.suffix, Summary: "Go to a provider to sign in",
		Doc: "A page to open, not to fetch.", Tag: s.tag, Access: frame.Anyone, Status: http.StatusFound,
	}
	huma.Register(s.API, begin.Operation(), func(ctx context.Context, in *beginIn) (*redirect, error) {
		address, cookie, err := s.start(ctx, in.Provider, in.To, "")
		if err != nil {
			return s.sorry(ctx, err, s.page+"sign-in"), nil
		}
		return &redirect{http.StatusFound, address, []http.Cookie{cookie}}, nil
	})
	back := frame.Route{
		Method: http.MethodGet, Path: s.base + "/sign-in/oidc/{provider}/callback", ID: "comeBackFromProvider" + s.suffix, Summary: "Where a provider sends people back to",
		Doc: "Sets the session cookie.", Tag: s.tag, Access: frame.Anyone, Status: http.StatusFound, SignIn: true,
	}
	huma.Register(s.API, back.Operation(), s.back)

	link := frame.Route{
		Method: http.MethodPost, Path: s.base + "/identities", ID: "linkIdentity" + s.suffix, Summary: "Begin to link an account at a provider",
		Doc: "The browser then opens the address in the answer.", Tag: s.tag, Access: s.self, Session: true,
	}
	huma.Register(s.API, link.Operation(), func(ctx context.Context, in *struct {
		Body struct {
			Provider string `json:"provider" maxLength:"100"`
		}
	},
	) (*struct {
		SetCookie http.Cookie `header:"Set-Cookie"`
		Body      Elsewhere
	}, error,
	) {
		address, cookie, err := s.start(ctx, in.Body.Provider, s.page+"account", frame.Who(ctx).ID)
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		return &struct {
			SetCookie http.Cookie `header:"Set-Cookie"`
			Body      Elsewhere
		}{cookie, Elsewhere{address}}, nil
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: s.base + "/identities", ID: "listIdentities" + s.suffix, Summary: "Accounts at providers that open the account of whoever asks",
		Tag: s.tag, Access: s.self, Session: true,
	}, func(ctx context.Context, _ *frame.None) (wire.List[identity.Identity], error) {
		all, err := s.d.Identities.List(ctx, s.party, frame.Who(ctx).ID)
		return wire.List[identity.Identity]{Items: append([]identity.Identity{}, all...)}, err
	})
	frame.Do(s.Server, frame.Route{
		Method: http.MethodDelete, Path: s.base + "/identities/{id}", ID: "unlinkIdentity" + s.suffix, Summary: "Unlink an account at a provider",
		Doc: "409 where it is the last way into the account.", Tag: s.tag, Access: s.self, Session: true,
	}, func(ctx context.Context, in *frame.IDParam) error {
		who := frame.Who(ctx).ID
		others, err := s.others(ctx, who)
		if err != nil {
			return err
		}
		keys, err := s.d.Passkeys.List(ctx, s.party, who)
		if err != nil {
			return err
		}
		for i := range keys {
			others = others || keys[i].ClonedAt.IsZero()
		}
		return s.d.Identities.Remove(ctx, s.party, who, in.ID, others)
	})
}

// Elsewhere is an address for the browser to open.
type Elsewhere struct {
	URL string `json:"url"`
}

// sorry sends a person back to a page with the reason behind #, where no server
// and no log sees it.
func (s *server) sorry(ctx context.Context, err error, page string) *redirect {
	words := "something went wrong on our side"
	if k := fault.KindOf(err); k != fault.Internal {
		words = err.Error()
	} else {
		s.Log.ErrorContext(ctx, "sign in at a provider", "error", err)
	}
	s.Log.InfoContext(ctx, "a sign-in at a provider was refused", "why", words, "party", string(s.party))
	if failed := audit.End(context.WithoutCancel(ctx), http.StatusForbidden); failed != nil { // the answer itself is a redirect
		s.Log.ErrorContext(ctx, "a sign-in is not in the audit trail", "error", failed)
	}
	return &redirect{http.StatusFound, page + "#problem=" + url.QueryEscape(words), []http.Cookie{s.state("")}}
}

func (s *server) back(ctx context.Context, in *callbackIn) (*redirect, error) {
	page := s.page + "sign-in"
	if s.d.Providers == nil {
		return s.sorry(ctx, fault.New(fault.NotFound, "no sign-in with %q here", in.Provider), page), nil
	}
	f, err := s.d.Identities.Resume(ctx, s.party, in.Provider, in.query.Get("state"), in.Cookie)
	if err != nil {
		return s.sorry(ctx, err, page), nil
	}
	if f.LinkTo != "" { // by who began it in this browser, signed in
		page = s.page + "account"
		frame.SignedIn(ctx, &frame.Principal{Party: s.party, ID: f.LinkTo, Via: "session"})
		audit.Changed(ctx, "linked an account at "+in.Provider)
	}
	claims, err := s.d.Providers.Finish(ctx, s.party, s.callback(in.Provider), f, in.query)
	if err != nil {
		return s.sorry(ctx, err, page), nil
	}
	if f.LinkTo != "" {
		if err := s.d.Identities.Link(ctx, s.party, f.LinkTo, claims); err != nil {
			return s.sorry(ctx, err, page), nil
		}
		return &redirect{http.StatusFound, f.To, []http.Cookie{s.state("")}}, nil
	}
	person, _, err := s.d.Identities.Person(ctx, s.party, claims)
	if err != nil {
		return s.sorry(ctx, err, page), nil
	}
	cookie, _, err := s.open(ctx, person, access.ByOIDC)
	if err != nil {
		frame.Tried(ctx, s.party, person)
		return s.sorry(ctx, err, page), nil
	}
	return &redirect{http.StatusFound, f.To, []http.Cookie{s.state(""), cookie}}, nil
}
