package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
)

func keep(_ *testing.T, e *apitest.Env) []condition.Finding { return e.Keep() }

func TestUnitPages(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Hot()
		keep(t, e)
		u := apitest.Call[wire.UnitDetail](e, 200, "GET", "/v1/units/WC-1", nil)
		require.Equal(t, condition.Failed, u.Condition)
		require.NotEmpty(t, u.ConditionWhy)
		require.Len(t, u.Open, 1)
		require.Equal(t, "ada@example.org", u.Owner.Email)
		require.Equal(t, "none", u.Credential)
		require.Equal(t, apitest.Start.Add(10*time.Hour-time.Minute), u.LastContact)
		require.Equal(t, []wire.PermittedPurpose{
			{Name: "care", Title: "Care", Basis: fleet.BasisConsent, Permitted: true},
			{Name: "operation", Title: "Operation", Basis: fleet.BasisNecessary, Permitted: true},
		}, u.Permitted)

		require.Len(t, apitest.Call[wire.Page[wire.Unit]](e, 200, "GET", "/v1/units?condition=failed", nil).Items, 2)
		first := apitest.Call[wire.Page[wire.Unit]](e, 200, "GET", "/v1/units?limit=3", nil)
		require.Len(t, first.Items, 3)
		rest := apitest.Call[wire.Page[wire.Unit]](e, 200, "GET", "/v1/units?limit=3&after="+first.Next, nil)
		require.Len(t, rest.Items, 1)
		require.Empty(t, rest.Next)

		latest := apitest.Call[wire.List[wire.LatestValue]](e, 200, "GET", "/v1/units/WC-1/latest", nil)
		require.Len(t, latest.Items, 3)
		require.InDelta(t, 90, *latest.Items[1].Number, 0)
		for _, v := range apitest.Call[wire.List[wire.LatestValue]](e, 200, "GET", "/v1/units/WC-4/latest", nil).Items {
			require.True(t, v.Withheld)
			require.Nil(t, v.Number)
		}
		require.Equal(t, int64(2), apitest.Call[wire.Account](e, 200, "GET", "/v1/units/WC-4/accounting", nil).NotConsented)
		acc := apitest.Call[wire.Accounts](e, 200, "GET", "/v1/accounting?product=wall-charger&limit=2", nil)
		require.Equal(t, int64(3*600*2), acc.Total.Stored)
		require.Equal(t, acc.Total.Acknowledged, acc.Total.Stored+acc.Total.NotConsented)
		require.Len(t, acc.Items, 2)

		o := apitest.Call[wire.Overview](e, 200, "GET", "/v1/overview", nil)
		require.Equal(t, 4, o.Products[0].Units)
		require.Equal(t, 2, o.Products[0].Open["critical"])
		require.Equal(t, []wire.VersionCount{{Version: "", Units: 4}}, o.Products[0].Versions)
		for _, path := range []string{"", "/latest", "/accounting", "/series?signal=current&from=2014-03-01T12:00:00Z&to=2014-03-01T13:00:00Z"} {
			apitest.Call[struct{}](e, 404, "GET", "/v1/units/WC-0"+path, nil)
		}
	})
}

// The bands on a chart are those that the detector judged by, at the times at
// which they applied.
func TestSeriesHasTheBandsThatApplied(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", "", "care"), apitest.UnitFile("WC-2", "B1", ""))
		e.Store("WC-1", append(apitest.Hour(0, 1, 16, 60), append(apitest.Hour(1, 1, 6, 40), apitest.Hour(2, 1, 16, 60)...)...)...)
		at := func(h int) time.Time { return apitest.Start.Add(time.Duration(h) * time.Hour) }
		q := url.Values{"signal": {"plug_temperature"}, "from": {at(0).Format(time.RFC3339)}, "to": {at(3).Format(time.RFC3339)}, "buckets": {"180"}}
		s := apitest.Call[wire.Series](e, 200, "GET", "/v1/units/WC-1/series?"+q.Encode(), nil)
		require.Len(t, s.Points, 180)
		require.Equal(t, "Cel", s.Unit)
		require.Len(t, s.Bands, 3)
		for i, b := range s.Bands {
			require.Equal(t, at(i), b.From)
			require.Equal(t, "plug", b.Tolerance)
		}
		require.Equal(t, at(1), s.Bands[0].To)
		require.InDelta(t, 70, *s.Bands[0].Max, 0)
		require.InDelta(t, 50, *s.Bands[1].Max, 0)

		withheld := apitest.Call[wire.Series](e, 200, "GET", "/v1/units/WC-2/series?"+q.Encode(), nil)
		require.True(t, withheld.Withheld)
		require.Empty(t, withheld.Points)
		require.Empty(t, withheld.Bands)
		q.Set("signal", "nothing")
		apitest.Call[struct{}](e, 422, "GET", "/v1/units/WC-1/series?"+q.Encode(), nil)
		q.Set("signal", "current")
		q.Set("to", at(-1).Format(time.RFC3339))
		apitest.Call[struct{}](e, 422, "GET", "/v1/units/WC-1/series?"+q.Encode(), nil)
	})
}

