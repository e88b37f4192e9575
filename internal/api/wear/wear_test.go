package wear_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/maintenance"
	store "fettle.dev/fettle/internal/sqldb/wear"
)

func entry(unit string, daysAgo int, kind, reason, batch string) map[string]any {
	e := map[string]any{"unitId": unit, "at": apitest.Start.AddDate(0, 0, -daysAgo), "part": "fan", "kind": kind, "batch": batch}
	if reason != "" {
		e["reason"] = reason
	}
	return e
}

func TestMaintenanceAndPartLife(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Apply(apitest.Product)
		var records []any
		for i := range 20 {
			id := fmt.Sprintf("WC-%d", i)
			e.Apply(apitest.UnitFile(id, "b", ""))
			records = append(records, entry(id, 400, "installation", "", fmt.Sprint("F", i%2)))
			if i%2 == 0 && i < 16 {
				records = append(records, entry(id, 300-10*i, "replacement", "failed", "F2"))
			}
		}
		body := map[string]any{"records": records}
		require.Equal(t, wire.MaintenanceAdded{Added: 28}, apitest.Call[wire.MaintenanceAdded](e, 201, "POST", "/v1/maintenance", body))
		require.Equal(t, wire.MaintenanceAdded{Known: 28}, apitest.Call[wire.MaintenanceAdded](e, 201, "POST", "/v1/maintenance", body))
		page := apitest.Call[wire.Page[maintenance.Record]](e, 200, "GET", "/v1/maintenance?product=wall-charger&part=fan&limit=5", nil)
		require.Len(t, page.Items, 5)
		require.NotEmpty(t, page.Items[0].By)
		rest := apitest.Call[wire.Page[maintenance.Record]](e, 200, "GET", "/v1/maintenance?product=wall-charger&limit=100&after="+page.Next, nil)
		require.Len(t, rest.Items, 23)
		require.Len(t, apitest.Call[wire.Page[maintenance.Record]](e, 200, "GET", "/v1/maintenance?unit=WC-0", nil).Items, 2)

		require.Equal(t, []wire.Part{{Part: "fan", Records: 28, Failures: 8}},
			apitest.Call[wire.List[wire.Part]](e, 200, "GET", "/v1/products/wall-charger/parts", nil).Items)
		life := apitest.Call[prognosis.PartLife](e, 200, "GET", "/v1/products/wall-charger/part-life?part=fan&by=batch&months=6", nil)
		require.Len(t, life.Groups, 3)
		require.Equal(t, []string{"F0", "F1", "F2"}, []string{life.Groups[0].Name, life.Groups[1].Name, life.Groups[2].Name})
		require.Equal(t, 8, life.Groups[0].Failures)
		require.NotNil(t, life.Groups[0].Fit)
		require.Len(t, life.Groups[0].Expected, 6)
		require.Contains(t, life.Comparison, "The batches differ")
		require.Nil(t, life.Groups[1].Fit)

		status, raw, _ := e.Do("GET", "/v1/products/wall-charger/part-life?part=fam", nil, apitest.Bearer(e.Admin))
		require.Equal(t, 404, status)
		require.Contains(t, string(raw), `names a part \"fam\"; parts on record: fan`)

		// All mistakes at once, nothing kept.
		status, raw, _ = e.Do("POST", "/v1/maintenance", map[string]any{"records": []any{
			entry("WC-1", 1, "maintenance", "", ""), entry("nobody", 1, "dance", "", ""), entry("WC-1", -9, "replacement", "", ""),
		}}, apitest.Bearer(e.Admin))
		require.Equal(t, 422, status)
		for _, at := range []string{"records[1].unitId", "records[1].kind", "records[2].at", "records[2].reason"} {
			require.Contains(t, string(raw), at)
		}
		require.NotContains(t, string(raw), "records[0]")
		apitest.Call[json.RawMessage](e, 204, "DELETE", "/v1/maintenance/"+page.Items[0].ID, nil)
		apitest.Call[json.RawMessage](e, 404, "DELETE", "/v1/maintenance/"+page.Items[0].ID, nil)
		for path, want := range map[string]int{
			"/v1/products/nothing/part-life": 404, "/v1/products/nothing/parts": 404, "/v1/products/wall-charger/part-life?by=colour": 422,
			"/v1/products/wall-charger/part-life?months=0": 422, "/v1/maintenance?kind=dance": 422, "/v1/risks?state=bad": 422, "/v1/units/WC-99/prognosis": 404,
		} {
			apitest.Call[json.RawMessage](e, want, "GET", path, nil)
		}
		status, _, _ = e.Do("POST", "/v1/maintenance", body, apitest.Bearer(e.Token(e.Operator(), access.ScopeRead)))
		require.Equal(t, 403, status)
		status, _, _ = e.Do("GET", "/v1/risks", nil, nil)
		require.Equal(t, 401, status)
	})
}

const detector = `apiVersion: fettle.dev/v1
kind: Detector
metadata: {name: fan-life}
spec:
  product: wall-charger
  title: Fan wears out
  type: prognosis
  severity: major
  purpose: care
  prognosis: {part: fan, signals: [current], horizon: 14d}
`

