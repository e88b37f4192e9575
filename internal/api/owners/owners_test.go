package owners_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/owners"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/sqldb/message"
)

// person is somebody with a browser.
type person struct {
	e       *apitest.Env
	session string
}

func (p person) do(method, path string, body any) (int, []byte) {
	p.e.T.Helper()
	status, raw, _ := p.e.Do(method, path, body, p.e.As(wire.OwnerCookie, p.session))
	return status, raw
}

func call[T any](p person, want int, method, path string, body any) T {
	p.e.T.Helper()
	status, raw := p.do(method, path, body)
	require.Equal(p.e.T, want, status, "%s %s: %s", method, path, raw)
	var out T
	if len(raw) > 0 {
		require.NoError(p.e.T, json.Unmarshal(raw, &out), "%s", raw)
	}
	return out
}

func signedIn(e *apitest.Env, email string) person { return person{e, e.OwnerSession(email)} }

// secretTo is what stands behind # in the newest mail to an address.
func secretTo(e *apitest.Env, email string) string {
	e.T.Helper()
	all, err := message.New(e.DB).Messages(e.T.Context(), notify.Filter{})
	require.NoError(e.T, err)
	var newest notify.Message
	for _, m := range all {
		if m.To == email && m.ID > newest.ID {
			newest = m
		}
	}
	_, secret, _ := strings.Cut(newest.Link, "#")
	return secret
}

// byLink uses a link that signs in, and gives who is signed in by it.
func byLink[T any](e *apitest.Env, want int, path string, body any) (T, person) {
	e.T.Helper()
	status, raw, header := e.Do(http.MethodPost, path, body, func(r *http.Request) { r.Header.Set("Origin", e.URL) })
	require.Equal(e.T, want, status, "%s: %s", path, raw)
	var out T
	require.NoError(e.T, json.Unmarshal(raw, &out))
	res := http.Response{Header: header}
	for _, c := range res.Cookies() {
		if c.Name == wire.OwnerCookie {
			return out, person{e, c.Value}
		}
	}
	return out, person{}
}

func codeOf(e *apitest.Env, unit string) string {
	e.T.Helper()
	list := apitest.Call[wire.List[people.IssuedCode]](e, 201, "POST", "/v1/unit-codes", owners.NewCodes{Units: []string{unit}})
	require.Len(e.T, list.Items, 1)
	require.Equal(e.T, e.Deps.PublicURL+"/claim#"+list.Items[0].Code, list.Items[0].URL)
	return list.Items[0].Code
}

func held(code string) owners.HeldCode { return owners.HeldCode{Code: code} }

func TestAUnitIsClaimedByItsCode(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", ""), apitest.UnitFile("WC-2", "B1", "ada@example.org"), apitest.UnitFile("WC-3", "B1", "bob@example.org", "care"))
		ada, bob := signedIn(e, "ada@example.org"), signedIn(e, "bob@example.org")
		code := codeOf(e, "WC-1")
		call[any](ada, 422, "POST", "/owner/v1/claims", held("ABCDE"))
		call[any](ada, 404, "POST", "/owner/v1/claims", held(people.NewCode()))
		require.Equal(t, people.Looked{Product: "Wall charger"}, call[people.Looked](ada, 200, "POST", "/owner/v1/claims/look", held(code)))
		got := call[people.Claimed](ada, 201, "POST", "/owner/v1/claims", held(strings.ToLower(code)))
		require.Equal(t, people.Claimed{State: "claimed", UnitID: "WC-1", Product: "Wall charger", Serial: "1"}, got)
		require.Contains(t, string(second(ada.do("POST", "/owner/v1/claims", held(code)))), "yours already")
		require.Contains(t, e.Hooks, "units", "detectors begin anew")

		// Bob has the code, too: Ada is asked, and it is hers until she agrees.
		asked := call[people.Claimed](bob, 201, "POST", "/owner/v1/claims", held(code))
		require.Equal(t, "asked", asked.State)
		require.Empty(t, asked.UnitID)
		call[any](bob, 404, "GET", "/owner/v1/units/WC-1", nil)
		require.Equal(t, asked.OfferID, call[people.Claimed](bob, 201, "POST", "/owner/v1/claims", held(code)).OfferID, "asked once")
		inbox := call[wire.List[owners.MyInvitation]](ada, 200, "GET", "/owner/v1/invitations", nil).Items
		require.Len(t, inbox, 1)
		require.True(t, inbox[0].Yours)
		require.Equal(t, "bob@example.org", inbox[0].Email)
		mine := call[wire.List[owners.MyInvitation]](bob, 200, "GET", "/owner/v1/invitations", nil).Items
		require.Len(t, mine, 1)
		require.False(t, mine[0].Yours)
		require.Empty(t, mine[0].UnitID, "a stranger is not told which unit it is")
		call[any](bob, 404, "POST", "/owner/v1/invitations/"+asked.OfferID, map[string]bool{"accept": true})
		call[owners.Answered](ada, 200, "POST", "/owner/v1/invitations/"+asked.OfferID, map[string]bool{"accept": false})
		require.Contains(t, string(second(bob.do("POST", "/owner/v1/claims", held(code)))), "declined")
		call[any](ada, 200, "GET", "/owner/v1/units/WC-1", nil)

		// A new code takes the place of the one before; a revoked one says so.
		again := codeOf(e, "WC-1")
		require.Contains(t, string(second(bob.do("POST", "/owner/v1/claims", held(code)))), "replaced or taken back")
		apitest.Call[any](e, 204, "DELETE", "/v1/units/WC-1/codes", nil)
		status, raw := bob.do("POST", "/owner/v1/claims", held(again))
		require.Equal(t, 409, status)
		require.Contains(t, string(raw), "taken back")
		codes := apitest.Call[wire.List[people.Code]](e, 200, "GET", "/v1/units/WC-1/codes", nil).Items
		require.Len(t, codes, 2)
		require.NotContains(t, string(mustJSON(t, codes)), strings.ReplaceAll(code, "-", ""))
	})
}

