package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

type operation struct{ method, path string }

// operations are all that the service describes, with names filled in.
func operations(t *testing.T, e *apitest.Env) []operation {
	t.Helper()
	_, raw, _ := e.Do(http.MethodGet, "/v1/openapi.json", nil, nil)
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(raw, &doc))
	names := strings.NewReplacer("{id}", "WC-1", "{name}", "wall-charger", "{kind}", "product", "{purpose}", "care", "{sha256}", strings.Repeat("a", 64))
	var out []operation
	for path, methods := range doc.Paths {
		for method := range methods {
			if anyone[strings.ToUpper(method)+" "+path] {
				continue
			}
			out = append(out, operation{strings.ToUpper(method), names.Replace(path)})
		}
	}
	require.Greater(t, len(out), 50)
	return out
}

// Whoever proves nothing, or proves to be somebody else, gets nothing, on
// every operation there is.
func TestEveryOperationIsClosed(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "ada@example.org", "care"), apitest.UnitFile("WC-2", "B1", "bob@example.org"))
	unitToken := apitest.Call[wire.UnitToken](e, 200, "POST", "/v1/units/WC-1/token", struct{}{}).Token
	owner := e.OwnerSession("ada@example.org")
	_, operator, err := e.Deps.Access.SignIn(t.Context(), access.PartyOperator, resetLink(t, e), "", access.Caller{Agent: "test"})
	require.NoError(t, err)
	for _, op := range operations(t, e) {
		owners := strings.HasPrefix(op.path, "/owner/")
		for name, set := range map[string]func(*http.Request){
			"nothing":                 nil,
			"a wrong token":           apitest.Bearer("fet_" + strings.Repeat("A", 43)),
			"an empty token":          apitest.Bearer(""),
			"a unit's token":          apitest.Bearer(unitToken),
			"a unit's password":       func(r *http.Request) { r.SetBasicAuth("WC-1", unitToken) },
			"a wrong session":         e.As(wire.OperatorCookie, "fes_wrong"),
			"an owner as operator":    e.As(wire.OperatorCookie, owner),
			"an operator as owner":    e.As(wire.OwnerCookie, operator),
			"a session as token":      apitest.Bearer(operator),
			"an owner's session here": e.As(wire.OwnerCookie, owner),
			"an operator's token":     apitest.Bearer(e.Admin),
		} {
			if owners && name == "an owner's session here" || !owners && name == "an operator's token" {
				continue // who may
			}
			status, _, _ := e.Do(op.method, op.path, nil, set)
			require.Contains(t, []int{401, 403, 404}, status, "%s %s with %s", op.method, op.path, name)
			require.NotEqual(t, 404, status, "%s %s with %s: nobody is asked who they are", op.method, op.path, name)
		}
	}
}

func resetLink(t *testing.T, e *apitest.Env) string {
	t.Helper()
	link, err := e.Deps.Access.Reset(t.Context())
	require.NoError(t, err)
	return link
}

func TestScopes(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", ""))
		reader, writer := e.Token(e.Operator(), access.ScopeRead), e.Token(e.Operator(), access.ScopeWrite)
		for _, c := range []struct {
			token, method, path string
			body                any
			want                int
		}{
			{reader, "GET", "/v1/units", nil, 200},
			{reader, "POST", "/v1/apply", wire.Apply{Documents: []wire.Document{}}, 403},
			{reader, "GET", "/v1/tokens", nil, 403},
			{writer, "POST", "/v1/apply", wire.Apply{Documents: []wire.Document{}}, 200},
			{writer, "POST", "/v1/units/WC-1/token", struct{}{}, 403},
			{writer, "POST", "/v1/products/wall-charger/claim-token", nil, 403},
			{writer, "PUT", "/v1/notify/routes/x", wire.NewRoute{Channel: "mail", To: "a@example.org"}, 403},
			{writer, "GET", "/v1/backup", nil, 403},
			{e.Admin, "GET", "/v1/tokens", nil, 200},
			{e.Admin, "PUT", "/v1/notify/routes/x", wire.NewRoute{Channel: "mail", To: "a@example.org"}, 200},
			{e.Admin, "GET", "/v1/backup", nil, 200},
		} {
			status, raw, _ := e.Do(c.method, c.path, c.body, apitest.Bearer(c.token))
			require.Equal(t, c.want, status, "%s %s: %s", c.method, c.path, raw)
		}
	})
}

