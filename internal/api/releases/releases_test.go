package releases_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/releases"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/register"
)

func file(name, version, sum, more string) string {
	return fmt.Sprintf(`apiVersion: fettle.dev/v1
kind: Release
metadata: {name: %s}
spec:
  product: wall-charger
  version: %s
  kind: safety
  minutes: 30
  notes: {en: Better.}
  engineerNotes: change 4711
  artifact: sha256:%s
%s`, name, version, sum, more)
}

// Releases of several components and of settings have a way back that is
// drafted as for those of one image: for the units that report all of it.
func TestTheWayBackIsDraftedForPartsAndSettings(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		ctx := t.Context()
		e.Apply(strings.Replace(apitest.Product, "spec:\n", "spec:\n  parameters: [{name: limit, type: number, unit: A, min: 6, max: 32, default: 32, description: Most current}]\n", 1))
		for i := range 3 {
			e.Apply(apitest.UnitFile(fmt.Sprintf("WC-%d", i), "b", "ada@example.org", "care"))
		}
		e.Apply(apitest.Detector)
		a, err := e.Deps.Updates.PutArtifact(ctx, strings.NewReader("image"), "image.swu")
		require.NoError(t, err)
		parts := func(name, version string) string {
			return fmt.Sprintf("apiVersion: fettle.dev/v1\nkind: Release\nmetadata: {name: %s}\nspec:\n  product: wall-charger\n  version: %q\n  kind: fix\n  minutes: 5\n  notes: {en: Better.}\n"+
				"  parts: [{component: meter, version: m%[2]s, artifact: sha256:%[3]s}, {component: software, version: s%[2]s, artifact: sha256:%[3]s, after: [meter]}]\n", name, version, a.SHA256)
		}
		settings := "apiVersion: fettle.dev/v1\nkind: Release\nmetadata: {name: gentle}\nspec:\n  product: wall-charger\n  version: gentle\n  kind: fix\n  minutes: 1\n  notes: {en: Gentler.}\n  settings: {parameters: {limit: 16}}\n"
		e.Apply(parts("two-1", "1"), parts("two-2", "2"), settings)
		all := map[string]string{"meter": "m2", "software": "s2", "parameter:limit": "16"}
		require.NoError(t, e.DB.Fleet().SetVersions(ctx, "WC-0", all, e.Clock.Now()))
		require.NoError(t, e.DB.Fleet().SetVersions(ctx, "WC-1", map[string]string{"meter": "m2", "software": "s1", "parameter:limit": "32"}, e.Clock.Now()))
		_, err = e.Deps.Cohorts.Create(ctx, cohort.Definition{Name: "hot-adapters", Product: "wall-charger", Attributes: &cohort.Attributes{Batch: []string{"b"}}}, "test")
		require.NoError(t, err)
		for _, bad := range []string{"two-2", "gentle"} {
			e.Apply(strings.NewReplacer("charger-2.0.0", bad, "name: adapter-overheat", "name: of-"+bad).Replace(apitest.CampaignFile))
			back := apitest.Call[releases.Reverted](e, 200, "POST", "/v1/releases/"+bad+"/revert", map[string]any{"why": "it burns", "name": bad + "-back"})
			require.Empty(t, back.Missing)
			require.Equal(t, releases.Reverted{Release: bad + "-back", Counter: back.Counter, Notes: back.Notes, Campaign: "back-" + bad + "-back", Cohort: "on-" + bad}, back)
			require.Contains(t, back.Notes, "again, to bring units back from release "+bad)
			require.Greater(t, back.Counter, apitest.Call[releases.Release](e, 200, "GET", "/v1/releases/"+bad, nil).Counter)
			draft := apitest.Call[wire.CampaignDetail](e, 200, "GET", "/v1/campaigns/"+back.Campaign, nil)
			require.Equal(t, campaign.Draft, draft.State)
			require.Equal(t, []string{back.Release, back.Cohort}, []string{draft.Spec.Release, draft.Spec.Cohort})
			require.Eventually(t, func() bool {
				snap, err := e.Deps.Cohorts.SnapshotByName(ctx, back.Cohort)
				return err == nil && snap.State == cohort.Ready
			}, time.Minute, 10*time.Millisecond)
			plan := apitest.Call[wire.DryRun](e, 200, "POST", "/v1/campaigns/"+back.Campaign+"/dry-run", nil)
			require.Equal(t, 1, plan.OfferedCount, "WC-0 alone has all of it: %v", plan.Not)
			require.Equal(t, "WC-0", plan.Offered[0].UnitID)
		}
	})
}

