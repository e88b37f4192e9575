package detectors_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition"
)

func TestDetectors(t *testing.T) {
	t.Parallel()
	apitest.Each(t, func(t *testing.T, e *apitest.Env) {
		t.Helper()
		e.Hot()
		found := e.Keep()
		require.Len(t, found, 2)
		for i, a := range []condition.Assessment{condition.Confirmed, condition.NoFaultFound} {
			_, err := e.Deps.Condition.Assess(t.Context(), found[i].ID, a, "ada")
			require.NoError(t, err)
		}
		e.Apply(strings.Replace(apitest.Detector, "spec:", "spec:\n  margin: 2.5", 1))

		list := apitest.Call[wire.Page[wire.Detector]](e, 200, "GET", "/v1/detectors", nil)
		require.Len(t, list.Items, 1)
		require.Equal(t, []any{"plug-overheat", 2, "Wall charger", "Plug too hot"}, []any{list.Items[0].Name, list.Items[0].Version, list.Items[0].ProductTitle, list.Items[0].Title})
		require.Equal(t, wire.DetectorCounts{Findings: 2, Open: 2, Confirmed: 1, NoFaultFound: 1}, list.Items[0].Counts)
		require.Empty(t, apitest.Call[wire.Page[wire.Detector]](e, 200, "GET", "/v1/detectors?product=other", nil).Items)
		require.Empty(t, apitest.Call[wire.Page[wire.Detector]](e, 200, "GET", "/v1/detectors?after=plug-overheat", nil).Items)

		d := apitest.Call[wire.DetectorDetail](e, 200, "GET", "/v1/detectors/plug-overheat", nil)
		require.Equal(t, "margin", d.Threshold)
		require.Contains(t, d.Words[0], "opens when plug_temperature is above ")
		require.Contains(t, strings.Join(d.Words, " "), "limits are moved outwards by 2.5 °C")
		require.Nil(t, d.Use, "nothing was judged live")
		require.Len(t, d.Versions, 2)
		require.Equal(t, []wire.DetectorChange{{Field: "margin", After: "2.5"}}, d.Versions[0].Changes)
		require.Zero(t, d.Versions[0].Counts.Findings)
		require.Equal(t, 2, d.Versions[1].Counts.Findings)
		require.Empty(t, d.Versions[1].Changes)
		require.Contains(t, string(d.Spec), `"margin":2.5`)

		u, err := e.DB.Fleet().Unit(t.Context(), found[0].UnitID)
		require.NoError(t, err)
		ref := condition.Ref{Name: "plug-overheat", Version: 2}
		f := found[0]
		f.ID, f.Detector = "f-new", ref
		require.NoError(t, e.DB.Condition().Commit(t.Context(), "0", 2, []condition.Finding{f}, nil))
		require.NoError(t, e.DB.Condition().PutExposures(t.Context(), ref, []condition.Exposure{{Detector: ref, UnitKey: u.Key, For: 8766 * 3_600_000_000_000 / 2}}))
		d = apitest.Call[wire.DetectorDetail](e, 200, "GET", "/v1/detectors/plug-overheat", nil)
		require.InDelta(t, 2, *d.Use.Used, 1e-9, "one in half a year")
		require.InDelta(t, 0.5, d.Use.UnitYears, 1e-9)

		status, _, _ := e.Do("GET", "/v1/detectors/none", nil, apitest.Bearer(e.Admin))
		require.Equal(t, 404, status)
	})
}