func second[A, B any](_ A, b B) B { return b }

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return raw
}

func TestGuessingCodesIsSlowedDown(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", ""), apitest.UnitFile("WC-2", "B1", "ada@example.org"))
	ada, code := signedIn(e, "ada@example.org"), codeOf(e, "WC-1")
	for range 10 {
		call[any](ada, 404, "POST", "/owner/v1/claims", held(people.NewCode()))
		call[any](ada, 422, "POST", "/owner/v1/claims", held("mistyped")) // tells nothing, so it is not counted
	}
	status, raw := ada.do("POST", "/owner/v1/claims", held(code))
	require.Equal(t, 503, status, "even the right one: %s", raw)
	for range 20 { // the address has 30 in all
		status, _, _ := e.Do("POST", "/owner/v1/claims/look", held(people.NewCode()), nil)
		require.Equal(t, 404, status)
	}
	status, _, _ = e.Do("POST", "/owner/v1/claims/look", held(code), nil)
	require.Equal(t, 503, status)
}

func TestSomebodyNewSignsUpWhileClaiming(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "", "care"))
	code := codeOf(e, "WC-1")
	ask := owners.ClaimByMail{HeldCode: held(code), Email: "Eva@Example.org", Locale: "sv", TimeZone: "Europe/Stockholm"}
	status, raw, _ := e.Do("POST", "/owner/v1/claims/link", ask, nil)
	require.Equal(t, 202, status, "%s", raw)
	_, err := e.DB.Fleet().OwnerByEmail(t.Context(), "eva@example.org")
	require.Error(t, err, "an address that nobody has proved is no account")
	secret := secretTo(e, "eva@example.org")
	require.True(t, strings.HasPrefix(secret, "fek_"), secret)
	out, eva := byLink[owners.ClaimedHere](e, 200, "/owner/v1/claims/confirm", wire.OneTime{Token: secret})
	require.Equal(t, "claimed", out.Claimed.State)
	me := call[wire.Me](eva, 200, "GET", "/owner/v1/me", nil)
	require.Equal(t, "sv", me.Locale)
	require.Len(t, me.Units, 1)
	require.Equal(t, people.Owner, me.Units[0].Role)
	for _, p := range call[wire.MyUnit](eva, 200, "GET", "/owner/v1/units/WC-1", nil).Purposes {
		require.Equal(t, p.Basis == "necessary", p.Given, "%s: off until she switches it on", p.Name)
	}
	status, _, _ = e.Do("POST", "/owner/v1/claims/confirm", wire.OneTime{Token: secret}, nil)
	require.Equal(t, 403, status, "a link works once")
}