func TestFindingsAreWorkedOn(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Hot()
		id := keep(t, e)[0].ID
		path := "/v1/findings/" + id
		f := apitest.Call[wire.Finding](e, 200, "POST", path+"/ack", nil)
		require.Equal(t, "operator@localhost", f.AckBy)
		require.Empty(t, apitest.Call[wire.Finding](e, 200, "POST", path+"/unack", nil).AckBy)
		until := e.Clock.Now().Add(time.Hour)
		require.Equal(t, until, apitest.Call[wire.Finding](e, 200, "POST", path+"/shelve", map[string]any{"until": until}).ShelvedUntil)
		require.Len(t, apitest.Call[wire.Page[wire.Finding]](e, 200, "GET", "/v1/findings", nil).Items, 1)
		require.Len(t, apitest.Call[wire.Page[wire.Finding]](e, 200, "GET", "/v1/findings?shelved=true", nil).Items, 2)
		e.Clock.Advance(time.Hour)
		require.Zero(t, apitest.Call[wire.FindingDetail](e, 200, "GET", path, nil).ShelvedUntil, "its time is over")
		require.Len(t, apitest.Call[wire.Page[wire.Finding]](e, 200, "GET", "/v1/findings", nil).Items, 2)
		apitest.Call[struct{}](e, 422, "POST", path+"/shelve", map[string]any{"until": until})
		apitest.Call[wire.Finding](e, 200, "POST", path+"/shelve", map[string]any{})
		apitest.Call[wire.Finding](e, 200, "POST", path+"/assess", map[string]any{"assessment": "confirmed"})
		apitest.Call[struct{}](e, 422, "POST", path+"/assess", map[string]any{"assessment": "perhaps"})
		apitest.Call[condition.Comment](e, 201, "POST", path+"/comments", map[string]any{"text": "seen in May"})
		apitest.Call[struct{}](e, 422, "POST", path+"/comments", map[string]any{"text": ""})
		d := apitest.Call[wire.FindingDetail](e, 200, "GET", path, nil)
		require.Equal(t, condition.Confirmed, d.Assessment)
		require.Equal(t, "seen in May", d.Comments[0].Text)
		require.Len(t, d.Bands, 2)
		require.Equal(t, "plug", d.Rule.Tolerance)
		apitest.Call[struct{}](e, 404, "GET", "/v1/findings/none", nil)
	})
}

