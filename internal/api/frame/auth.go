package frame

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/people"
)

type (
	principalKey struct{}
	callerKey    struct{}
)

// Caller is where a request comes from.
type Caller struct{ Address, Agent string }

// Caller is c as the room of access takes it.
func (c Caller) Caller() access.Caller { return access.Caller(c) }

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
	Via       string // session or token
	SessionID string
	ExpiresAt time.Time

	// Of owners' apps.
	App   people.TokenScope
	Units []string // ids; none: all

	// Of operators.
	Role  access.Role
	Scope access.Scope // of a token, or the widest that the role holds
	May   access.Set   // what they may do, with this credential
	Sight fleet.Sight
}

// Need refuses an operator who lacks a permission.
func (p *Principal) Need(need access.Permission) error {
	if p.May[need] {
		return nil
	}
	return fault.New(fault.Denied, "%s", p.lacks(need))
}

func (p *Principal) lacks(need access.Permission) string {
	if p.Via == "token" {
		return fmt.Sprintf("this needs permission %q, which this token (scope %s, role %s) does not have", need, p.Scope, p.Role)
	}
	return fmt.Sprintf("this needs permission %q, which your role (%s) does not have", need, p.Role)
}

// needs refuses an operator who may not call an operation.
func (p *Principal) needs(op *huma.Operation) error {
	need, _ := op.Metadata["access"].(Access)
	or, _ := op.Metadata["or"].([]Access)
	if need == Self && p.Scope == access.ScopeHawkbit {
		return fault.New(fault.Denied, "this token opens the API for hawkBit's tools and nothing else")
	}
	if need != Self && !p.May[need] && !slices.ContainsFunc(or, func(a Access) bool { return p.May[a] }) {
		return p.Need(need)
	}
	sight, _ := op.Metadata["sight"].(Sight)
	switch {
	case need == Self || !p.Sight.Limited() || sight == ByUnit:
	case sight == ByProduct && len(p.Sight.Regions) == 0:
	case sight == ByProduct:
		return fault.New(fault.Denied, "this is about the units of all regions, and what you see is bounded to some")
	default:
		return fault.New(fault.Denied, "this is about all products, and what you see is bounded to some")
	}
	return nil
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
	if err := s.origins.Check(r); err != nil && !isApp(r) {
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
	p, status, why := s.principal(r, ctx.Operation())
	if status != 0 {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="fettle"`)
		}
		s.denied(ctx, p, status)
		s.Refuse(ctx, status, why)
		return
	}
	ctx = huma.WithValue(ctx, principalKey{}, p)
	if p.Sight.Limited() {
		ctx = huma.WithContext(ctx, fleet.WithSight(ctx.Context(), p.Sight))
	}
	s.record(ctx, p, next)
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
	if err == nil && o.Disabled {
		err = fault.New(fault.Denied, "this operator is disabled")
	}
	p.Email, p.Role, p.May, p.Sight = o.Email, o.Role, o.Role.May(), o.Sight()
	p.Scope = access.ScopeOf(p.May)
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
	t, o, err := s.Access.Bearer(ctx, secret)
	return Principal{
		ID: o.ID, Email: o.Email, Party: access.PartyOperator, Via: "token", ExpiresAt: t.ExpiresAt,
		Role: o.Role, Scope: t.Scope, May: t.May(o), Sight: o.Sight(),
	}, err
}

// principal finds who asks. Status 0 means: may.
func (s *Server) principal(r *http.Request, op *huma.Operation) (p *Principal, status int, why string) {
	ctx := r.Context()
	need, _ := op.Metadata["access"].(Access)
	if need != Owner && need != Self && !slices.Contains(access.Permissions, need) {
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
	case need == Owner && isBearer:
		got, err = s.byApp(ctx, strings.TrimSpace(bearer))
	case isBearer:
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
	if err := got.appMay(r, op); err != nil {
		return &got, http.StatusForbidden, err.Error()
	}
	if need != Owner {
		if err := got.needs(op); err != nil {
			return &got, http.StatusForbidden, err.Error()
		}
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
