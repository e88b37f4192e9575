package detectors

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/kind/spec"
	ahead "fettle.dev/fettle/internal/condition/prognosis/spec"
	"fettle.dev/fettle/internal/fleet"
)

// Every kind is told in words of its own, with its defaults filled in.
func TestWords(t *testing.T) {
	t.Parallel()
	limit := 70.0
	p := &fleet.Product{
		Name: "pump", Purposes: []fleet.Purpose{{Name: "care", Title: "Care"}},
		Signals: []fleet.Signal{{Name: "temperature", Unit: "Cel"}},
		Tolerances: []fleet.Tolerance{
			{Name: "warm", Signal: "temperature", Rate: fleet.Duration(time.Hour), Bands: []fleet.Band{{When: "load > 1.0", Max: &limit}, {Min: &limit}}},
			{Name: "odd", Breach: "temperature > 2.0 * load"},
		},
	}
	for want, d := range map[string]condition.Detector{
		"the change of temperature within 60 min is above 70 °C while load > 1.0, or below 70 °C otherwise, held for 10 min": {Type: condition.TypeTolerance, Tolerance: "warm", Hold: fleet.Duration(10 * time.Minute)},
		"opens when temperature > 2.0 * load in 3 readings within 60 min":                                                    {Type: condition.TypeTolerance, Tolerance: "odd", Count: 3, Window: fleet.Duration(time.Hour)},
		"for 2 times the interval that it usually keeps and 10 min more, no later than after 7 d":                            {Type: condition.TypeSilence},
		"and so are those of one site or gateway":                                                                            {Type: condition.TypeSilence, GroupBy: []string{"site", "gateway"}},
		"the trend says that temperature reaches 70 °C within 30 d, as likely before as after":                               {Type: condition.TypeTrend, Trend: &spec.Trend{Signal: "temperature", Max: &limit, Horizon: fleet.Duration(720 * time.Hour)}},
		"units of the same hardware and region than a sound unit's would 0.1 times a year":                                   {Type: condition.TypePeers, Peers: &spec.Peers{Signal: "temperature", By: []string{"hardware", "region"}}},
		"a sound unit would do so once a year":                                                                               {Type: condition.TypeAnomaly, Anomaly: &spec.Anomaly{}},
		"a sound unit would do so 2 times a week":                                                                            {Type: condition.TypeAnomaly, Anomaly: &spec.Anomaly{Budget: "at most 2 per unit-week"}},
		"opens when its fan is expected to fail within 14 d. It learns from temperature, load of units that failed, 12 at least, by means over 24 h; again every 7 d": {
			Type: condition.TypePrognosis, Prognosis: &ahead.Prognosis{Part: "fan", Signals: []string{"temperature", "load"}, Horizon: fleet.Duration(14 * 24 * time.Hour)},
		},
	} {
		d.Purpose = "care"
		text := strings.Join(inWords(p, &d), " ")
		require.Contains(t, text, want)
		require.Contains(t, text, "purpose “Care”")
	}
	require.Equal(t, "1/week", settings(&condition.Detector{Anomaly: &spec.Anomaly{Budget: "1/week"}})["anomaly.budget"], "a version's changes are told by field")
	require.InDelta(t, 12, stated(&condition.Detector{Anomaly: &spec.Anomaly{Budget: "1/month"}}), 1e-9)
	require.InDelta(t, 0.1, stated(&condition.Detector{Peers: &spec.Peers{}}), 1e-9)
	require.Zero(t, stated(&condition.Detector{}))
}
