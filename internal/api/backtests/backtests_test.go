package backtests_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet/access"
)

func spec(e *apitest.Env) wire.Spec { return apitest.Documents(e, apitest.Detector)[0].Spec }

func TestBacktest(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Hot()
		j := e.Backtest(wire.BacktestRequest{
			Name: "plug-overheat", Detector: spec(e), Sweep: backtest.Sweep{Auto: true},
			Failures: []wire.BacktestFailure{{Unit: "WC-1", At: apitest.Start.Add(9 * time.Hour)}},
		})
		require.Equal(t, backtest.Done, j.State, j.Why)
		require.Equal(t, 1, j.Withheld)
		r := j.Result
		require.Equal(t, []int{2, 3}, []int{r.Total, r.Judged})
		require.Greater(t, len(r.Thresholds), 10)
		require.Equal(t, "margin", r.Field)
		require.Equal(t, []int{1, 1}, []int{r.Thresholds[r.Declared].True, r.Thresholds[r.Declared].False})

		found := apitest.Call[wire.Page[wire.Finding]](e, 200, "GET", "/v1/backtests/"+j.ID+"/findings?limit=1", nil)
		require.Len(t, found.Items, 1)
		require.NotEmpty(t, found.Next)
		require.Equal(t, []string{"Plug too hot", "plug_temperature", "Cel"}, []string{found.Items[0].Title, found.Items[0].Signal, found.Items[0].Unit})
		rest := apitest.Call[wire.Page[wire.Finding]](e, 200, "GET", "/v1/backtests/"+j.ID+"/findings?limit=1&after="+found.Next, nil)
		require.Len(t, rest.Items, 1)
		require.Empty(t, rest.Next)
		require.NotEqual(t, found.Items[0].UnitID, rest.Items[0].UnitID)

		units := apitest.Call[wire.Page[wire.BacktestUnit]](e, 200, "GET", "/v1/backtests/"+j.ID+"/units", nil).Items
		require.Len(t, units, 2, "those that failed or were flagged")
		require.Equal(t, "WC-1", units[0].UnitID, "those that failed first")
		require.Len(t, units[0].Alarms, len(r.Thresholds))
		require.Equal(t, "true", units[0].Alarms[r.Declared][0].Was)
		require.Equal(t, "false", units[1].Alarms[r.Declared][0].Was)
		require.Empty(t, units[1].Alarms[len(r.Thresholds)-1], "far out nothing is flagged")
		only := apitest.Call[wire.Page[wire.BacktestUnit]](e, 200, "GET", "/v1/backtests/"+j.ID+"/units?unit=WC-3", nil).Items
		require.Len(t, only, 1)

		// Who withdraws afterwards is not shown any more.
		require.NoError(t, e.DB.Consent().AddChoices(t.Context(), []consent.Choice{{ID: "w", UnitID: "WC-1", Purpose: "care", At: e.Clock.Now(), By: "owner:1"}}))
		units = apitest.Call[wire.Page[wire.BacktestUnit]](e, 200, "GET", "/v1/backtests/"+j.ID+"/units", nil).Items
		require.Len(t, units, 1)
		require.Len(t, apitest.Call[wire.Page[wire.Finding]](e, 200, "GET", "/v1/backtests/"+j.ID+"/findings", nil).Items, 1)

		// A kept one by its name, over a part of the fleet and of time.
		j = e.Backtest(wire.BacktestRequest{Name: "plug-overheat", Version: 1, Units: []string{"WC-2"}, To: apitest.Start.Add(time.Hour)})
		require.Equal(t, backtest.Done, j.State, j.Why)
		require.Len(t, j.Result.Thresholds, 1)
		require.Equal(t, 1, j.Result.Judged)
		require.Zero(t, j.Withheld)

		list := apitest.Call[wire.Page[wire.Backtest]](e, 200, "GET", "/v1/backtests?detector=plug-overheat", nil).Items
		require.Len(t, list, 2)
		require.Nil(t, list[0].Result)
		apitest.Call[any](e, 204, "DELETE", "/v1/backtests/"+j.ID, nil)
		status, _, _ := e.Do("GET", "/v1/backtests/"+j.ID, nil, apitest.Bearer(e.Admin))
		require.Equal(t, 404, status)
		reader := e.Token(e.Operator(), access.ScopeRead)
		status, _, _ = e.Do("POST", "/v1/backtests", wire.BacktestRequest{Name: "plug-overheat"}, apitest.Bearer(reader))
		require.Equal(t, 403, status, "it costs the service")
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	e.Hot()
	for body, want := range map[string]string{
		`{"detector":{"product":"wall-charger","type":"tolerance","severity":"major","purpose":"care","tolerance":"nope"}}`: `"location":"body.detector.tolerance"`,
		`{"detector":{"prodct":"x"}}`:          "did you mean product?",
		`{}`:                                   `"location":"body.detector"`,
		`{"name":"nope"}`:                      `"location":"body.name"`,
		`{"name":"plug-overheat","version":9}`: `"location":"body.name"`,
		`{"name":"plug-overheat","cohort":"nope"}`:                                           `"location":"body.cohort"`,
		`{"name":"plug-overheat","units":["nope"]}`:                                          `"location":"body.units[0]"`,
		`{"name":"plug-overheat","sweep":{"field":"nope"}}`:                                  `"location":"body.sweep.field"`,
		`{"name":"plug-overheat","failures":[{"unit":"x","at":"2014-03-01T00:00:00Z"}]}`:     `"location":"body.failures[0].unit"`,
		`{"name":"plug-overheat","from":"2014-03-02T00:00:00Z","to":"2014-03-01T00:00:00Z"}`: `"location":"body.to"`,
	} {
		status, raw, _ := e.Do("POST", "/v1/backtests", body, apitest.Bearer(e.Admin))
		require.Equal(t, 422, status, "%s: %s", body, raw)
		require.Contains(t, string(raw), want)
		require.True(t, json.Valid(raw))
	}
	for _, path := range []string{"", "/findings", "/units"} {
		status, _, _ := e.Do("GET", fmt.Sprintf("/v1/backtests/none%s", path), nil, apitest.Bearer(e.Admin))
		require.Equal(t, 404, status, path)
	}
}
