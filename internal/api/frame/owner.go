package frame

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/people"
)

// viaApp is how a principal asks whose app holds a token.
const viaApp = "app"

// May finds a unit as the person who asks stands to it, if they, and the app
// that asks for them, may do something with it. A unit of strangers is not
// found, as if it did not exist.
func (s *Server) May(ctx context.Context, unitID string, a people.Action) (people.Unit, error) {
	who := Who(ctx)
	if !who.Opens(unitID) {
		return people.Unit{}, fault.New(fault.NotFound, "no unit %q", unitID)
	}
	return s.People.May(ctx, who.ID, unitID, a)
}

// Opens reports whether a principal's credential is for a unit, too.
func (p *Principal) Opens(unitID string) bool {
	return p.Via != viaApp || len(p.Units) == 0 || slices.Contains(p.Units, unitID)
}

// Units are those that the person who asks owns or drives, as far as the app
// that asks for them may see.
func (s *Server) Units(ctx context.Context) ([]people.Unit, error) {
	who := Who(ctx)
	all, err := s.People.Units(ctx, who.ID)
	return slices.DeleteFunc(all, func(u people.Unit) bool { return !who.Opens(u.ID) }), err
}

// byApp finds whom an owner's app acts for.
func (s *Server) byApp(ctx context.Context, secret string) (Principal, error) {
	t, err := s.People.Token(ctx, secret)
	if err != nil {
		return Principal{}, err
	}
	o, err := s.Fleet.Owner(ctx, t.OwnerID)
	return Principal{
		ID: o.ID, Email: o.Email, Party: access.PartyOwner, Via: viaApp, SessionID: t.ID, ExpiresAt: t.ExpiresAt, App: t.Scope, Units: t.Units,
	}, err
}

// appMay refuses what a token of an app does not open: an operation that needs
// a session, a change where it may only read, and, where it is for some units,
// what is about more than those.
func (p *Principal) appMay(r *http.Request, op *huma.Operation) error {
	if p.Via != viaApp {
		return nil
	}
	if session, _ := op.Metadata["session"].(bool); session {
		return fault.New(fault.Denied, "an app may not do this: sign in to the portal")
	}
	if op.Method != http.MethodGet && op.Method != http.MethodHead && p.App != people.ScopeAct {
		return fault.New(fault.Denied, "this token is for reading only")
	}
	if each, _ := op.Metadata["eachUnit"].(bool); len(p.Units) == 0 || each {
		return nil
	}
	const units = "/owner/v1/units/{id}"
	if !strings.HasPrefix(op.Path, units) || !p.Opens(r.PathValue("id")) {
		return fault.New(fault.Denied, "this token is for some products only")
	}
	return nil
}

// isApp reports whether a request carries the token of an owner's app, which no
// browser adds by itself: where it comes from does not matter then.
func isApp(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Authorization"), "Bearer "+people.TokenPrefix)
}

// CrossOrigin lets pages of other origins call the owner API with the token of
// an app (Fetch Standard, CORS protocol); never with cookies. origins are as
// browsers write them, https://app.example.com.
func CrossOrigin(origins []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if !strings.HasPrefix(r.URL.Path, "/owner/v1/") || len(origins) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Add("Vary", "Origin")
		if origin == "" || !slices.Contains(origins, origin) {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			h.Set("Access-Control-Max-Age", "3600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
