package outlook_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/telemetry"
)

const detectors = `apiVersion: fettle.dev/v1
kind: Detector
metadata: {name: plug-wears}
spec:
  product: wall-charger
  title: Plug wears out
  type: trend
  severity: minor
  purpose: care
  trend: {tolerance: plug, horizon: 10d, when: current >= 16}
---
apiVersion: fettle.dev/v1
kind: Detector
metadata: {name: plug-unlike}
spec:
  product: wall-charger
  type: peers
  severity: warning
  purpose: care
  peers: {signal: plug_temperature, by: [hardware, batch], when: current >= 16, budget: 0.2/year}
`

// fleet is twelve chargers over 40 days, four readings a day; the plug of WC-3
// warms by half a degree a day from 45 °C.
func fleet(e *apitest.Env) (from time.Time) {
	e.Apply(apitest.Product)
	e.Apply(detectors)
	from = apitest.Start.Add(-40 * 24 * time.Hour).Truncate(24 * time.Hour)
	r := rand.New(rand.NewPCG(2, 2))
	for u := range 12 {
		id, batch, consents := fmt.Sprintf("WC-%d", u), "b1", []string{"care"}
		if u == 11 {
			consents = nil
		}
		if u > 8 {
			batch = "b2"
		}
		e.Apply(apitest.UnitFile(id, batch, fmt.Sprintf("o%d@example.org", u), consents...))
		var rows []telemetry.Row
		for i := range 40 * 4 {
			v := 45 + r.NormFloat64()
			if u == 3 {
				v += 0.5 * float64(i) / 4
			}
			at := from.Add(time.Duration(i)*6*time.Hour + time.Minute).UnixMilli()
			rows = append(rows, telemetry.Row{Event: at, Received: at + 1000, Values: []telemetry.Value{{Signal: "plug_temperature", Number: v}, {Signal: "current", Number: 16}}})
		}
		e.Store(id, rows...)
	}
	return from
}

func TestForecastsAndPeers(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		from := fleet(e)

		all := apitest.Call[wire.List[wire.Forecast]](e, 200, "GET", "/v1/units/WC-3/forecasts", nil).Items
		require.Len(t, all, 1)
		f := all[0]
		require.True(t, f.Supported, f.Reason)
		require.Equal(t, "plug_temperature", f.Signal)
		require.Equal(t, "Cel", f.Unit)
		require.InDelta(t, 70, *f.Limit, 0)
		require.True(t, f.Upper)
		require.InDelta(t, 65, *f.Level, 1)
		require.InDelta(t, 0.5/24, *f.Slope, 0.005)
		days := func(at time.Time) float64 { return at.Sub(from).Hours() / 24 }
		require.InDelta(t, 50, days(f.Median), 2)
		require.Less(t, f.Low, f.Median)
		require.Less(t, f.Median, f.High)

		then := apitest.Call[wire.List[wire.Forecast]](e, 200, "GET", "/v1/units/WC-3/forecasts?detector=plug-wears&version=1&at="+from.AddDate(0, 0, 33).Format(time.RFC3339), nil).Items[0]
		require.True(t, then.Supported, then.Reason)
		require.InDelta(t, 33, days(then.At), 0.5)
		still := apitest.Call[wire.List[wire.Forecast]](e, 200, "GET", "/v1/units/WC-2/forecasts", nil).Items[0]
		require.False(t, still.Supported)
		require.Equal(t, "it does not surely move towards the limit", still.Reason)
		require.Zero(t, still.Median)
		withheld := apitest.Call[wire.List[wire.Forecast]](e, 200, "GET", "/v1/units/WC-11/forecasts", nil).Items[0]
		require.True(t, withheld.Withheld)
		require.Zero(t, withheld.At)

		span := "&from=" + from.Format(time.RFC3339) + "&to=" + apitest.Start.Format(time.RFC3339)
		c := apitest.Call[wire.Comparison](e, 200, "GET", "/v1/units/WC-3/peers?detector=plug-unlike"+span, nil)
		require.Equal(t, []string{"hardware A", "batch b1"}, c.Like)
		require.Equal(t, []int{8, 8}, []int{c.Peers, c.Alike})
		require.Len(t, c.Points, 40)
		last := c.Points[39]
		require.InDelta(t, 65, *last.Value, 1.5)
		require.InDelta(t, 45, last.Middle, 1)
		require.LessOrEqual(t, last.Least, last.Low)
		require.LessOrEqual(t, last.Low, last.Middle)
		require.LessOrEqual(t, last.High, last.Most)
		require.Equal(t, 8, last.Peers)

		wide := apitest.Call[wire.Comparison](e, 200, "GET", "/v1/units/WC-10/peers?detector=plug-unlike"+span, nil)
		require.Equal(t, []string{"hardware A"}, wide.Like, "two of the batch are too few; who does not permit it is left out")
		require.Equal(t, 10, wide.Alike)

		for path, want := range map[string]int{
			"/v1/units/WC-99/forecasts": 404, "/v1/units/WC-3/forecasts?detector=nobody": 404,
			"/v1/units/WC-3/peers?detector=plug-wears" + span: 422, "/v1/units/WC-3/peers?detector=plug-unlike": 422,
			"/v1/units/WC-3/peers?detector=plug-unlike&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": 422,
			"/v1/units/WC-3/peers?detector=plug-unlike&from=1990-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": 422,
		} {
			apitest.Call[json.RawMessage](e, want, "GET", path, nil)
		}
	})
}

// What the documentation shows is accepted.
func TestDocumentedDetectors(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../../docs/detectors/wear.yaml")
	require.NoError(t, err)
	e := apitest.New(t)
	e.Apply(string(raw))
	all := apitest.Call[wire.Page[json.RawMessage]](e, 200, "GET", "/v1/declared/detector", nil).Items
	require.Len(t, all, 2)
}