// From a finding to a campaign that an owner answers.
func TestFromFindingToOwner(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Hot()
		finding := keep(t, e)[0]
		sg := apitest.Call[cohort.Suggestion](e, 200, "GET", "/v1/findings/"+finding.ID+"/who-else", nil)
		def := sg.Definition
		def.Name = "hot-adapters"
		snap := apitest.Call[cohort.Snapshot](e, 201, "POST", "/v1/cohorts", map[string]any{"definition": def})
		require.Eventually(t, func() bool {
			snap = apitest.Call[cohort.Snapshot](e, 200, "GET", "/v1/cohorts/"+snap.ID, nil)
			return snap.State != "computing"
		}, time.Minute, 20*time.Millisecond)
		require.Equal(t, "ready", snap.State, snap.Error)
		require.Equal(t, []int{2, 1, 1}, []int{snap.In, snap.Out, snap.NotJudgeable})
		members := apitest.Call[wire.Page[wire.Member]](e, 200, "GET", "/v1/cohorts/"+snap.ID+"/members?list=not+judgeable", nil)
		require.Equal(t, "WC-4", members.Items[0].UnitID)
		require.NotEmpty(t, members.Items[0].Reason)

		status, raw, _ := e.Do("POST", "/v1/artifacts?filename=charger.swu", "the image", apitest.Bearer(e.Admin))
		require.Equal(t, 201, status, "%s", raw)
		var image wire.Artifact
		require.NoError(t, json.Unmarshal(raw, &image))
		require.Equal(t, int64(9), apitest.Call[wire.Artifact](e, 200, "GET", "/v1/artifacts/"+image.SHA256, nil).Size)
		for query, want := range map[string]int{"?filename=../x.swu": 422, "?filename=": 422, "": 422} {
			status, raw, header := e.Do("POST", "/v1/artifacts"+query, "x", apitest.Bearer(e.Admin))
			require.Equal(t, want, status, "%s", raw)
			require.Equal(t, "application/problem+json", header.Get("Content-Type"))
		}
		e.Apply(apitest.ReleaseFile(image.SHA256), apitest.CampaignFile)
		base := "/v1/campaigns/adapter-overheat"
		plan := apitest.Call[wire.DryRun](e, 200, "POST", base+"/dry-run", nil)
		var offered []wire.DryRunOffer
		var not []wire.DryRunRefusal
		for skip := range max(plan.OfferedCount, plan.NotCount) {
			page := apitest.Call[wire.DryRun](e, 200, "POST", fmt.Sprintf("%s/dry-run?limit=1&skip=%d", base, skip), nil)
			require.Equal(t, plan.NotByCode, page.NotByCode, "counts are of the whole")
			offered, not = append(offered, page.Offered...), append(not, page.Not...)
		}
		require.Equal(t, plan.Offered, offered, "pages make the whole")
		require.Equal(t, plan.Not, not)
		require.Equal(t, []int{2, 2}, []int{plan.OfferedCount, plan.NotCount})
		require.NotEmpty(t, plan.Not[0].Why)
		dryUnits(e, base, &plan)
		dryUnsigned(e, base, "wall-charger")
		require.Equal(t, "waiting", apitest.Call[wire.CampaignDetail](e, 200, "GET", base, nil).Waves[0].Gate)
		apitest.Call[struct{}](e, 409, "GET", base+"/report", nil)
		apitest.Call[struct{}](e, 409, "GET", base+"/report/units", nil)
		apitest.Call[struct{}](e, 404, "GET", "/v1/campaigns/nothing/dry-run/units", nil)
		apitest.Call[struct{}](e, 422, "GET", base+"/dry-run/units?format=xml", nil)
		apitest.Call[struct{}](e, 409, "POST", base+"/pause", nil)

		require.Equal(t, campaign.Running, apitest.Call[wire.Campaign](e, 200, "POST", base+"/start", nil).State)
		for range 5 {
			_, err := e.Deps.Campaigns.Pass(t.Context())
			require.NoError(t, err)
		}
		apitest.Call[struct{}](e, 409, "DELETE", "/v1/cohorts/"+snap.ID, nil)
		for _, used := range []string{"release/charger-2.0.0", "detector/plug-overheat", "campaign/adapter-overheat"} {
			apitest.Call[struct{}](e, 409, "DELETE", "/v1/declared/"+used, nil)
		}
		detail := apitest.Call[wire.CampaignDetail](e, 200, "GET", base, nil)
		require.Equal(t, 2, detail.Counts["offered"]+detail.Counts["planned"])
		require.Equal(t, "first", detail.Waves[0].Name)
		tasks := apitest.Call[wire.Page[wire.Task]](e, 200, "GET", base+"/tasks?state=offered", nil)
		require.Len(t, tasks.Items, 1)
		mine := tasks.Items[0]
		require.Equal(t, "first", mine.WaveName)
		emails := map[string]string{"WC-1": "ada@example.org", "WC-2": "bob@example.org"}
		email := emails[mine.UnitID]
		session := e.As(wire.OwnerCookie, e.OwnerSession(email))
		stranger := e.As(wire.OwnerCookie, e.OwnerSession("eve@example.org"))
		owner := func(want int, method, path string, body any, set func(*http.Request)) []byte {
			t.Helper()
			status, raw, _ := e.Do(method, path, body, set)
			require.Equal(t, want, status, "%s %s: %s", method, path, raw)
			return raw
		}
		var me wire.Me
		require.NoError(t, json.Unmarshal(owner(200, "GET", "/owner/v1/me", nil, session), &me))
		require.Len(t, me.Units, 1)
		require.Equal(t, 1, me.Units[0].Updates)
		var unit wire.MyUnit
		require.NoError(t, json.Unmarshal(owner(200, "GET", "/owner/v1/units/"+mine.UnitID, nil, session), &unit))
		require.Equal(t, condition.Failed, unit.Condition)
		require.Equal(t, "Plug too hot", unit.About)
		require.True(t, unit.Signals[0].Kept)
		require.Equal(t, []bool{true, true}, []bool{unit.Purposes[0].Given, unit.Purposes[1].Given})

		var page wire.Page[wire.MyUpdate]
		require.NoError(t, json.Unmarshal(owner(200, "GET", "/owner/v1/updates", nil, session), &page))
		update := page.Items[0]
		require.Equal(t, "Adapter wird heiss", update.Title)
		require.Equal(t, "The plug of your charger gets too hot.", update.Reason, "English where there is no German")
		require.Equal(t, "Weniger Strom bei warmem Stecker.", update.WhatChanges)
		require.Equal(t, int64(9), update.Size)
		require.Equal(t, 45, update.Minutes)
		require.Contains(t, update.Choices, campaign.Tonight)

		// Others neither see nor answer it, and cannot tell that it is there.
		for _, c := range []struct{ method, path, body string }{
			{"GET", "/owner/v1/units/" + mine.UnitID, ""},
			{"PUT", "/owner/v1/units/" + mine.UnitID + "/consents/care", `{"given":false}`},
			{"GET", "/owner/v1/updates/" + mine.ID, ""},
			{"POST", "/owner/v1/updates/" + mine.ID, `{"choice":"now"}`},
		} {
			var body any
			if c.body != "" {
				body = c.body
			}
			owner(404, c.method, c.path, body, stranger)
		}
		require.NotContains(t, string(owner(200, "GET", "/owner/v1/updates", nil, stranger)), mine.ID)

		owner(422, "POST", "/owner/v1/updates/"+mine.ID, `{"choice":"maybe"}`, session)
		owner(422, "POST", "/owner/v1/updates/"+mine.ID, fmt.Sprintf(`{"choice":"at","at":%q}`, apitest.Start.Format(time.RFC3339)), session)
		owner(409, "PUT", "/owner/v1/units/"+mine.UnitID+"/consents/operation", `{"given":false}`, session)
		owner(404, "PUT", "/owner/v1/units/"+mine.UnitID+"/consents/marketing", `{"given":true}`, session)
		var receipt consent.Choice
		require.NoError(t, json.Unmarshal(owner(200, "PUT", "/owner/v1/units/"+mine.UnitID+"/consents/care", `{"given":false}`, session), &receipt))
		require.NotEmpty(t, receipt.ID)
		require.Equal(t, unit.Notice, receipt.Notice, "the receipt names the text that was shown")

		require.NoError(t, json.Unmarshal(owner(200, "POST", "/owner/v1/updates/"+mine.ID, `{"choice":"tonight"}`, session), &update))
		require.Equal(t, campaign.Scheduled, update.State)
		require.False(t, update.At.IsZero())
		require.NoError(t, json.Unmarshal(owner(200, "POST", "/owner/v1/updates/"+mine.ID, `{"choice":"now"}`, session), &update))
		require.Equal(t, campaign.Accepted, update.State)

		report := apitest.Call[wire.Report](e, 200, "GET", base+"/report", nil)
		reportUnits(e, base, &report)
		require.Equal(t, 2, report.Involved)
		require.Len(t, report.ByWave, 2)
		require.Equal(t, campaign.Paused, apitest.Call[wire.Campaign](e, 200, "POST", base+"/pause", wire.Why{Why: "smoke"}).State)
		require.Contains(t, apitest.Call[wire.CampaignDetail](e, 200, "GET", base, nil).Why, "smoke")
		require.Equal(t, campaign.Running, apitest.Call[wire.Campaign](e, 200, "POST", base+"/resume", nil).State)
		require.Equal(t, campaign.Canceled, apitest.Call[wire.Campaign](e, 200, "POST", base+"/cancel", nil).State)
	})
}