func TestOwnerAndDriver(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "ada@example.org", "care"), apitest.UnitFile("WC-2", "B1", "zoe@example.org"))
		ada, zoe := signedIn(e, "ada@example.org"), signedIn(e, "zoe@example.org")
		const unit = "/owner/v1/units/WC-1"
		invite := owners.NewInvitation{Kind: people.ToDrive, Email: "ben@example.org"}
		call[any](zoe, 404, "POST", unit+"/invitations", invite)
		call[owners.MyInvitation](ada, 201, "POST", unit+"/invitations", invite)
		old := secretTo(e, "ben@example.org")
		call[owners.MyInvitation](ada, 201, "POST", unit+"/invitations", invite) // again: the first is void
		secret := secretTo(e, "ben@example.org")
		require.NotEqual(t, old, secret)
		status, _, _ := e.Do("POST", "/owner/v1/invitations/answer", owners.AnswerByLink{Token: old, Accept: true}, nil)
		require.Equal(t, 409, status)
		got, ben := byLink[owners.Answered](e, 200, "/owner/v1/invitations/answer", owners.AnswerByLink{Token: secret, Accept: true, Locale: "fr"})
		require.Equal(t, owners.Answered{State: people.Accepted, Kind: people.ToDrive, UnitID: "WC-1", Email: "ben@example.org"}, got)

		seen := call[wire.MyUnit](ben, 200, "GET", unit, nil)
		require.Equal(t, people.Driver, seen.Role)
		require.False(t, seen.MayUpdate)
		for _, no := range []struct {
			method, path string
			body         any
		}{
			{"PUT", unit + "/consents/care", wire.ConsentChoice{Given: false}},
			{"POST", unit + "/invitations", owners.NewInvitation{Kind: people.ToDrive, Email: "x@example.org"}},
			{"POST", unit + "/invitations", owners.NewInvitation{Kind: people.ToOwn, Email: "x@example.org"}},
			{"POST", unit + "/code", struct{}{}},
			{"POST", unit + "/farewell", struct{}{}},
		} {
			status, raw := ben.do(no.method, no.path, no.body)
			require.Equal(t, 403, status, "%s %s: %s", no.method, no.path, raw)
		}
		all := call[owners.OnUnit](ada, 200, "GET", unit+"/people", nil)
		require.Len(t, all.Drivers, 1)
		id := all.Drivers[0].ID
		require.Equal(t, "ben@example.org", all.Drivers[0].Email)
		his := call[owners.OnUnit](ben, 200, "GET", unit+"/people", nil)
		require.Empty(t, his.Owner.Email, "a driver is not told the owner's address")
		require.Empty(t, his.Invitations)

		call[any](ben, 403, "PATCH", unit+"/drivers/"+id, map[string]bool{"mayUpdate": true})
		call[any](ada, 204, "PATCH", unit+"/drivers/"+id, map[string]bool{"mayUpdate": true})
		require.True(t, call[wire.MyUnit](ben, 200, "GET", unit, nil).MayUpdate)
		call[any](zoe, 404, "DELETE", unit+"/drivers/"+id, nil)
		call[any](ben, 204, "DELETE", unit+"/drivers/"+id, nil) // he leaves
		call[any](ben, 404, "GET", unit, nil)
		require.Empty(t, call[wire.Me](ben, 200, "GET", "/owner/v1/me", nil).Units)
	})
}

