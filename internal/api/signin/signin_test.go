package signin_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/operators"
	"fettle.dev/fettle/internal/api/privacy"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/identity"
)

// provider is an OpenID provider that says of everybody what the code is.
type provider struct{}

func (provider) For(access.Party) []identity.Provider {
	return []identity.Provider{{Name: "example", Title: "Example"}}
}

func (provider) Begin(context.Context, access.Party, string, string) (identity.Flow, func(string) string, error) {
	return identity.Flow{Provider: "example"}, func(state string) string { return "https://id.example/?state=" + state }, nil
}

func (provider) Finish(_ context.Context, _ access.Party, _ string, _ identity.Flow, answer url.Values) (identity.Claims, error) {
	code := answer.Get("code")
	if !strings.Contains(code, "@") {
		return identity.Claims{}, fault.New(fault.Denied, "the provider said no")
	}
	return identity.Claims{Provider: "example", Issuer: "https://id.example", Subject: code, Email: code, EmailVerified: true}, nil
}

// Each try to sign in is in the trail, whichever way, and says how it ended and
// whose account it was where that is known.
func TestEverySignInIsInTheTrail(t *testing.T) {
	t.Parallel()
	e := apitest.New(t, func(e *apitest.Env) { e.Deps.SignIn.Providers = provider{} })
	e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "ada@example.org", "care"))
	ada, err := e.Deps.Fleet.OwnerByEmail(t.Context(), "ada@example.org")
	require.NoError(t, err)
	who, err := e.Deps.Trail.Person(t.Context(), ada.ID)
	require.NoError(t, err)
	newest := func(operation string) privacy.AuditEntry {
		t.Helper()
		all := apitest.Call[wire.Page[privacy.AuditEntry]](e, 200, "GET", "/v1/audit?limit=1&operation="+operation, nil).Items
		require.Len(t, all, 1, operation)
		return all[0]
	}
	// browse goes to the provider and comes back with a code.
	browse := func(base, code string) *http.Response {
		t.Helper()
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		get := func(address string, cookies []*http.Cookie) *http.Response {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
			require.NoError(t, err)
			for _, c := range cookies {
				r.AddCookie(c)
			}
			res, err := client.Do(r)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, http.StatusFound, res.StatusCode)
			return res
		}
		there := get(e.URL+base+"/sign-in/oidc/example", nil)
		_, state, _ := strings.Cut(there.Header.Get("Location"), "state=")
		return get(e.URL+base+"/sign-in/oidc/example/callback?"+url.Values{"state": {state}, "code": {code}}.Encode(), there.Cookies())
	}

	require.Contains(t, browse("/owner/v1", "no").Header.Get("Location"), "#problem=")
	failed := newest("comeBackFromProviderOwner")
	require.Equal(t, audit.Failed, failed.Outcome)
	require.Equal(t, audit.Nobody, failed.Actor.Party)
	require.NotEmpty(t, failed.From)
	require.Equal(t, "/my/", browse("/owner/v1", "ada@example.org").Header.Get("Location"))
	done := newest("comeBackFromProviderOwner")
	require.Equal(t, audit.Done, done.Outcome)
	require.Equal(t, audit.Actor{Party: audit.Owner, ID: who.Alias, Via: "session", Of: done.Actor.Of}, done.Actor)
	require.Empty(t, done.From, "an owner's address is sealed")
	require.Contains(t, browse("/v1", "stranger@example.org").Header.Get("Location"), "#problem=")
	require.Equal(t, audit.Failed, newest("comeBackFromProviderOperator").Outcome)
	require.Equal(t, "/console/", browse("/v1", "operator@localhost").Header.Get("Location"))
	require.Equal(t, e.Operator(), newest("comeBackFromProviderOperator").Actor.ID)

	status, raw, _ := e.Do("POST", "/v1/sign-in/password", operators.PasswordSignIn{Email: "operator@localhost", Password: "guessed"}, nil)
	require.Equal(t, 403, status, "%s", raw)
	guessed := newest("checkPassword")
	require.Equal(t, audit.Failed, guessed.Outcome)
	require.Equal(t, "operators/"+e.Operator(), guessed.Object)
	status, _, _ = e.Do("POST", "/v1/sign-in/password", operators.PasswordSignIn{Email: "nobody@example.org", Password: "guessed"}, nil)
	require.Equal(t, 403, status)
	require.Empty(t, newest("checkPassword").Object, "what somebody typed is in no entry")
	for _, path := range []string{"/v1/sign-in/code"} {
		status, raw, _ = e.Do("POST", path, operators.TicketCode{Ticket: "x", Code: "123456"}, nil)
		require.Equal(t, 403, status, "%s", raw)
	}
	require.Equal(t, audit.Failed, newest("signInByCode").Outcome)
	for base, suffix := range map[string]string{"/v1": "Operator", "/owner/v1": "Owner"} {
		status, raw, _ = e.Do("POST", base+"/sign-in/passkey", map[string]any{"id": "none", "credential": map[string]any{}}, nil)
		require.GreaterOrEqual(t, status, 400, "%s", raw)
		require.Equal(t, audit.Failed, newest("signInByPasskey"+suffix).Outcome)
		status, raw, _ = e.Do("POST", base+"/sign-in", wire.OneTime{Token: "wrong"}, nil)
		require.GreaterOrEqual(t, status, 400, "%s", raw)
		require.Equal(t, audit.Failed, newest("signIn"+suffix).Outcome)
	}
}