func TestProvisioningAndClaims(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		e.Apply(apitest.Product, apitest.UnitFile("WC-1", "B1", ""), apitest.UnitFile("WC-2", "B1", ""))
		tokens := apitest.Call[wire.List[wire.UnitToken]](e, 200, "POST", "/v1/unit-tokens", map[string]any{"units": []string{"WC-1", "WC-2"}})
		require.Len(t, tokens.Items, 2)
		apitest.Call[struct{}](e, 422, "POST", "/v1/unit-tokens", map[string]any{"units": []string{"WC-1", "WC-0"}})
		require.Equal(t, fleet.UnitRevoked, apitest.Call[wire.Unit](e, 200, "POST", "/v1/units/WC-1/revoke", nil).State)
		apitest.Call[struct{}](e, 409, "POST", "/v1/units/WC-1/token", nil)
		require.Equal(t, fleet.UnitActive, apitest.Call[wire.Unit](e, 200, "POST", "/v1/units/WC-1/restore", nil).State)
		require.Contains(t, e.Hooks, "state WC-1")

		claim := apitest.Call[wire.ClaimTokenIssued](e, 201, "POST", "/v1/products/wall-charger/claim-token", nil)
		require.Equal(t, 1000, claim.MaxUses)
		apitest.Call[struct{}](e, 404, "POST", "/v1/products/toaster/claim-token", nil)
		for _, serial := range []string{"7001", "7002"} {
			_, err := e.Deps.Provisioning.Enroll(t.Context(), fleet.EnrolRequest{ClaimToken: claim.Token, Serial: serial, Token: fleet.NewSecret(fleet.UnitTokenPrefix), RemoteAddress: "192.0.2.7"})
			require.NoError(t, err)
		}
		list := apitest.Call[wire.Page[fleet.Claim]](e, 200, "GET", "/v1/claims?state=pending", nil)
		require.Len(t, list.Items, 2)
		require.Equal(t, "192.0.2.7", list.Items[0].RemoteAddress)
		require.NotEmpty(t, list.Items[0].KeyFingerprint)
		require.Equal(t, fleet.ClaimApproved, apitest.Call[fleet.Claim](e, 200, "POST", "/v1/claims/"+list.Items[0].ID+"/approve", nil).State)
		apitest.Call[struct{}](e, 409, "POST", "/v1/claims/"+list.Items[0].ID+"/approve", nil)
		require.Equal(t, "unknown", apitest.Call[fleet.Claim](e, 200, "POST", "/v1/claims/"+list.Items[1].ID+"/reject", wire.Why{Why: "unknown"}).Why)
		require.Len(t, apitest.Call[wire.Page[fleet.ClaimToken]](e, 200, "GET", "/v1/products/wall-charger/claim-tokens", nil).Items, 1)
		apitest.Call[struct{}](e, 204, "DELETE", "/v1/claim-tokens/"+claim.ID, nil)
	})
}