// Whatever was before the change of owner is not the next one's.
func TestHandingOver(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "ada@example.org", "care"), apitest.UnitFile("WC-2", "B1", "ada@example.org"))
		ada := signedIn(e, "ada@example.org")
		const unit = "/owner/v1/units/WC-1"
		call[consent.Choice](ada, 200, "PUT", unit+"/consents/care", wire.ConsentChoice{Given: true})
		call[owners.MyInvitation](ada, 201, "POST", unit+"/invitations", owners.NewInvitation{Kind: people.ToDrive, Email: "ben@example.org"})
		_, ben := byLink[owners.Answered](e, 200, "/owner/v1/invitations/answer", owners.AnswerByLink{Token: secretTo(e, "ben@example.org"), Accept: true})
		e.Clock.Advance(time.Hour)

		made := call[people.IssuedCode](ada, 201, "POST", unit+"/code", struct{}{})
		call[owners.MyInvitation](ada, 201, "POST", unit+"/invitations", owners.NewInvitation{Kind: people.ToOwn, Email: "cem@example.org"})
		_, cem := byLink[owners.Answered](e, 200, "/owner/v1/invitations/answer", owners.AnswerByLink{Token: secretTo(e, "cem@example.org"), Accept: true})
		handed := e.Clock.Now()

		call[any](ada, 404, "GET", unit, nil)
		call[any](ben, 404, "GET", unit, nil)
		seen := call[wire.MyUnit](cem, 200, "GET", unit, nil)
		require.Equal(t, handed.UTC(), seen.OwnedSince.UTC())
		for _, p := range seen.Purposes {
			require.Equal(t, p.Basis == "necessary", p.Given, p.Name)
			require.Zero(t, p.ChosenAt, "%s: what another chose is not told", p.Name)
		}
		require.Empty(t, call[owners.OnUnit](cem, 200, "GET", unit+"/people", nil).Drivers)
		status, raw := ben.do("POST", "/owner/v1/claims", held(made.Code))
		require.Equal(t, 409, status, "her code is void with her ownership: %s", raw)
		periods := call[wire.List[people.Period]](ada, 200, "GET", "/owner/v1/periods", nil).Items
		require.Len(t, periods, 2, "what she had, and what she has")
		require.Equal(t, handed.UTC(), periods[0].To.UTC())
		require.Contains(t, string(mustJSON(t, apitest.Call[wire.List[people.Period]](e, 200, "GET", "/v1/units/WC-1/owners", nil))), periods[0].OwnerID)

		// A code for handing over takes the unit at once, and works once.
		made = call[people.IssuedCode](cem, 201, "POST", unit+"/code", struct{}{})
		require.False(t, call[people.Looked](ada, 200, "POST", "/owner/v1/claims/look", held(made.Code)).Owned)
		require.Equal(t, "claimed", call[people.Claimed](ada, 201, "POST", "/owner/v1/claims", held(made.Code)).State)
		call[any](cem, 404, "GET", unit, nil)
		call[any](cem, 409, "POST", "/owner/v1/claims", held(made.Code))

		// Farewell, and whoever has it then claims it by its printed code.
		printed := codeOf(e, "WC-1")
		call[any](ada, 204, "POST", unit+"/farewell", struct{}{})
		call[any](ada, 404, "GET", unit, nil)
		e.Clock.Advance(time.Hour)
		require.Equal(t, "claimed", call[people.Claimed](cem, 201, "POST", "/owner/v1/claims", held(printed)).State)
		require.Equal(t, e.Clock.Now().UTC(), call[wire.MyUnit](cem, 200, "GET", unit, nil).OwnedSince.UTC())

		// An operator's change of owner is one like any other.
		e.Clock.Advance(time.Hour)
		e.Apply(apitest.UnitFile("WC-1", "B1", "dan@example.org"))
		call[any](cem, 404, "GET", unit, nil)
		dan := signedIn(e, "dan@example.org")
		require.Equal(t, e.Clock.Now().UTC(), call[wire.MyUnit](dan, 200, "GET", unit, nil).OwnedSince.UTC())
	})
}

func TestAnOwnersAccount(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "ada@example.org"), apitest.UnitFile("WC-2", "B1", "bob@example.org"))
	ada := signedIn(e, "ada@example.org")
	got := call[owners.MyAccount](ada, 200, "PATCH", "/owner/v1/account", map[string]string{"name": "Ada L.", "timeZone": "Europe/Oslo"})
	require.Equal(t, owners.MyAccount{Email: "ada@example.org", Name: "Ada L.", Locale: "de", TimeZone: "Europe/Oslo"}, got)
	call[any](ada, 422, "PATCH", "/owner/v1/account", map[string]string{"timeZone": "Mars/Olympus"})

	call[any](ada, 202, "POST", "/owner/v1/account/email", map[string]string{"email": "lovelace@example.org"})
	require.Equal(t, "ada@example.org", call[owners.MyAccount](ada, 200, "GET", "/owner/v1/account", nil).Email, "until it is confirmed")
	require.NoError(t, e.Deps.Access.RequestLink(t.Context(), "owner", "ada@example.org", "127.0.0.1"))
	old := e.Link("ada@example.org")
	confirm := wire.OneTime{Token: secretTo(e, "lovelace@example.org")}
	status, raw, _ := e.Do("POST", "/owner/v1/account/email/confirm", confirm, nil)
	require.Equal(t, 200, status, "%s", raw)
	require.Equal(t, "lovelace@example.org", call[owners.MyAccount](ada, 200, "GET", "/owner/v1/account", nil).Email)
	status, _, _ = e.Do("POST", "/owner/v1/sign-in", wire.OneTime{Token: old}, nil)
	require.Equal(t, 403, status, "a link that lies in the old mailbox is void")
	call[any](ada, 202, "POST", "/owner/v1/account/email", map[string]string{"email": "bob@example.org"})
	status, _, _ = e.Do("POST", "/owner/v1/account/email/confirm", wire.OneTime{Token: secretTo(e, "bob@example.org")}, nil)
	require.Equal(t, 409, status)

	other := signedIn(e, "lovelace@example.org")
	list := call[wire.List[owners.MySession]](ada, 200, "GET", "/owner/v1/sessions", nil).Items
	require.Len(t, list, 2)
	bob := signedIn(e, "bob@example.org")
	call[any](bob, 404, "DELETE", "/owner/v1/sessions/"+list[0].ID, nil)
	call[any](ada, 204, "DELETE", "/owner/v1/sessions", nil)
	call[any](other, 401, "GET", "/owner/v1/me", nil)
	call[any](ada, 200, "GET", "/owner/v1/me", nil)
}

