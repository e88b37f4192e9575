package frame

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
)

type (
	principalKey struct{}
	callerKey    struct{}
)

// Caller is where a request comes from.
type Caller struct{ Address, Agent string }

// CallerOf is where a request comes from.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Who is the principal of a request; it is set wherever the access is not Anyone.
func Who(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey{}).(*Principal)
	if p == nil {
		return &Principal{}
	}
	return p
}

// Principal is who has proved themselves.
type Principal struct {
	ID        string // operator or owner id
	Email     string
	Party     access.Party
	Scope     access.Scope // of operators
	Via       string       // session or token
	SessionID string
	ExpiresAt time.Time
}

func crossOrigin(publicURL string) *http.CrossOriginProtection {
	c := http.NewCrossOriginProtection()
	if u, err := url.Parse(publicURL); err == nil && u.Host != "" {
		_ = c.AddTrustedOrigin(u.Scheme + "://" + u.Host) // scheme and host are there
	}
	return c
}

// authorize lets a request through when its credential may call the operation.
// An operation that names no access is refused.
func (s *Server) authorize(ctx huma.Context, next func(huma.Context)) {
	need, _ := ctx.Operation().Metadata["access"].(Access)
	r, w := humago.Unwrap(ctx)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := s.origins.Check(r); err != nil {
		s.Refuse(ctx, http.StatusForbidden, "the request comes from another site")
		return
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ctx = huma.WithValue(ctx, callerKey{}, Caller{host, r.UserAgent()})
	if need == Anyone {
		s.record(ctx, nil, next)
		return
	}
	p, status, why := s.principal(r, need)
	if status != 0 {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="fettle"`)
		}
		s.denied(ctx, p, status)
		s.Refuse(ctx, status, why)
		return
	}
	s.record(huma.WithValue(ctx, principalKey{}, p), p, next)
}

// Refuse answers with a problem before, or instead of, a handler.
func (s *Server) Refuse(ctx huma.Context, status int, why string) {
	if err := huma.WriteErr(s.API, ctx, status, why); err != nil {
		s.Log.WarnContext(ctx.Context(), "answer", "error", err)
	}
}

// SessionPrincipal is who a session is of.
func (s *Server) SessionPrincipal(ctx context.Context, v access.Session) (Principal, error) {
	p := Principal{ID: v.Subject, Party: v.Party, Via: "session", SessionID: v.ID, ExpiresAt: v.ExpiresAt}
	if v.Party == access.PartyOwner {
		o, err := s.Fleet.Owner(ctx, v.Subject)
		p.Email = o.Email
		return p, err
	}
	o, err := s.Access.Operator(ctx, v.Subject)
	p.Email, p.Scope = o.Email, access.ScopeAdmin
	return p, err
}

func (s *Server) bySession(ctx context.Context, party access.Party, secret string) (Principal, error) {
	v, err := s.Access.Session(ctx, party, secret)
	if err != nil {
		return Principal{}, err
	}
	return s.SessionPrincipal(ctx, v)
}

func (s *Server) byToken(ctx context.Context, secret string) (Principal, error) {
	t, err := s.Access.APIToken(ctx, secret)
	if err != nil {
		return Principal{}, err
	}
	o, err := s.Access.Operator(ctx, t.OperatorID)
	return Principal{ID: o.ID, Email: o.Email, Party: access.PartyOperator, Scope: t.Scope, Via: "token", ExpiresAt: t.ExpiresAt}, err
}

var scopeOf = map[Access]access.Scope{Read: access.ScopeRead, Write: access.ScopeWrite, Admin: access.ScopeAdmin}

// principal finds who asks. Status 0 means: may.
func (s *Server) principal(r *http.Request, need Access) (p *Principal, status int, why string) {
	ctx := r.Context()
	if need != Owner && scopeOf[need] == "" {
		return nil, http.StatusForbidden, "nobody may do this"
	}
	party, cookie := access.PartyOperator, wire.OperatorCookie
	if need == Owner {
		party, cookie = access.PartyOwner, wire.OwnerCookie
	}
	var got Principal
	var err error
	bearer, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case need != Owner && isBearer:
		got, err = s.byToken(ctx, strings.TrimSpace(bearer))
	case r.Header.Get("Authorization") != "":
		return nil, http.StatusUnauthorized, "this credential is not for this"
	default:
		c, missing := r.Cookie(cookie)
		if missing != nil {
			return nil, http.StatusUnauthorized, "sign in first"
		}
		got, err = s.bySession(ctx, party, c.Value)
	}
	switch kind := fault.KindOf(err); {
	case err == nil:
	case kind == fault.Denied || kind == fault.NotFound || kind == fault.Invalid:
		return nil, http.StatusUnauthorized, "the session or token is unknown, expired or revoked"
	case kind == fault.Unavailable:
		return nil, http.StatusServiceUnavailable, "try again later"
	default:
		s.Log.ErrorContext(ctx, "authenticate", "error", err)
		return nil, http.StatusInternalServerError, "something went wrong on our side"
	}
	// A browser tells where a change comes from; one that tells nothing and yet
	// carries a cookie is refused.
	if !isBearer && r.Method != http.MethodGet && r.Method != http.MethodHead &&
		r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" {
		return &got, http.StatusForbidden, "a change by cookie needs an Origin header"
	}
	if need != Owner && !got.Scope.Includes(scopeOf[need]) {
		return &got, http.StatusForbidden, "this needs scope " + string(scopeOf[need])
	}
	return &got, 0, ""
}

// Cookie makes a session cookie; an empty value ends the session in the browser.
func (s *Server) Cookie(name, value string, p Principal) http.Cookie {
	c := http.Cookie{ //nolint:gosec // Secure is set wherever people come by https
		Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(s.PublicURL, "https://"),
	}
	switch {
	case value == "":
		c.MaxAge = -1
	case !p.ExpiresAt.IsZero():
		c.MaxAge = max(1, int(p.ExpiresAt.Sub(s.Wall.Now()).Seconds()))
	}
	return c
}
