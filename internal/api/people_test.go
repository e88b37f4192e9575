package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/operators"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/fleet/access"
)

// colleague is an operator with a session.
func colleague(t *testing.T, e *apitest.Env, email string, role access.Role, products ...string) (access.Operator, func(*http.Request)) {
	t.Helper()
	o, _, err := e.Deps.Access.Invite(t.Context(), access.Operator{Email: email, Role: role, Products: products})
	require.NoError(t, err)
	_, secret, err := e.Deps.Access.Open(t.Context(), access.PartyOperator, o.ID, access.ByPasskey, access.Caller{})
	require.NoError(t, err)
	return o, e.As(wire.OperatorCookie, secret)
}

// From the invitation to a session by password and code, over HTTP.
func TestOperatorSignsIn(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	invited := apitest.Call[operators.Invited](e, 201, "POST", "/v1/operators", operators.Invitation{Email: "Grace@example.org", Role: access.Engineer})
	require.Equal(t, "grace@example.org", invited.Operator.Email)
	_, link, _ := strings.Cut(invited.Link, "#")
	status, raw, header := e.Do("POST", "/v1/sign-in", wire.OneTime{Token: link}, nil)
	require.Equal(t, 200, status, "%s", raw)
	cookie := func(h http.Header) func(*http.Request) {
		_, after, _ := strings.Cut(h.Get("Set-Cookie"), "=")
		value, _, _ := strings.Cut(after, ";")
		return e.As(wire.OperatorCookie, value)
	}
	first := cookie(header)
	status, raw, _ = e.Do("PUT", "/v1/account/password", map[string]string{"password": "password1234"}, first)
	require.Equal(t, 422, status)
	require.Contains(t, string(raw), "guessed first")
	status, raw, _ = e.Do("PUT", "/v1/account/password", map[string]string{"password": "four words nobody knows"}, first)
	require.Equal(t, 204, status, "%s", raw)

	post := func(path string, in, out any) (int, string, http.Header) {
		status, raw, header := e.Do("POST", path, in, nil)
		if status < 300 && out != nil {
			require.NoError(t, json.Unmarshal(raw, out), "%s", raw)
		}
		return status, string(raw), header
	}
	var owed operators.Owed
	status, body, header := post("/v1/sign-in/password", operators.PasswordSignIn{Email: "grace@example.org", Password: "four words nobody knows"}, &owed)
	require.Equal(t, 200, status, body)
	require.Equal(t, access.NextEnrol, owed.Next)
	require.Empty(t, header.Get("Set-Cookie"), "a password alone opens nothing")
	var enrolment operators.Enrolment
	status, body, _ = post("/v1/sign-in/enrol", map[string]string{"ticket": owed.Ticket}, &enrolment)
	require.Equal(t, 200, status, body)
	require.True(t, strings.HasPrefix(enrolment.QR, "data:image/png;base64,iVBOR"), enrolment.QR[:40])
	code, err := totp.GenerateCode(enrolment.Key, time.Now())
	require.NoError(t, err)
	var recovery operators.Recovery
	status, body, header = post("/v1/sign-in/enrolled", operators.TicketCode{Ticket: owed.Ticket, Code: code}, &recovery)
	require.Equal(t, 200, status, body)
	require.Len(t, recovery.Codes, 10)
	second := cookie(header)
	var who wire.Session
	_, raw, _ = e.Do("GET", "/v1/session", nil, second)
	require.NoError(t, json.Unmarshal(raw, &who))
	require.Equal(t, access.Engineer, who.Role)
	require.Equal(t, access.Engineer.May().List(), who.Permissions)

	// Where they are signed in, and out again there.
	var open wire.List[operators.OpenSession]
	_, raw, _ = e.Do("GET", "/v1/sessions", nil, second)
	require.NoError(t, json.Unmarshal(raw, &open))
	require.Len(t, open.Items, 2)
	require.True(t, open.Items[0].Current)
	require.Equal(t, "127.0.0.1", open.Items[0].Address)
	status, _, _ = e.Do("DELETE", "/v1/sessions/"+open.Items[1].ID, nil, second)
	require.Equal(t, 204, status)
	status, _, _ = e.Do("GET", "/v1/session", nil, first)
	require.Equal(t, 401, status)

	// A guesser hears the same of everybody, and then has to wait.
	_, there, _ := post("/v1/sign-in/password", operators.PasswordSignIn{Email: "grace@example.org", Password: "wrong"}, nil)
	_, not, _ := post("/v1/sign-in/password", operators.PasswordSignIn{Email: "nobody@example.org", Password: "wrong"}, nil)
	require.Equal(t, there, not)
	for range 5 {
		status, _, header = post("/v1/sign-in/password", operators.PasswordSignIn{Email: "nobody@example.org", Password: "wrong"}, nil)
	}
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Equal(t, "180", header.Get("Retry-After"))
}

