package data_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/data"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

// as is an operator with a session.
func as(t *testing.T, e *apitest.Env, o access.Operator) func(*http.Request) {
	t.Helper()
	made, _, err := e.Deps.Access.Invite(t.Context(), o)
	require.NoError(t, err)
	_, secret, err := e.Deps.Access.Open(t.Context(), access.PartyOperator, made.ID, access.ByPasskey, access.Caller{})
	require.NoError(t, err)
	return e.As(wire.OperatorCookie, secret)
}

func ask[T any](e *apitest.Env, who func(*http.Request), want int, method, path string, body any) (out T) {
	e.T.Helper()
	status, raw, _ := e.Do(method, path, body, who)
	require.Equal(e.T, want, status, "%s %s: %s", method, path, raw)
	require.NoError(e.T, json.Unmarshal(raw, &out), "%s", raw)
	return out
}

// draft is a notice as the console makes it from what owners read now.
func draft(v *data.NoticeVersion, version string) data.NoticeDraft {
	w := &v.Words
	d := data.NoticeDraft{
		After: v.Version, Title: w.Title, Description: w.Description,
		Notice: fleet.Notice{
			Version: version, Controller: fleet.Controller{Name: "Nordlys", Contact: "privacy@nordlys.example"},
			Texts: map[string]fleet.NoticeWords{"en": {Title: "Your data", Text: "What we collect."}, "de": {Title: "Ihre Daten", Text: "Was wir erheben."}},
		},
	}
	for _, q := range w.Purposes {
		d.Purposes = append(d.Purposes, data.PurposeDraft{
			Name: q.Name, Title: q.Title, Description: q.Description,
			Texts: map[string]fleet.PurposeWords{"de": {Title: q.Title + " (de)", Description: "Auf Deutsch."}},
		})
	}
	for _, g := range w.Signals {
		d.Signals = append(d.Signals, data.SignalDraft{Name: g.Name, Title: g.Title, Description: g.Description})
	}
	return d
}

// A privacy officer, who declares nothing else, publishes a notice: first dry.
func TestNoticeIsPublished(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Apply(apitest.Product)
		for i := range 12 {
			e.Apply(apitest.UnitFile(fmt.Sprintf("WC-%d", i), "B1", fmt.Sprintf("o%d@example.org", i), "care"))
		}
		officer := as(t, e, access.Operator{Email: "prv@example.org", Role: access.PrivacyOfficer})
		const notices = "/v1/products/wall-charger/notices"
		first := ask[wire.List[wire.PublishedNotice]](e, officer, 200, "GET", notices, nil).Items
		require.Len(t, first, 1)
		was := ask[data.NoticeVersion](e, officer, 200, "GET", notices+"/"+first[0].Version, nil)
		require.True(t, was.Current)
		require.Empty(t, was.Before)

		d := draft(&was, "2014-01")
		d.Notice.Widens, d.DryRun = []string{"care"}, true
		dry := ask[data.NoticePublished](e, officer, 200, "POST", notices, d)
		require.Contains(t, dry.Diff, "Ihre Daten")
		ten := 10
		require.Equal(t, []data.Widening{{Purpose: "care", Title: "Care", Anew: true, Items: []string{}, Units: &ten}}, dry.Widens)
		require.Len(t, ask[wire.List[wire.PublishedNotice]](e, officer, 200, "GET", notices, nil).Items, 1, "a dry run publishes nothing")

		// Mistakes are told where the draft has them.
		bad := draft(&was, "2014 01")
		bad.Purposes[1].Texts = nil
		problem := ask[struct {
			Errors []struct{ Location, Message string }
		}](e, officer, 422, "POST", notices, bad)
		var where []string
		for _, p := range problem.Errors {
			where = append(where, p.Location)
		}
		require.Equal(t, []string{"body.notice.version", "body.purposes[1].texts.de"}, where)
		other := draft(&was, "2014-01")
		other.Signals = other.Signals[1:]
		ask[any](e, officer, 422, "POST", notices, other)

		d.DryRun = false
		done := ask[data.NoticePublished](e, officer, 200, "POST", notices, d)
		require.Equal(t, "2014-01", done.Version)
		now := ask[data.NoticeVersion](e, officer, 200, "GET", notices+"/2014-01", nil)
		require.True(t, now.Current)
		require.Equal(t, was.Version, now.Before)
		require.Equal(t, []string{"en", "de"}, now.Languages)
		require.Equal(t, "Ihre Daten", now.Words.Notice.Texts["de"].Title)
		require.Len(t, now.Widens, 1)
		require.False(t, ask[data.NoticeVersion](e, officer, 200, "GET", notices+"/"+was.Version, nil).Current)
		p, err := e.Deps.Fleet.Product(t.Context(), "wall-charger")
		require.NoError(t, err)
		require.Len(t, p.Tolerances, 1, "nothing else of the product changes")

		// Who began from the version before hears so, and loses nothing of theirs.
		ask[any](e, officer, 409, "POST", notices, d)
		ask[any](e, officer, 404, "GET", notices+"/never", nil)
		viewer := as(t, e, access.Operator{Email: "vie@example.org", Role: access.Viewer})
		ask[any](e, viewer, 403, "POST", notices, d)
		ask[data.NoticeVersion](e, viewer, 200, "GET", notices+"/2014-01", nil)
	})
}