func TestReleases(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		ctx := t.Context()
		e.Apply(apitest.Product)
		for i := range 5 {
			e.Apply(apitest.UnitFile(fmt.Sprintf("WC-%d", i), "b", ""))
		}
		a, err := e.Deps.Updates.PutArtifact(ctx, strings.NewReader("image"), "image.swu")
		require.NoError(t, err)
		e.Apply(file("good", `"1"`, a.SHA256, ""), file("bad", `"2"`, a.SHA256, "  supportEnd: 2031-12-31\n  requires: {meter: [\"3\"]}\n"))
		again := apitest.Call[wire.Applied](e, 200, "POST", "/v1/apply", wire.Apply{Documents: apitest.Documents(e, file("good", `"1"`, a.SHA256, ""))})
		require.Equal(t, "unchanged", again.Changes[0].Action, "a counter that was given by itself is no change")

		page := apitest.Call[wire.Page[releases.Release]](e, 200, "GET", "/v1/releases?product=wall-charger&limit=1", nil)
		require.Equal(t, "bad", page.Items[0].Name)
		require.EqualValues(t, 2, page.Items[0].Counter)
		require.Equal(t, update.Minutes{Minutes: 30, Measured: "declared"}, page.Items[0].Takes)
		require.True(t, page.Items[0].Supported)
		require.Equal(t, []releases.Image{{Component: "software", Version: "2", SHA256: a.SHA256, Filename: "image.swu", Size: 5}}, page.Items[0].Images)
		page = apitest.Call[wire.Page[releases.Release]](e, 200, "GET", "/v1/releases?after="+page.Next, nil)
		require.Equal(t, "good", page.Items[0].Name)
		require.Empty(t, page.Next)

		why := apitest.Call[releases.WhyNot](e, 200, "GET", "/v1/releases/bad/units/WC-1", nil)
		require.Equal(t, update.CodeRequires, why.Refusal.Code)
		require.True(t, apitest.Call[releases.WhyNot](e, 200, "GET", "/v1/releases/good/units/WC-1", nil).Offered)
		require.NotNil(t, apitest.Call[releases.Release](e, 200, "GET", "/v1/releases/good", nil).Conditions, "none is an empty list: the console's page counts them")

		for i := range 3 {
			require.NoError(t, e.DB.Fleet().SetVersions(ctx, fmt.Sprintf("WC-%d", i), map[string]string{"software": "2"}, e.Clock.Now()))
			require.NoError(t, e.Deps.Updates.Reported(ctx, fmt.Sprintf("WC-%d", i), map[string]string{"software": "2"}, e.Clock.Now()))
		}
		units := apitest.Call[wire.Page[update.Holder]](e, 200, "GET", "/v1/releases/bad/units?limit=2", nil)
		require.Len(t, units.Items, 2)
		require.Equal(t, update.Has, units.Items[0].Holding)
		units = apitest.Call[wire.Page[update.Holder]](e, 200, "GET", "/v1/releases/bad/units?holding=had+it&after="+units.Next, nil)
		require.Empty(t, units.Items)

		require.Equal(t, update.Withdrawn{}, apitest.Call[update.Withdrawn](e, 200, "POST", "/v1/releases/bad/withdraw", map[string]string{"why": "it burns"}))
		got := apitest.Call[releases.Release](e, 200, "GET", "/v1/releases/bad", nil)
		require.Equal(t, "it burns", got.Withdrawn.Why)
		require.Equal(t, update.CodeWithdrawn, apitest.Call[releases.WhyNot](e, 200, "GET", "/v1/releases/bad/units/WC-4", nil).Refusal.Code)
		back := apitest.Call[releases.Reverted](e, 200, "POST", "/v1/releases/bad/revert", map[string]any{"why": "it burns"})
		require.Equal(t, "good-again-3", back.Release)
		require.Contains(t, back.Missing, "no campaign brought out release bad")
		notes := apitest.Call[releases.Release](e, 200, "GET", "/v1/releases/good-again-3", nil).Notes
		require.Contains(t, notes, "it burns")

		records := apitest.Call[releases.RegisterPage](e, 200, "GET", "/v1/register?limit=2", nil)
		require.EqualValues(t, 2, records.Next)
		rest := apitest.Call[releases.RegisterPage](e, 200, "GET", "/v1/register?after=2", nil)
		var chain register.Chain
		for _, r := range append(records.Items, rest.Items...) {
			_, err := chain.Next(register.Record{Hash: r.Hash, Entry: json.RawMessage(r.Entry)})
			require.NoError(t, err)
		}
		head := apitest.Call[releases.RegisterHead](e, 200, "GET", "/v1/register/head", nil)
		require.Equal(t, releases.RegisterHead{Seq: 3, Hash: chain.Hash}, head)
		require.Len(t, apitest.Call[releases.RegisterPage](e, 200, "GET", "/v1/register?unit=WC-1", nil).Items, 1)

		for path, want := range map[string]int{
			"/v1/releases/nothing": 404, "/v1/releases/nothing/units": 404, "/v1/releases/bad/units/nobody": 404, "/v1/releases/bad/units?holding=eats": 422,
			"/v1/register?unit=nobody": 404, "/v1/register?limit=0": 422,
		} {
			apitest.Call[json.RawMessage](e, want, "GET", path, nil)
		}
		apitest.Call[json.RawMessage](e, 422, "POST", "/v1/releases/bad/withdraw", map[string]string{"why": ""})
		apitest.Call[json.RawMessage](e, 404, "POST", "/v1/releases/nothing/withdraw", map[string]string{"why": "x"})
		read := apitest.Bearer(e.Token(e.Operator(), access.ScopeRead))
		for _, path := range []string{"/v1/releases/bad/withdraw", "/v1/releases/bad/revert"} {
			status, _, _ := e.Do("POST", path, map[string]string{"why": "x"}, read)
			require.Equal(t, 403, status)
			status, _, _ = e.Do("POST", path, map[string]string{"why": "x"}, nil)
			require.Equal(t, 401, status)
		}
		status, _, _ := e.Do("GET", "/v1/register", nil, nil)
		require.Equal(t, 401, status)
	})
}