// What is out of sight is not in totals either.
func TestSight(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Hot()
		e.Keep()
		e.Apply(heater, "apiVersion: fettle.dev/v1\nkind: Unit\nmetadata: {name: HT-1}\nspec: {product: heater, serial: h1, region: south}\n")
		_, only := colleague(t, e, "eve@example.org", access.Engineer, "heater")
		get := func(path string, out any) {
			status, raw, _ := e.Do("GET", path, nil, only)
			require.Equal(t, 200, status, "%s: %s", path, raw)
			require.NotContains(t, string(raw), "WC-", path)
			require.NoError(t, json.Unmarshal(raw, out))
		}
		var overview wire.Overview
		get("/v1/overview", &overview)
		require.Len(t, overview.Products, 1)
		require.Equal(t, 1, overview.Products[0].Units)
		for _, path := range []string{"/v1/units", "/v1/findings", "/v1/declared/unit", "/v1/declared/product", "/v1/maintenance", "/v1/cohorts", "/v1/risks", "/v1/settings/drift"} {
			var page wire.Page[map[string]any]
			get(path, &page)
			require.LessOrEqual(t, len(page.Items), 1, path)
		}
		// Nothing of another product is made, changed or taken over.
		for _, file := range []string{
			apitest.UnitFile("WC-9", "B1", ""), apitest.Product, apitest.Detector,
			"apiVersion: fettle.dev/v1\nkind: Unit\nmetadata: {name: WC-1}\nspec: {product: heater, serial: stolen}\n",
		} {
			status, raw, _ := e.Do("POST", "/v1/apply", wire.Apply{Documents: apitest.Documents(e, file)}, only)
			require.Equal(t, 403, status, "%s", raw)
		}
		// Who is bounded to a region changes nothing that is about all regions.
		south, _, err := e.Deps.Access.Invite(t.Context(), access.Operator{Email: "south@example.org", Role: access.Engineer, Regions: []string{"south"}})
		require.NoError(t, err)
		_, secret, err := e.Deps.Access.Open(t.Context(), access.PartyOperator, south.ID, access.ByPasskey, access.Caller{})
		require.NoError(t, err)
		status, raw, _ := e.Do("POST", "/v1/apply", wire.Apply{Documents: apitest.Documents(e, apitest.Detector)}, e.As(wire.OperatorCookie, secret))
		require.Equal(t, 403, status, "%s", raw)
		status, raw, _ = e.Do("DELETE", "/v1/declared/detector/plug-overheat", nil, e.As(wire.OperatorCookie, secret))
		require.Equal(t, 403, status, "%s", raw)
		// Who may not see owners neither sees them nor loses them by sending back what was shown.
		_, all := colleague(t, e, "all@example.org", access.Engineer)
		status, raw, _ = e.Do("GET", "/v1/declared/unit/WC-1", nil, all)
		require.Equal(t, 200, status)
		require.NotContains(t, string(raw), "ada@example.org")
		var shown wire.Document
		require.NoError(t, json.Unmarshal(raw, &shown))
		status, raw, _ = e.Do("POST", "/v1/apply", wire.Apply{Documents: []wire.Document{shown}}, all)
		require.Equal(t, 200, status, "%s", raw)
		u, err := e.Deps.Fleet.Unit(t.Context(), "WC-1")
		require.NoError(t, err)
		require.NotEmpty(t, u.OwnerID)
	})
}