func TestNotifyRoutes(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()

		put := func(want int, r wire.NewRoute) {
			apitest.Call[notify.Route](e, want, "PUT", "/v1/notify/routes/engineers", r)
		}
		put(200, wire.NewRoute{Severity: condition.Major, Channel: notify.Mail, To: "team@example.org"})
		put(422, wire.NewRoute{Channel: notify.Mail, To: "team"})
		put(422, wire.NewRoute{Channel: notify.Webhook, To: "ftp://example.org"})
		put(422, wire.NewRoute{Channel: "pigeon", To: "x"})
		put(422, wire.NewRoute{Channel: notify.Mail, To: "team@example.org", Product: "toaster"})
		list := apitest.Call[wire.Page[notify.Route]](e, 200, "GET", "/v1/notify/routes", nil)
		require.Equal(t, []notify.Route{{Name: "engineers", Severity: "major", Channel: notify.Mail, To: "team@example.org"}}, list.Items)
		apitest.Call[struct{}](e, 204, "DELETE", "/v1/notify/routes/engineers", nil)
		apitest.Call[struct{}](e, 404, "DELETE", "/v1/notify/routes/engineers", nil)
	})
}

// What nobody classified is logged, and told without its words.
func TestInternalErrorsKeepTheirWords(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	require.NoError(t, e.DB.Close())
	status, raw, _ := e.Do("GET", "/v1/units", nil, apitest.Bearer(e.Admin))
	require.Equal(t, 500, status)
	require.NotContains(t, strings.ToLower(string(raw)), "sql")
	require.Contains(t, e.Log.String(), "authenticate")
}
