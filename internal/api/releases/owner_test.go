package releases_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/releases"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/update"
)

// What an owner sees of an update that waits for a precondition, and what the
// way back from its release looks like.
func TestAnOwnerSeesWhatTheUpdateWaitsFor(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	ctx := t.Context()
	e.Apply(apitest.Product, apitest.Detector, apitest.UnitFile("WC-1", "b", "ada@example.org", "care"))
	require.NoError(t, e.DB.Fleet().SetVersions(ctx, "WC-1", map[string]string{"software": "1"}, e.Clock.Now()))
	a, err := e.Deps.Updates.PutArtifact(ctx, strings.NewReader("image"), "image.swu")
	require.NoError(t, err)
	e.Apply(file("good", `"1"`, a.SHA256, ""), file("charger-2.0.0", `"2"`, a.SHA256, `  supportEnd: 2031-12-31
  preconditions:
    - {name: idle, when: current < 6, age: 1h, words: {en: Unplug the car., de: Stecken Sie das Auto ab.}}
`))
	snap := apitest.Call[cohort.Snapshot](e, 201, "POST", "/v1/cohorts", map[string]any{"definition": cohort.Definition{
		Name: "hot-adapters", Product: "wall-charger", Attributes: &cohort.Attributes{Batch: []string{"b"}},
	}})
	require.Eventually(t, func() bool {
		return apitest.Call[cohort.Snapshot](e, 200, "GET", "/v1/cohorts/"+snap.ID, nil).State == cohort.Ready
	}, time.Minute, 20*time.Millisecond)
	e.Apply(apitest.CampaignFile)
	apitest.Call[wire.Campaign](e, 200, "POST", "/v1/campaigns/adapter-overheat/start", nil)
	pass := func() {
		t.Helper()
		for range 5 {
			_, err := e.Deps.Campaigns.Pass(ctx)
			require.NoError(t, err)
		}
	}
	pass()
	session := e.As(wire.OwnerCookie, e.OwnerSession("ada@example.org"))
	mine := func(method, path string, body any) (u wire.MyUpdate) {
		t.Helper()
		status, raw, _ := e.Do(method, path, body, session)
		require.Equal(t, 200, status, string(raw))
		require.NotContains(t, string(raw), "4711", "notes for engineers are not for owners")
		require.NoError(t, json.Unmarshal(raw, &u))
		return u
	}
	status, raw, _ := e.Do("GET", "/owner/v1/updates", nil, session)
	require.Equal(t, 200, status)
	require.NotContains(t, string(raw), "4711")
	var page wire.Page[wire.MyUpdate]
	require.NoError(t, json.Unmarshal(raw, &page))
	path := "/owner/v1/updates/" + page.Items[0].ID
	u := mine("GET", path, nil)
	require.Equal(t, []any{30, "declared", 0, "2031-12-31"}, []any{u.Minutes, u.Measured, u.MeasuredOf, u.SupportEnd})

	minute := func() int64 { return e.Clock.Now().UnixMilli() }
	e.Store("WC-1", telemetry.Row{Event: minute(), Values: []telemetry.Value{{Signal: "current", Number: 16}}})
	u = mine("POST", path, `{"choice":"now"}`)
	require.Equal(t, &wire.Waiting{
		Code: update.CodePrecondition, Why: "current at 16 A, needs less than 6 A", Words: "Stecken Sie das Auto ab.",
		Signal: "current", Title: "current", Have: "16", Op: "<", Need: "6", Unit: "A", At: e.Clock.Now(),
	}, u.Waiting)
	pass()
	tasks := apitest.Call[wire.Page[wire.Task]](e, 200, "GET", "/v1/campaigns/adapter-overheat/tasks", nil)
	require.Equal(t, "current at 16 A, needs less than 6 A", tasks.Items[0].Why)
	work, err := e.Deps.Updates.Work(ctx, "WC-1")
	require.NoError(t, err)
	require.Nil(t, work.Action)

	e.Clock.Advance(time.Minute)
	e.Store("WC-1", telemetry.Row{Event: minute(), Values: []telemetry.Value{{Signal: "current", Number: 0}}})
	require.Nil(t, mine("GET", path, nil).Waiting, "the newest values count")
	work, err = e.Deps.Updates.Work(ctx, "WC-1")
	require.NoError(t, err)
	require.NotNil(t, work.Action)
	pass()
	require.Empty(t, mine("GET", path, nil).Why)

	// The way back is a draft like the campaign that went wrong.
	require.NoError(t, e.Deps.Updates.Reported(ctx, "WC-1", map[string]string{"software": "2"}, e.Clock.Now()))
	back := apitest.Call[releases.Reverted](e, 200, "POST", "/v1/releases/charger-2.0.0/revert", map[string]any{"why": "it stops", "name": "charger-1-b"})
	require.Equal(t, releases.Reverted{Release: "charger-1-b", Counter: 3, Notes: back.Notes, Campaign: "back-charger-1-b", Cohort: "on-charger-2.0.0"}, back)
	require.Contains(t, back.Notes, "The content of release good (counter 1) again")
	draft := apitest.Call[wire.CampaignDetail](e, 200, "GET", "/v1/campaigns/"+back.Campaign, nil)
	require.Equal(t, campaign.Draft, draft.State)
	require.Equal(t, []string{"charger-1-b", "on-charger-2.0.0", "plug-overheat"}, []string{draft.Spec.Release, draft.Spec.Cohort, draft.Spec.Detector})
	cohorts := apitest.Call[wire.Page[cohort.Snapshot]](e, 200, "GET", "/v1/cohorts?name=on-charger-2.0.0", nil)
	require.Equal(t, []string{"2"}, cohorts.Items[0].Definition.Attributes.Version)
}