func TestRisks(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	e.Apply(apitest.Product)
	e.Apply(detector)
	list := apitest.Call[wire.List[wire.Prognosis]](e, 200, "GET", "/v1/prognoses?product=wall-charger", nil)
	require.Len(t, list.Items, 1)
	require.Equal(t, "it has not looked yet", list.Items[0].Why)
	require.InDelta(t, 14, list.Items[0].Horizon, 0)
	require.NoError(t, e.Deps.Prognosis.Step(t.Context()))
	list = apitest.Call[wire.List[wire.Prognosis]](e, 200, "GET", "/v1/prognoses", nil)
	require.Equal(t, "Fan wears out", list.Items[0].Title)
	require.Equal(t, "it needs 12 failures to learn from, and has 0", list.Items[0].Why)
	require.Empty(t, apitest.Call[wire.List[wire.PrognosisModel]](e, 200, "GET", "/v1/prognoses/fan-life/models", nil).Items)
	apitest.Call[json.RawMessage](e, 404, "GET", "/v1/prognoses/nothing/models", nil)

	// What the manager has kept is told, as far as owners permit it.
	var all []prognosis.Prediction
	for i, id := range []string{"WC-1", "WC-2", "WC-3"} {
		e.Apply(apitest.UnitFile(id, "b", "", "care"))
		all = append(all, prognosis.Prediction{
			Detector: "fan-life", Version: 1, Model: 1, UnitID: id, Product: "wall-charger", Part: "fan", At: apitest.Start, Since: apitest.Start.AddDate(0, -1, 0),
			State: prognosis.States[i], Median: float64(10 * (i + 1)), Low: 2, High: 80, Horizon: 14, Reasons: []prognosis.Reason{{Signal: "current", Text: "current is high", Drift: 2}},
		})
	}
	kept := store.Prognosis(e.DB)
	keyed := slices.Clone(all)
	for i := range keyed {
		u, err := e.DB.Fleet().Unit(t.Context(), keyed[i].UnitID)
		require.NoError(t, err)
		keyed[i].UnitKey = u.Key
	}
	require.NoError(t, kept.PutPredictions(t.Context(), "fan-life", keyed, time.Time{}))
	require.NoError(t, kept.PutModel(t.Context(), prognosis.Model{
		Detector: "fan-life", Number: 1, State: prognosis.Champion, TrainedAt: apitest.Start, Verdict: "good", Data: []byte{1},
		Training: []prognosis.Member{{Unit: 1, Failed: true}, {Unit: 2}}, Test: []prognosis.Member{{Unit: 3, Failed: true}}, Figures: prognosis.Figures{Lives: 1, MAE: 2},
	}))
	page := apitest.Call[wire.Page[prognosis.Prediction]](e, 200, "GET", "/v1/risks?product=wall-charger&limit=2", nil)
	require.Equal(t, all[:2], page.Items)
	page = apitest.Call[wire.Page[prognosis.Prediction]](e, 200, "GET", "/v1/risks?limit=2&after="+page.Next, nil)
	require.Equal(t, all[2:], page.Items)
	require.Equal(t, all[1:2], apitest.Call[wire.Page[prognosis.Prediction]](e, 200, "GET", "/v1/risks?state=watch&detector=fan-life", nil).Items)
	models := apitest.Call[wire.List[wire.PrognosisModel]](e, 200, "GET", "/v1/prognoses/fan-life/models", nil).Items
	require.Len(t, models, 1)
	require.Equal(t, []int{1, 1}, []int{models[0].Failures, models[0].Censored})
	u := apitest.Call[wire.UnitPrognosis](e, 200, "GET", "/v1/units/WC-1/prognosis", nil)
	require.Equal(t, all[:1], u.Current)
	require.Equal(t, all[:1], u.History)

	// Who else is heading there: those it has found; the others by what is foreseen.
	d, err := e.DB.Condition().Detector(t.Context(), "fan-life", 0)
	require.NoError(t, err)
	u1, err := e.DB.Fleet().Unit(t.Context(), "WC-1")
	require.NoError(t, err)
	require.NoError(t, e.DB.Condition().PutFindings(t.Context(), []condition.Finding{{
		ID: "f-1", Detector: d.Ref(), Severity: condition.Major, UnitID: u1.ID, UnitKey: u1.Key, Product: "wall-charger", State: condition.Open,
		Onset: apitest.Start, OpenedAt: apitest.Start, SeenAt: apitest.Start, LastAt: apitest.Start, Peak: 10, Why: "failure of fan expected",
	}}))
	e.Clock.Advance(time.Hour)
	suggested := apitest.Call[cohort.Suggestion](e, 200, "GET", "/v1/findings/f-1/who-else", nil)
	snap := apitest.Call[cohort.Snapshot](e, 201, "POST", "/v1/cohorts", map[string]any{"definition": suggested.Definition})
	require.Eventually(t, func() bool {
		return apitest.Call[cohort.Snapshot](e, 200, "GET", "/v1/cohorts/"+snap.ID, nil).State == cohort.Ready
	}, time.Minute, 20*time.Millisecond)
	reasons := map[string]string{}
	for _, l := range []string{"in", "out", "not%20judgeable"} {
		for _, m := range apitest.Call[wire.Page[wire.Member]](e, 200, "GET", "/v1/cohorts/"+snap.ID+"/members?list="+l, nil).Items {
			reasons[m.UnitID] = l + ": " + m.Reason
		}
	}
	require.Contains(t, reasons["WC-1"], "in: failure of fan expected, from 2014-03-01")
	require.Equal(t, "out: expected to last 20 days (80 %: 2 to 80)", reasons["WC-2"])

	_, err = e.Deps.Consents.Withdraw(t.Context(), "WC-1", "care", "owner:1", "")
	require.NoError(t, err)
	e.Deps.Prognosis.Wake()
	require.NoError(t, e.Deps.Prognosis.Step(t.Context()))
	u = apitest.Call[wire.UnitPrognosis](e, 200, "GET", "/v1/units/WC-1/prognosis", nil)
	require.Empty(t, u.Current)
	require.Empty(t, u.History, "the owner no longer permits it")
}