// A link works once; the cookie is out of reach of scripts; another site's page
// cannot use it, nor can what tells no origin.
func TestSignInAndCookies(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		link := resetLink(t, e)
		status, raw, header := e.Do("POST", "/v1/sign-in", wire.OneTime{Token: link}, nil)
		require.Equal(t, 200, status, "%s", raw)
		set := header.Get("Set-Cookie")
		require.Contains(t, set, "HttpOnly")
		require.Contains(t, set, "SameSite=Lax")
		require.NotContains(t, set, "Secure", "the test's service is plain http")
		status, _, _ = e.Do("POST", "/v1/sign-in", wire.OneTime{Token: link}, nil)
		require.Equal(t, 403, status)

		cookie, err := http.ParseSetCookie(set)
		require.NoError(t, err)
		try := func(method, path, origin, site string) int {
			status, _, _ := e.Do(method, path, nil, func(r *http.Request) {
				r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
				if origin != "" {
					r.Header.Set("Origin", origin)
				}
				if site != "" {
					r.Header.Set("Sec-Fetch-Site", site)
				}
			})
			return status
		}
		require.Equal(t, 200, try("GET", "/v1/session", "", ""))
		require.Equal(t, 403, try("POST", "/v1/sign-out", "", ""))
		require.Equal(t, 403, try("POST", "/v1/sign-out", "https://evil.example", ""))
		require.Equal(t, 403, try("POST", "/v1/sign-out", "https://evil.example", "cross-site"))
		require.Equal(t, 204, try("POST", "/v1/sign-out", e.URL, "same-origin"))
		require.Equal(t, 401, try("GET", "/v1/session", "", ""), "the session is over")
	})
}

func TestCookiesAreSecureOverHTTPS(t *testing.T) {
	t.Parallel()
	e := apitest.New(t, func(e *apitest.Env) { e.Deps.PublicURL = "https://fettle.example.com" })
	status, raw, header := e.Do("POST", "/v1/sign-in", wire.OneTime{Token: resetLink(t, e)}, nil)
	require.Equal(t, 200, status, "%s", raw)
	require.Contains(t, header.Get("Set-Cookie"), "Secure")
}

func TestLinksByMailTellNothing(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "ada@example.org"))
		for _, email := range []string{"ada@example.org", "nobody@example.org"} {
			status, raw, _ := e.Do("POST", "/owner/v1/sign-in/link", wire.Link{Email: email}, nil)
			require.Equal(t, 202, status, "%s", raw)
			require.Empty(t, raw)
		}
		require.NotEmpty(t, e.Link("ada@example.org"))
		require.Empty(t, e.Link("nobody@example.org"))
		status, raw, _ := e.Do("POST", "/owner/v1/sign-in", wire.OneTime{Token: e.Link("ada@example.org")}, nil)
		require.Equal(t, 200, status, "%s", raw)
		require.Contains(t, string(raw), "WC-1")
		status, _, _ = e.Do("POST", "/v1/sign-in", wire.OneTime{Token: "fel_x"}, nil)
		require.Equal(t, 403, status)
	})
}

func TestTokensLiveAndDie(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		made := apitest.Call[wire.IssuedToken](e, 201, "POST", "/v1/tokens", wire.NewToken{Name: "ci", Scope: access.ScopeRead, Expires: fleet.Duration(24 * time.Hour)})
		require.WithinDuration(t, time.Now().Add(24*time.Hour), made.ExpiresAt, time.Minute)
		status, _, _ := e.Do("GET", "/v1/units", nil, apitest.Bearer(made.Token))
		require.Equal(t, 200, status)
		list := apitest.Call[wire.Page[access.APIToken]](e, 200, "GET", "/v1/tokens", nil)
		require.Len(t, list.Items, 2)
		_, raw, _ := e.Do("GET", "/v1/tokens", nil, apitest.Bearer(e.Admin))
		require.NotContains(t, string(raw), made.Token)
		apitest.Call[struct{}](e, 204, "DELETE", "/v1/tokens/"+made.ID, nil)
		status, _, _ = e.Do("GET", "/v1/units", nil, apitest.Bearer(made.Token))
		require.Equal(t, 401, status)
		require.NotContains(t, e.Log.String(), made.Token, "secrets never stand in the log")
		require.NotContains(t, e.Log.String(), e.Admin)
	})
}