func TestUnitsConsents(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "ada@example.org", "care"), apitest.UnitFile("WC-2", "B1", ""))
		ada := e.As(wire.OwnerCookie, e.OwnerSession("ada@example.org"))
		for _, given := range []bool{false, true} {
			status, raw, _ := e.Do("PUT", "/owner/v1/units/WC-1/consents/care", map[string]bool{"given": given}, ada)
			require.Equal(t, 200, status, "%s", raw)
		}
		officer := as(t, e, access.Operator{Email: "prv@example.org", Role: access.PrivacyOfficer})
		got := ask[data.UnitConsents](e, officer, 200, "GET", "/v1/units/WC-1/consents", nil)
		require.True(t, got.Owned)
		require.Len(t, got.Choices, 3)
		require.Equal(t, []string{"owner", "owner", "import"}, []string{got.Choices[0].By, got.Choices[1].By, got.Choices[2].By})
		require.True(t, got.Choices[0].Given)
		require.False(t, got.Choices[1].Given)
		require.Equal(t, got.Notice, got.Choices[0].Notice)
		require.True(t, got.Purposes[0].Permitted)
		require.Equal(t, fleet.BasisNecessary, got.Purposes[1].Basis)

		// What the owner sees of it: that somebody looked at their consents.
		looks := ask[wire.Page[map[string]any]](e, ada, 200, "GET", "/owner/v1/looks", nil).Items
		require.Equal(t, "consents", looks[0]["data"])
		require.Equal(t, "privacy officer", looks[0]["role"])

		doc := ask[map[string]any](e, officer, 200, "GET", "/v1/units/WC-1/receipts", nil)
		raw, err := json.Marshal(doc)
		require.NoError(t, err)
		require.Equal(t, 3, strings.Count(string(raw), "dpv-27560#receipt"))
		require.False(t, ask[data.UnitConsents](e, officer, 200, "GET", "/v1/units/WC-2/consents", nil).Owned)
		ask[any](e, officer, 404, "GET", "/v1/units/WC-2/receipts", nil)
		ask[any](e, as(t, e, access.Operator{Email: "vie@example.org", Role: access.Viewer}), 403, "GET", "/v1/units/WC-1/consents", nil)
	})
}

// Whom regions bound gets the rates of their regions, not those of all, and
// nothing of what is counted over all.
func TestConsentRatesInSight(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Apply(apitest.Product)
		for i := range 30 {
			region, choice := "north", ", consents: [care]"
			if i >= 20 {
				region, choice = "south", ""
			}
			e.Apply(fmt.Sprintf("apiVersion: fettle.dev/v1\nkind: Unit\nmetadata: {name: WC-%d}\nspec: {product: wall-charger, serial: s%d, region: %s, owner: {email: o%d@example.org}%s}\n", i, i, region, i, choice))
		}
		const rates = "/v1/products/wall-charger/consents"
		all := apitest.Call[wire.List[wire.ConsentRate]](e, 200, "GET", rates, nil).Items[0]
		require.Equal(t, 30, *all.Units)
		require.InDelta(t, 0.67, *all.Share, 0.001)
		south := as(t, e, access.Operator{Email: "s@example.org", Role: access.Viewer, Regions: []string{"south"}})
		own := ask[wire.List[wire.ConsentRate]](e, south, 200, "GET", rates, nil).Items[0]
		require.Equal(t, 10, *own.Units)
		require.Nil(t, own.Given)
		require.Nil(t, own.Share)
		ask[any](e, south, 200, "GET", "/v1/products/wall-charger/datasheet", nil)
		for _, n := range ask[wire.List[wire.PublishedNotice]](e, south, 200, "GET", "/v1/products/wall-charger/notices", nil).Items {
			require.Nil(t, n.Saw)
		}
	})
}
