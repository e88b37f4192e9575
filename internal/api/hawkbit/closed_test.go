package hawkbit_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/hawkbit"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/sqldb/signin"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"

	"fettle.dev/fettle/internal/clock"
)

// Every route of the API for hawkBit's tools, asked for with everybody's
// credentials: a token of scope hawkbit of an operator who may do all of it,
// everywhere, opens it; nothing else does.
func TestEveryRouteIsClosed(t *testing.T) {
	t.Parallel()
	db, ctx := sqldbtest.SQLite(t), t.Context()
	w := newWorld(t, db, 1)
	people := access.New(signin.New(db), db.Fleet(), db, clock.Real{}, clock.Random{}, slog.New(slog.DiscardHandler), access.Config{})
	token := func(role access.Role, scope access.Scope, products ...string) string {
		name := strings.ReplaceAll(string(role)+string(scope)+strings.Join(products, ""), " ", "")
		o, _, err := people.Invite(ctx, access.Operator{Email: name + "@example.org", Role: role, Products: products})
		require.NoError(t, err)
		_, secret, err := people.CreateAPIToken(ctx, access.NewToken{OperatorID: o.ID, Name: "t", Scope: scope})
		require.NoError(t, err)
		return secret
	}
	h := hawkbit.New(hawkbit.Config{Bench: w.bench, Updates: w.Updates, Tokens: people, Log: slog.New(slog.DiscardHandler), Base: func(*http.Request) string { return "" }})
	basic := func(secret string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth("tool", secret) }
	}
	callers := map[string]struct {
		set  func(*http.Request)
		open bool
	}{
		"nobody":                        {func(*http.Request) {}, false},
		"a unit's token":                {basic("fut_" + strings.Repeat("A", 43)), false},
		"hawkbit of an admin":           {basic(token(access.Admin, access.ScopeHawkbit)), true},
		"hawkbit of a release manager":  {basic(token(access.ReleaseManager, access.ScopeHawkbit)), false}, // it makes credentials, too
		"hawkbit of a viewer":           {basic(token(access.Viewer, access.ScopeHawkbit)), false},
		"hawkbit of a bounded engineer": {basic(token(access.Engineer, access.ScopeHawkbit, "wall-charger")), false},
		"admin of an admin":             {basic(token(access.Admin, access.ScopeAdmin)), false},
		"write of an admin":             {basic(token(access.Admin, access.ScopeWrite)), false},
	}
	require.Greater(t, len(h.Routes()), 20)
	for _, route := range h.Routes() {
		method, path, _ := strings.Cut(route, " ")
		for _, part := range []string{"{target}", "{action}", "{module}", "{file}", "{set}", "{key}"} {
			path = strings.ReplaceAll(path, part, "1")
		}
		for name, c := range callers {
			req := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader("[]"))
			c.set(req)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			require.Equal(t, c.open, rec.Code != http.StatusUnauthorized, "%s by %s: %d", route, name, rec.Code)
		}
	}
}