func TestAppsOfOwners(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "ada@example.org"), apitest.UnitFile("WC-2", "B1", "ada@example.org"), apitest.UnitFile("WC-3", "B1", "bob@example.org"))
	ada := signedIn(e, "ada@example.org")
	call[any](ada, 422, "POST", "/owner/v1/apps", owners.NewApp{Name: "x", Scope: people.ScopeRead, Units: []string{"WC-3"}})
	read := call[owners.IssuedApp](ada, 201, "POST", "/owner/v1/apps", owners.NewApp{Name: "widget", Scope: people.ScopeRead, Units: []string{"WC-1"}})
	act := call[owners.IssuedApp](ada, 201, "POST", "/owner/v1/apps", owners.NewApp{Name: "app", Scope: people.ScopeAct})
	require.True(t, strings.HasPrefix(act.Secret, "feo_"))
	as := func(secret, method, path string, body any) int {
		status, _, _ := e.Do(method, path, body, apitest.Bearer(secret))
		return status
	}
	care := wire.ConsentChoice{Given: true}
	for _, c := range []struct {
		name, secret, method, path string
		body                       any
		want                       int
	}{
		{"reads its unit", read.Secret, "GET", "/owner/v1/units/WC-1", nil, 200},
		{"not another of hers", read.Secret, "GET", "/owner/v1/units/WC-2", nil, 403},
		{"not a stranger's", act.Secret, "GET", "/owner/v1/units/WC-3", nil, 404},
		{"does not act", read.Secret, "PUT", "/owner/v1/units/WC-1/consents/care", care, 403},
		{"acts", act.Secret, "PUT", "/owner/v1/units/WC-2/consents/care", care, 200},
		{"not what is of all units", read.Secret, "GET", "/owner/v1/preferences", nil, 403},
		{"not the account", act.Secret, "GET", "/owner/v1/account", nil, 403},
		{"not passkeys", act.Secret, "GET", "/owner/v1/passkeys", nil, 403},
		{"not people", act.Secret, "POST", "/owner/v1/units/WC-1/farewell", struct{}{}, 403},
		{"no other tokens", act.Secret, "POST", "/owner/v1/apps", owners.NewApp{Name: "y", Scope: people.ScopeAct}, 403},
		{"nothing of operators", act.Secret, "GET", "/v1/units", nil, 401},
	} {
		require.Equal(t, c.want, as(c.secret, c.method, c.path, c.body), c.name)
	}
	status, raw, _ := e.Do("GET", "/owner/v1/me", nil, apitest.Bearer(read.Secret))
	require.Equal(t, 200, status)
	require.Contains(t, string(raw), "WC-1")
	require.NotContains(t, string(raw), "WC-2")
	list := call[wire.List[people.Token]](ada, 200, "GET", "/owner/v1/apps", nil).Items
	require.Len(t, list, 2)
	require.NotZero(t, list[0].UsedAt)
	call[any](ada, 204, "DELETE", "/owner/v1/apps/"+act.ID, nil)
	require.Equal(t, 401, as(act.Secret, "GET", "/owner/v1/me", nil))
}
