package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
)

type linkIn struct{ Body wire.Link }

type signInIn struct{ Body wire.OneTime }

type withCookie[T any] struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      T
}

type onlyCookie struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

// askLink registers the operation that mails a one-time link.
func (s *server) askLink(path, id, tag string, party access.Party) {
	frame.Do(s.Server, frame.Route{
		Method: http.MethodPost, Path: path, ID: id, Summary: "Mail a one-time link",
		Doc: "202 whether the address is known or not; 503 when there is no mail server.", Tag: tag, Access: frame.Anyone, Status: http.StatusAccepted,
	}, func(ctx context.Context, in *linkIn) error {
		return s.d.Access.RequestLink(ctx, party, in.Body.Email, frame.CallerOf(ctx).Address)
	})
}

// signIn uses a one-time link up.
func (s *server) signIn(ctx context.Context, party access.Party, link, code string) (secret string, p frame.Principal, err error) {
	session, secret, err := s.d.Access.SignIn(ctx, party, link, code, frame.CallerOf(ctx).Caller())
	if err != nil {
		return "", frame.Principal{}, err
	}
	p, err = s.SessionPrincipal(ctx, session)
	frame.SignedIn(ctx, &p)
	return secret, p, err
}

func (s *server) session() {
	s.askLink("/v1/sign-in/link", "askOperatorLink", "session", access.PartyOperator)
	signIn := frame.Route{
		Method: http.MethodPost, Path: "/v1/sign-in", ID: "signInOperator", Summary: "Use a one-time link up",
		Doc: "Sets the session cookie.", Tag: "session", Access: frame.Anyone,
	}
	huma.Register(s.API, signIn.Operation(), func(ctx context.Context, in *signInIn) (*withCookie[wire.Session], error) {
		secret, p, err := s.signIn(ctx, access.PartyOperator, in.Body.Token, in.Body.Code)
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		return &withCookie[wire.Session]{s.Cookie(wire.OperatorCookie, secret, p), s.describe(&p)}, nil
	})
	s.signOut(frame.Route{
		Method: http.MethodPost, Path: "/v1/sign-out", ID: "signOutOperator", Summary: "End the session",
		Tag: "session", Access: frame.Self, Status: http.StatusNoContent,
	}, wire.OperatorCookie)
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/session", ID: "getSession", Summary: "Who is asking", Tag: "session", Access: frame.Self,
	}, func(ctx context.Context, _ *frame.None) (wire.Session, error) { return s.describe(frame.Who(ctx)), nil })
}

func (s *server) signOut(r frame.Route, cookie string) {
	huma.Register(s.API, r.Operation(), func(ctx context.Context, _ *frame.None) (*onlyCookie, error) {
		if p := frame.Who(ctx); p.SessionID != "" {
			if err := s.d.Access.EndSession(ctx, p.Party, p.ID, p.SessionID); err != nil && fault.KindOf(err) != fault.NotFound {
				return nil, s.Problem(ctx, err)
			}
		}
		return &onlyCookie{s.Cookie(cookie, "", frame.Principal{})}, nil
	})
}

func (s *server) describe(p *frame.Principal) wire.Session {
	return wire.Session{
		Email: p.Email, Scope: p.Scope, Role: p.Role, Permissions: p.May.List(), Products: p.Sight.Products, Regions: p.Sight.Regions, Via: p.Via, ExpiresAt: p.ExpiresAt,
		Now: s.d.Clock.Now(), Speed: max(s.d.Speed, 0),
	}
}

type newTokenIn struct{ Body wire.NewToken }

// tokens are operators' own; whoever administers sees and revokes everybody's.
// A token sees and makes tokens only if it may administer.
func (s *server) tokens() {
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/tokens", ID: "listTokens", Summary: "List API tokens", Doc: "Your own; everybody's for whoever administers.", Tag: "tokens", Access: frame.Self},
		func(ctx context.Context, in *wire.PageParams) (wire.Page[access.APIToken], error) {
			who := frame.Who(ctx)
			if err := personOrAdmin(who); err != nil {
				return wire.Page[access.APIToken]{}, err
			}
			all, err := s.d.Access.APITokens(ctx)
			all = slices.DeleteFunc(all, func(t access.APIToken) bool { return t.OperatorID != who.ID && !who.May[access.Administer] })
			return frame.PageAfter(all, *in, func(t access.APIToken) string { return t.ID }), err
		})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/tokens", ID: "createToken", Summary: "Make an API token",
		Doc: "It may do what its scope says, and never more than its operator may at that time.",
		Tag: "tokens", Access: frame.Self, Status: http.StatusCreated,
	}, func(ctx context.Context, in *newTokenIn) (wire.IssuedToken, error) {
		who := frame.Who(ctx)
		if err := personOrAdmin(who); err != nil {
			return wire.IssuedToken{}, err
		}
		var expires time.Time
		if in.Body.Expires > 0 {
			expires = s.d.Wall.Now().Add(time.Duration(in.Body.Expires))
		}
		t, secret, err := s.d.Access.CreateAPIToken(ctx, access.NewToken{
			OperatorID: who.ID, Name: in.Body.Name, Scope: in.Body.Scope, Permissions: in.Body.Permissions, Expires: expires,
		})
		return wire.IssuedToken{APIToken: t, Token: secret}, err
	})
	frame.Do(s.Server, frame.Route{Method: http.MethodDelete, Path: "/v1/tokens/{id}", ID: "revokeToken", Summary: "Revoke an API token", Tag: "tokens", Access: frame.Self},
		func(ctx context.Context, in *frame.IDParam) error {
			who := frame.Who(ctx)
			if err := personOrAdmin(who); err != nil {
				return err
			}
			if !who.May[access.Administer] {
				all, err := s.d.Access.APITokens(ctx)
				if err != nil {
					return err
				}
				if !slices.ContainsFunc(all, func(t access.APIToken) bool { return t.ID == in.ID && t.OperatorID == who.ID }) {
					return fault.New(fault.NotFound, "no API token %q", in.ID)
				}
			}
			return s.d.Access.RevokeAPIToken(ctx, in.ID)
		})
}

func personOrAdmin(who *frame.Principal) error {
	if who.Via != "token" {
		return nil
	}
	return who.Need(access.Administer)
}