func TestFourEyes(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Hot()
		finding := e.Keep()[0].ID
		def := apitest.Call[cohort.Suggestion](e, 200, "GET", "/v1/findings/"+finding+"/who-else", nil).Definition
		def.Name = "hot-adapters"
		apitest.Call[any](e, 201, "POST", "/v1/cohorts", map[string]any{"definition": def})
		require.Eventually(t, func() bool {
			page := apitest.Call[wire.Page[map[string]any]](e, 200, "GET", "/v1/cohorts", nil)
			return len(page.Items) == 1 && page.Items[0]["state"] == "ready"
		}, time.Minute, 5*time.Millisecond)
		status, raw, _ := e.Do("POST", "/v1/artifacts?filename=a.swu", "bytes", func(r *http.Request) {
			apitest.Bearer(e.Admin)(r)
			r.Header.Set("Content-Type", "application/octet-stream")
		})
		require.Equal(t, 201, status)
		_, sha, _ := strings.Cut(string(raw), `"sha256":"`)
		sha, _, _ = strings.Cut(sha, `"`)
		e.Apply(apitest.ReleaseFile(sha), apitest.CampaignFile)
		e.FourEyes()
		asker, ask := colleague(t, e, "frank@example.org", access.ReleaseManager)
		_, other := colleague(t, e, "vera@example.org", access.ReleaseManager)
		do := func(who func(*http.Request), path string, want int) map[string]any {
			status, raw, _ := e.Do("POST", path, map[string]string{"why": "because"}, who)
			require.Equal(t, want, status, "%s: %s", path, raw)
			var out map[string]any
			require.NoError(t, json.Unmarshal(raw, &out))
			return out
		}
		start := "/v1/campaigns/adapter-overheat/start"
		asked := func() string {
			c := do(ask, start, 200)
			require.Equal(t, "draft", c["state"])
			return c["approval"].(map[string]any)["id"].(string)
		}
		id := asked()
		require.Equal(t, id, asked(), "asked for once")
		do(ask, "/v1/approvals/"+id+"/approve", 403)
		do(apitest.Bearer(e.Admin), "/v1/approvals/"+id+"/approve", 403)

		// What was changed since is asked for anew.
		e.Apply(strings.Replace(apitest.CampaignFile, "deadline: 14d", "deadline: 7d", 1))
		require.Contains(t, do(other, "/v1/approvals/"+id+"/approve", 409)["detail"], "changed since frank@example.org asked")
		next := asked()
		require.NotEqual(t, id, next)
		do(other, "/v1/approvals/"+id+"/approve", 409)
		do(other, "/v1/approvals/"+next+"/reject", 200)
		do(other, "/v1/approvals/"+next+"/approve", 409)

		// Who asked may not start campaigns any more.
		next = asked()
		viewer, manager := access.Viewer, access.ReleaseManager
		_, err := e.Deps.Access.ChangeOperator(t.Context(), asker.ID, access.Change{Role: &viewer})
		require.NoError(t, err)
		do(other, "/v1/approvals/"+next+"/approve", 409)
		_, err = e.Deps.Access.ChangeOperator(t.Context(), asker.ID, access.Change{Role: &manager})
		require.NoError(t, err)
		done := do(other, "/v1/approvals/"+next+"/approve", 200)
		require.Equal(t, "approved", done["state"])
		require.Equal(t, "vera@example.org", done["decidedBy"])
		c := apitest.Call[wire.Campaign](e, 200, "GET", "/v1/campaigns/adapter-overheat", nil)
		require.NotEqual(t, "draft", string(c.State))
		require.Equal(t, "frank@example.org", c.Approval.AskedBy)
		require.Equal(t, "because", c.Approval.Answer)
	})
}
