package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
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
func (s *server) askLink(path, id, tag string, role fleet.Role) {
	do(s, route{
		method: http.MethodPost, path: path, id: id, summary: "Mail a one-time link",
		doc: "202 whether the address is known or not; 503 when there is no mail server.", tag: tag, access: anyone, status: http.StatusAccepted,
	}, func(ctx context.Context, in *linkIn) error {
		return s.d.Access.RequestLink(ctx, role, in.Body.Email, callerOf(ctx).address)
	})
}

// signIn uses a one-time link up.
func (s *server) signIn(ctx context.Context, role fleet.Role, link string) (secret string, p Principal, err error) {
	session, secret, err := s.d.Access.SignIn(ctx, role, link, callerOf(ctx).agent)
	if err != nil {
		return "", Principal{}, err
	}
	p, err = s.sessionPrincipal(ctx, session)
	return secret, p, err
}

func (s *server) session() {
	s.askLink("/v1/sign-in/link", "askOperatorLink", "session", fleet.RoleOperator)
	signIn := route{
		method: http.MethodPost, path: "/v1/sign-in", id: "signInOperator", summary: "Use a one-time link up",
		doc: "Sets the session cookie.", tag: "session", access: anyone,
	}
	huma.Register(s.api, signIn.operation(), func(ctx context.Context, in *signInIn) (*withCookie[wire.Session], error) {
		secret, p, err := s.signIn(ctx, fleet.RoleOperator, in.Body.Token)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return &withCookie[wire.Session]{s.cookie(wire.OperatorCookie, secret, p), s.describe(&p)}, nil
	})
	s.signOut(route{
		method: http.MethodPost, path: "/v1/sign-out", id: "signOutOperator", summary: "End the session",
		tag: "session", access: read, status: http.StatusNoContent,
	}, wire.OperatorCookie)
	add(s, route{
		method: http.MethodGet, path: "/v1/session", id: "getSession", summary: "Who is asking", tag: "session", access: read,
	}, func(ctx context.Context, _ *none) (wire.Session, error) { return s.describe(who(ctx)), nil })
}

func (s *server) signOut(r route, cookie string) {
	huma.Register(s.api, r.operation(), func(ctx context.Context, _ *none) (*onlyCookie, error) {
		if p := who(ctx); p.SessionID != "" {
			if err := s.d.Access.EndSession(ctx, p.Role, p.ID, p.SessionID); err != nil && fault.KindOf(err) != fault.NotFound {
				return nil, s.problem(ctx, err)
			}
		}
		return &onlyCookie{s.cookie(cookie, "", Principal{})}, nil
	})
}

func (s *server) describe(p *Principal) wire.Session {
	return wire.Session{
		Email: p.Email, Scope: p.Scope, Via: p.Via, ExpiresAt: p.ExpiresAt,
		Now: s.d.Clock.Now(), Speed: max(s.d.Speed, 0),
	}
}

type newTokenIn struct{ Body wire.NewToken }

func (s *server) tokens() {
	add(s, route{method: http.MethodGet, path: "/v1/tokens", id: "listTokens", summary: "List API tokens", tag: "tokens", access: admin},
		func(ctx context.Context, in *wire.PageParams) (wire.Page[fleet.APIToken], error) {
			all, err := s.d.Access.APITokens(ctx)
			return pageAfter(all, *in, func(t fleet.APIToken) string { return t.ID }), err
		})
	add(s, route{
		method: http.MethodPost, path: "/v1/tokens", id: "createToken", summary: "Make an API token",
		tag: "tokens", access: admin, status: http.StatusCreated,
	}, func(ctx context.Context, in *newTokenIn) (wire.IssuedToken, error) {
		var expires time.Time
		if in.Body.Expires > 0 {
			expires = s.d.Wall.Now().Add(time.Duration(in.Body.Expires))
		}
		t, secret, err := s.d.Access.CreateAPIToken(ctx, who(ctx).ID, in.Body.Name, in.Body.Scope, expires)
		return wire.IssuedToken{APIToken: t, Token: secret}, err
	})
	do(s, route{method: http.MethodDelete, path: "/v1/tokens/{id}", id: "revokeToken", summary: "Revoke an API token", tag: "tokens", access: admin},
		func(ctx context.Context, in *IDParam) error { return s.d.Access.RevokeAPIToken(ctx, in.ID) })
}
